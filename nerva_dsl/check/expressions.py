"""Evaluating expressions: what every place where one may stand has in common.

An expression of constants is a constant at once; anything else becomes a `Scalar`. What a name or a
call means depends on the place, and is what subclasses say.
"""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import syntax
from nerva_dsl.check import constants
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import (
    UNKNOWN,
    Constant,
    Scalar,
    Term,
    Unknown,
    describe,
    is_constant,
    measure,
)
from nerva_dsl.errors import Note
from nerva_dsl.scalar import OPERATORS, Apply, Expr, Number, apply
from nerva_dsl.source import Span

MAX_TERMS = 10_000
MAX_DEPTH = 600

_OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow", "//": "floor", "%": "sub",
    "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne", "and": "and", "or": "or",
}  # fmt: skip

_SUMS = {"+": "a sum", "-": "a difference", "*": "a product", "/": "a quotient"}

UNARY_PRIMITIVES = frozenset(
    name for name, operator in OPERATORS.items() if operator.arity == 1 and not operator.symbol
)
PRIMITIVES = UNARY_PRIMITIVES | {"min", "max"}
"""Functions that every elementwise expression may call."""

GRAPH_FORMS = frozenset({"linear", "normalize", "batch_norm", "dropout", "concat", "slice"})
"""What makes values of the graph, and no expression may call."""


