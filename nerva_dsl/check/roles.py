"""What stands after `loss =` and `metric NAME =`: losses, and arithmetic of them."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import syntax
from nerva_dsl.check.arguments import bind_definition
from nerva_dsl.check.bodies import as_options
from nerva_dsl.check.environment import BodyDefinition
from nerva_dsl.check.losses import expand_loss
from nerva_dsl.check.report import closest, listing
from nerva_dsl.check.terms import UNKNOWN, Constant, Scalar, Term, Unknown, is_number
from nerva_dsl.check.values import ValueEvaluator
from nerva_dsl.check.warnings import warn_labels
from nerva_dsl.errors import Note


class LossRole:
    """Evaluates losses, and arithmetic of losses and constants.

    Args:
        values: evaluates the arguments of losses, and constants.
        input_name: of the model's input; None if it has none.
        target: the declaration of the model's target, wherever it stands; None if it has none.
        metrics: the names of what may stand here beside losses.
    """

    def __init__(
        self,
        values: ValueEvaluator,
        input_name: str | None,
        target: syntax.Declaration | None,
        metrics: Sequence[str] = (),
    ) -> None:
        self.values = values
        self.report = values.report
        self.input_name = input_name
        self.target = target
        self.metrics = metrics

    def evaluate(self, node: syntax.Expression) -> Term:
        """A loss, as a scalar of width 1, or a constant."""
        match node:
            case syntax.Call() if node.name.text in self.values.scope.losses:
                return self._call(node, self.values.scope.losses[node.name.text])
            case syntax.Binary(operator="+" | "-" | "*" | "/"):
                return self._infix(node)
            case syntax.Unary(operator="-"):
                operand = self.evaluate(node.operand)
                if isinstance(operand, Scalar):
                    return self.values.combine(node.span, "neg", [(node.operand, operand)], "")
                return UNKNOWN if isinstance(operand, Unknown) else self.values.evaluate(node)
            case syntax.Call() if self.values.scope.known_bad(node.name.text):
                return UNKNOWN
            case syntax.Name() if node.text in self.values.scope.losses:
                return self._not_called(node, self.values.scope.losses[node.text])
            case syntax.Name() | syntax.NumberLiteral():
                term = self.values.evaluate(node)
                if isinstance(term, Unknown) or is_number(term):
                    return term
        return self._no_loss(node)

    def _no_loss(self, node: syntax.Expression) -> Unknown:
        """Report something else than a loss."""
        kind = "metric" if self.metrics else "loss"
        known = [*self.metrics, *self.values.scope.losses]
        name = node.name.text if isinstance(node, syntax.Call) else ""
        near = closest(name, known)
        if near and name not in self.values.scope.functions:
            return self.report.error(
                "N0201",
                f"no {kind} is called `{name}`",
                node.name.span if isinstance(node, syntax.Call) else node.span,
                help=f"did you mean `{near}`?",
            )
        return self.report.error(
            "N0218" if self.metrics else "N0217",
            f"a {kind} is needed here",
            node.span,
            help=f"call one of {listing(known)}, or define a loss: `loss NAME(y, t) = sum(…)`",
        )

    def _not_called(self, node: syntax.Name, definition: BodyDefinition) -> Unknown:
        """Report a loss without its arguments."""
        y, t = definition.inputs
        t = self.target.name.text if self.target is not None else self.input_name or t
        return self.report.error(
            "N0217",
            f"`{node.text}` is a loss, to be called",
            node.span,
            help=f"write `{node.text}({y}, {t})`",
        )

    def _infix(self, node: syntax.Binary) -> Term:
        # As in every sum, the left side may be long.
        spine = [node]
        while isinstance(spine[-1].left, syntax.Binary) and spine[-1].left.operator in "+-*/":
            spine.append(spine[-1].left)
        left = self.evaluate(spine[-1].left)
        for part in reversed(spine):
            left = self.values.operation(part, left, self.evaluate(part.right))
        return left

    def _call(self, node: syntax.Call, definition: BodyDefinition) -> Term:
        if self.target is not None and len(node.arguments) == 1:
            name, y = self.target.name.text, node.arguments[0].span.text
            return self.report.error(
                "N0205",
                f"`{node.name.text}` needs what `{y}` is compared with",
                node.span,
                notes=[Note(self.target.span, "the target is declared here")],
                help=f"write `{node.name.text}({y}, {name})`",
            )
        node = self._with_input(node, definition)
        bound = bind_definition(self.report, node, definition)
        if bound is None:
            return UNKNOWN
        options = self._options(definition, bound)
        inputs: dict[str, Scalar] = {}
        for name in definition.inputs:
            value = self.values.operand_value(bound[name])
            if value is not None:
                inputs[name] = self.values.graph.scalar(value)
        if options is None or len(inputs) < len(definition.inputs):
            return UNKNOWN
        left, right = [(bound[name], inputs[name]) for name in definition.inputs]
        if left[1].width != right[1].width:
            return self.values.widths_differ(node.span, "a loss", [left, right])
        t = bound[definition.inputs[1]]
        target = self.target
        if isinstance(t, syntax.Name) and target is not None and t.text == target.name.text:
            compared = self.values.graph.existing(left[1])
            if target.type.name.text == "class" and not self.metrics and compared is not None:
                warn_labels(self.report, node, definition, compared, target)
        local: dict[str, Term] = {**as_options(options), **inputs}
        return expand_loss(self.report, self.values.graph, definition, local, node.span)

    def _with_input(self, node: syntax.Call, definition: BodyDefinition) -> syntax.Call:
        """Without a target, a loss of one value compares it with the input."""
        given = [argument for argument in node.arguments if argument.name is None]
        named = {argument.name.text for argument in node.arguments if argument.name is not None}
        if self.target is not None or self.input_name is None:
            return node
        if len(given) != 1 or not named.isdisjoint(definition.inputs):
            return node
        compared = syntax.Argument(node.span, None, syntax.Name(node.span, self.input_name))
        rest = [argument for argument in node.arguments if argument.name is not None]
        return syntax.Call(node.span, node.name, (given[0], compared, *rest))

    def _options(
        self, definition: BodyDefinition, bound: dict[str, syntax.Expression]
    ) -> dict[str, Constant] | None:
        values: dict[str, Constant] = {}
        for option in definition.options:
            if option.name in bound:
                number = self.values.constants.number(bound[option.name], f"`{option.name}`")
                if isinstance(number, Unknown):
                    return None
                values[option.name] = number
            elif option.default is not None:
                values[option.name] = option.default
        return values
