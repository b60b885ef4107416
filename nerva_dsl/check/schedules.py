"""The bodies of schedules: what they have beside other definitions."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import syntax
from nerva_dsl.check import constants
from nerva_dsl.check.bodies import BodyEvaluator
from nerva_dsl.check.terms import (
    UNKNOWN,
    Scalar,
    Term,
    Unknown,
    describe,
    is_constant,
    is_number,
)
from nerva_dsl.scalar import MAX_FACTORS, Expr, Number, Var, apply
from nerva_dsl.scalar.simplify import simplify


class ScheduleEvaluator(BodyEvaluator):
    """Evaluates a schedule: also `count(list <= epoch)` and `product(i in 1 .. epoch, …)`."""

    _products = 0  # in which the current expression stands

    def foreign_call(self, node: syntax.Call) -> Term:
        """What only schedules have."""
        match node.name.text:
            case "count":
                return self._count(node)
            case "product":
                return self._product(node)
        return super().foreign_call(node)

    def _product(self, node: syntax.Call) -> Term:
        """A loop over the whole numbers of a range, which may depend on the epoch."""
        match node.arguments:
            case (
                syntax.Argument(name=None, value=syntax.Range() as over),
                syntax.Argument(name=None, value=factor),
            ) if not isinstance(factor, syntax.Range):
                pass
            case _:
                return self.report.error(
                    "N0205",
                    "`product` takes a range and an expression",
                    node.span,
                    help="such as `product(i in 1 .. epoch, 1 / (1 + 0.1 * i))`",
                )
        parts = [self._number(over.first), self._number(over.last)]
        index, name = Var(f"index_{self._products + 1}"), over.name.text
        outer = self.local.get(name)
        self.local[name] = Scalar(index)
        self._products += 1
        parts.append(self._number(factor))
        self._products -= 1
        del self.local[name]
        if outer is not None:
            self.local[name] = outer
        first, last, body = parts
        if first is None or last is None or body is None:
            return UNKNOWN
        ends = simplify(first), simplify(last)
        if all(isinstance(end, Number) for end in ends):
            count = ends[1].value - ends[0].value + 1  # type: ignore[union-attr]
            if count > MAX_FACTORS:
                return self.report.error(
                    "N0301",
                    f"this is a product of {count:g} factors, to be computed for every epoch or "
                    f"step; at most {MAX_FACTORS:,} can be",
                    over.first.span.to(over.last.span),
                    help="let the bounds depend on `epoch`, or write the product in closed form",
                )
        return Scalar(apply("product", index, first, last, body), None, "product")

    def _number(self, node: syntax.Expression) -> Expr | None:
        return self.scalar(node, self.evaluate(node))

    def _count(self, node: syntax.Call) -> Term:
        """A comparison with a list, as a sum."""
        comparison = counted(node)
        if comparison is None:
            return self.report.error(
                "N0409",
                "`count` takes one comparison with a list",
                node.span,
                help="such as `count(milestones <= epoch)`",
            )
        left, right = self.side(comparison.left), self.side(comparison.right)
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        if isinstance(left, tuple) == isinstance(right, tuple):
            return self.report.error(
                "N0409",
                "one side of the comparison in `count` is a list, the other a number",
                comparison.span,
            )
        listed = left if isinstance(left, tuple) else right
        assert isinstance(listed, tuple)
        total: Expr = Number(0.0)
        for place, item in enumerate(listed):
            if not is_number(item):
                where = comparison.left if listed is left else comparison.right
                return self.report.error(
                    "N0409",
                    f"a list that is counted holds numbers, not {describe(item)}",
                    where.span,
                )
            sides = (item, right) if listed is left else (left, item)
            pair = list(zip((comparison.left, comparison.right), sides, strict=True))
            holds = self._compare(comparison, pair)
            if holds is None:
                return UNKNOWN
            one = apply("select", holds, Number(1.0), Number(0.0))
            total = one if place == 0 else apply("add", total, one)
        return Scalar(total, None, "count")

    def side(self, node: syntax.Expression) -> Term:
        """A side of the comparison in `count`, which may be a list."""
        return self.evaluate(node)

    def _compare(
        self, node: syntax.Binary, sides: Sequence[tuple[syntax.Expression, Term]]
    ) -> Expr | None:
        names = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
        if all(is_constant(term) for _, term in sides):
            holds = constants.binary(node.operator, sides[0][1], sides[1][1])  # type: ignore[arg-type]
            return apply("eq" if holds else "ne", Number(0.0), Number(0.0))
        term = self.combine(node.span, names[node.operator], sides, "")
        return term.expression if isinstance(term, Scalar) else None


def counted(call: syntax.Call) -> syntax.Binary | None:
    """The comparison in a call of `count`, if it is written as it should be."""
    if len(call.arguments) != 1 or call.arguments[0].name is not None:
        return None
    value = call.arguments[0].value
    if isinstance(value, syntax.Binary) and value.operator in ("<", "<=", ">", ">=", "==", "!="):
        return value
    return None
