"""Losses: their bodies, and what stands after `loss =`."""

from __future__ import annotations

from collections.abc import Mapping

from nerva_dsl import model, syntax
from nerva_dsl.check.arguments import positional
from nerva_dsl.check.bodies import REDUCTIONS, SOFTMAXES, BodyEvaluator
from nerva_dsl.check.environment import BodyDefinition, Scope
from nerva_dsl.check.graph import Graph
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import UNKNOWN, Scalar, Term, Unknown, describe
from nerva_dsl.scalar import Number, apply
from nerva_dsl.source import Span

_ANY_WIDTH = 2  # of the stand-ins with which a body is checked where it is defined


class LossEvaluator(BodyEvaluator):
    """Evaluates a loss: scalar expressions of features, and what works over features.

    Values get the span of the loss's use, if that is given: it is the user's line.
    """

    def __init__(
        self,
        report: Report,
        scope: Scope,
        graph: Graph,
        local: Mapping[str, Term],
        used: Span | None = None,
    ) -> None:
        super().__init__(report, scope, "loss", local)
        self.graph = graph
        self.used = used

    def foreign_call(self, node: syntax.Call) -> Term:
        """`sum`, `mean`, `softmax` and `log_softmax`."""
        name = node.name.text
        if name not in REDUCTIONS | SOFTMAXES:
            return super().foreign_call(node)
        return self._over_features(node)

    def call(self, node: syntax.Call) -> Term:
        """A call; `max` of one argument works over features."""
        if node.name.text == "max" and len(node.arguments) == 1:
            return self._over_features(node)
        return super().call(node)

    def applied(self, node: syntax.Call, result: Scalar) -> Term:
        """A function's value is a value of its own."""
        if result.width is None:
            return result
        return self.graph.scalar(self.graph.value(result, self.used or node.span))

    def _over_features(self, node: syntax.Call) -> Term:
        arguments = positional(self.report, node)
        if arguments is None:
            return UNKNOWN
        name = node.name.text
        if len(arguments) != 1:
            return self.report.error(
                "N0205", f"`{name}` takes 1 argument, not {len(arguments)}", node.span
            )
        term = self.evaluate(arguments[0])
        if isinstance(term, Unknown):
            return UNKNOWN
        if not isinstance(term, Scalar) or term.width is None or term.truth:
            return self.report.error(
                "N0401",
                f"`{name}` works over the features of a value, and this is {describe(term)}",
                arguments[0].span,
            )
        span = self.used or node.span
        if not self.within_bounds(node.span, term.expression):
            return UNKNOWN
        x = self.graph.value(term, span)
        match name:
            case "softmax":
                return self.graph.add(model.Softmax(x.width, span, None, x))
            case "log_softmax":
                return self.graph.add(model.LogSoftmax(x.width, span, None, x))
            case "max":
                return self.graph.add(model.Reduce(1, span, None, "max", x))
        total = self.graph.add(model.Reduce(1, span, None, "sum", x))
        if name == "sum":
            return total
        mean = apply("div", total.expression, Number(float(x.width)))
        return Scalar(mean, 1, "mean")


def check_loss_body(
    report: Report,
    scope: Scope,
    node: syntax.Definition,
    inputs: tuple[str, ...],
    options: Mapping[str, Term],
) -> None:
    """Check a loss where it is defined, with stand-ins for its inputs."""
    graph = Graph()
    local = dict(options)
    local |= {name: Scalar(Number(1.0)) for name in options}
    for name in inputs:
        local[name] = graph.add(model.Input(_ANY_WIDTH, node.span, name))
    evaluator = LossEvaluator(report, scope, graph, local)
    term = evaluator.evaluate(node.body)
    if isinstance(term, Unknown):
        return
    if not isinstance(term, Scalar) or term.width != 1 or evaluator.scalar(node.body, term) is None:
        if isinstance(term, Scalar) and term.truth:
            return
        what = (
            "a number for each feature"
            if isinstance(term, Scalar) and term.width
            else describe(term)
        )
        report.error(
            "N0407",
            f"a loss is one number for each sample, and this is {what}",
            node.body.span,
            help="bring the features together: `sum(…)`, `mean(…)` or `max(…)`",
        )
        return
    evaluator.within_bounds(node.body.span, term.expression)


def expand_loss(
    report: Report,
    graph: Graph,
    definition: BodyDefinition,
    local: Mapping[str, Term],
    used: Span,
) -> Term:
    """The value of a loss whose inputs and options are known."""
    evaluator = LossEvaluator(report, definition.scope, graph, local, used)
    return evaluator.evaluate(definition.body)