class Evaluator:
    """Evaluates the expressions of one place."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def name(self, node: syntax.Name) -> Term:
        """What a name means here."""
        raise NotImplementedError

    def call(self, node: syntax.Call) -> Term:
        """What a call means here."""
        raise NotImplementedError

    def widths_differ(
        self, span: Span, what: str, operands: Sequence[tuple[syntax.Expression, Scalar]]
    ) -> Unknown:
        """Report operands of different widths."""
        (_, left), (_, right) = operands[:2]
        return self.report.error(
            "N0203", f"{what} of {left.width} and {right.width} features", span
        )

    def evaluate(self, node: syntax.Expression) -> Term:
        """What an expression means."""
        match node:
            case syntax.Name():
                return self.name(node)
            case syntax.Call():
                return self.call(node)
            case syntax.Binary():
                return self._infix(node)
            case syntax.NumberLiteral():
                return self._constant(node.span, constants.number, node.text)
            case syntax.Unary():
                return self._prefix(node)
            case syntax.Conditional():
                return self._conditional(node)
            case syntax.ListLiteral():
                return self._list(node)
            case syntax.TextLiteral():
                return node.text
            case syntax.Truth():
                return node.value

    def primitive(self, node: syntax.Call, arguments: Sequence[syntax.Expression]) -> Term:
        """A call of a primitive, of constants or of scalars."""
        name = node.name.text
        terms = [self.evaluate(argument) for argument in arguments]
        if any(isinstance(term, Unknown) for term in terms):
            return UNKNOWN
        if name in constants.FUNCTIONS and all(is_constant(term) for term in terms):
            return self._constant(node.span, constants.call, name, terms)
        wanted = 1 if name in UNARY_PRIMITIVES else 2
        if len(terms) != wanted:
            return self.report.error(
                "N0205",
                f"`{name}` takes {wanted} argument{'s' * (wanted > 1)}, not {len(terms)}",
                node.span,
            )
        return self.combine(node.span, name, list(zip(arguments, terms, strict=True)), f"`{name}`")

    def combine(
        self,
        span: Span,
        operator: str,
        operands: Sequence[tuple[syntax.Expression, Term]],
        what: str,
    ) -> Term:
        """An operator of scalar expressions, applied to terms; at least one is no constant."""
        truths = operator in ("and", "or", "not")
        arguments: list[Expr] = []
        for place, (node, term) in enumerate(operands):
            wanted_truth = truths or (operator == "select" and place == 0)
            argument = self.scalar(node, term, truth=wanted_truth)
            if argument is None:
                return UNKNOWN
            arguments.append(argument)
        width = self.common_width(span, what, operands)
        if isinstance(width, Unknown):
            return UNKNOWN
        return Scalar(apply(operator, *arguments), width, operator)

    def common_width(
        self, span: Span, what: str, operands: Sequence[tuple[syntax.Expression, Term]]
    ) -> int | Unknown | None:
        """The width of operands which must be equal; a width of 1 goes with any other."""
        if len(operands) == 1:
            (_, only) = operands[0]
            return only.width if isinstance(only, Scalar) else None
        scalars = [
            (node, term)
            for node, term in operands
            if isinstance(term, Scalar) and term.width is not None
        ]
        wide = [(node, term) for node, term in scalars if term.width != 1]
        if len({term.width for _, term in wide}) > 1:
            first = wide[0]
            other = next(pair for pair in wide if pair[1].width != first[1].width)
            return self.widths_differ(span, what, [first, other])
        if wide:
            return wide[0][1].width
        return 1 if scalars else None

    def scalar(self, node: syntax.Expression, term: Term, truth: bool = False) -> Expr | None:
        """A term as a scalar expression: a number, or a truth value where that is needed."""
        match term:
            case Scalar():
                if term.truth == truth:
                    return term.expression
            case Unknown():
                return None
            case bool():
                if truth:
                    return apply("eq" if term else "ne", Number(0.0), Number(0.0))
            case int() | float():
                if not truth:
                    return Number(float(term))
        if truth:
            message, help_ = "a truth value is needed", "compare: `x > 0`"
        else:
            message, help_ = "a number is needed", "use `if … then … else`"
            if isinstance(term, str | tuple):
                help_ = "lists are for `count(list <= epoch)`" if isinstance(term, tuple) else ""
        self.report.error("N0406", f"{message} here, not {describe(term)}", node.span, help=help_)
        return None

    def within_bounds(self, span: Span, expression: Expr) -> bool:
        """Report an expression that is too large once everything is expanded."""
        size, depth = measure(expression)
        if size <= MAX_TERMS and depth <= MAX_DEPTH:
            return True
        self.report.error(
            "N0408",
            f"with its functions expanded this has {shown_size(size)} terms and is {depth} deep",
            span,
            help=f"at most {MAX_TERMS} terms and {MAX_DEPTH} deep; give parts of it names",
        )
        return False

    def _constant(self, span: Span, operation: object, *arguments: object) -> Constant | Unknown:
        try:
            return operation(*arguments)  # type: ignore[operator, no-any-return]
        except constants.Fault as fault:
            return self.report.error(fault.code, fault.message, span)

    def _list(self, node: syntax.ListLiteral) -> Term:
        items: list[Constant] = []
        bad = False
        for part in node.items:
            item = self.evaluate(part)
            if isinstance(item, Scalar):
                self.report.error("N0305", "a list holds constants only", part.span)
                bad = True
            elif isinstance(item, Unknown):
                bad = True
            else:
                items.append(item)
        return UNKNOWN if bad else tuple(items)

    def _prefix(self, node: syntax.Unary) -> Term:
        operand = self.evaluate(node.operand)
        if isinstance(operand, Unknown):
            return UNKNOWN
        if not isinstance(operand, Scalar):
            return self._constant(node.span, constants.unary, node.operator, operand)
        operator = "neg" if node.operator == "-" else "not"
        return self.combine(node.span, operator, [(node.operand, operand)], "")

    def _infix(self, node: syntax.Binary) -> Term:
        # A long sum is deep on its left; walking down there keeps recursion to real nesting.
        spine = [node]
        while isinstance(spine[-1].left, syntax.Binary):
            spine.append(spine[-1].left)
        left = self.evaluate(spine[-1].left)
        for part in reversed(spine):
            decided = isinstance(left, bool) and part.operator == ("or" if left else "and")
            if not decided:
                left = self.operation(part, left, self.evaluate(part.right))
        return left

    def operation(self, node: syntax.Binary, left: Term, right: Term) -> Term:
        """An infix operation on terms."""
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        if not isinstance(left, Scalar) and not isinstance(right, Scalar):
            return self._constant(node.span, constants.binary, node.operator, left, right)
        operands = [(node.left, left), (node.right, right)]
        symbol = node.operator
        what = _SUMS.get(symbol, f"`{symbol}`")
        if symbol not in ("//", "%"):
            return self.combine(node.span, _OPERATORS[symbol], operands, what)
        quotient = self.combine(node.span, "div", operands, what)
        if not isinstance(quotient, Scalar):
            return UNKNOWN
        floor = apply("floor", quotient.expression)
        if symbol == "//":
            return Scalar(floor, quotient.width, "floor")
        assert isinstance(quotient.expression, Apply)
        dividend, divisor = quotient.expression.arguments
        return Scalar(
            apply("sub", dividend, apply("mul", divisor, floor)), quotient.width, "remainder"
        )

    def _conditional(self, node: syntax.Conditional) -> Term:
        condition = self.evaluate(node.condition)
        if isinstance(condition, bool):
            return self.evaluate(node.chosen if condition else node.otherwise)
        branches = [self.evaluate(node.chosen), self.evaluate(node.otherwise)]
        if isinstance(condition, Unknown) or UNKNOWN in branches:
            return UNKNOWN
        if not isinstance(condition, Scalar):
            return self.report.error(
                "N0304",
                f"the condition of `if` is a truth value, not {describe(condition)}",
                node.condition.span,
            )
        nodes = (node.condition, node.chosen, node.otherwise)
        terms = (condition, *branches)
        return self.combine(node.span, "select", list(zip(nodes, terms, strict=True)), "`if`")


def shown_size(size: int) -> str:
    """A size for a message: it can be astronomical."""
    return str(size) if size < 10**9 else "more than 10^9"


def defined_here(span: Span, width: int | None) -> Note:
    """The note that shows where a value got its width."""
    return Note(
        span, f"defined here with {width} features" if width != 1 else "defined here with 1 feature"
    )
