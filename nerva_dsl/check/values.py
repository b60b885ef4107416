"""Value definitions: from expressions to the graph, with widths."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import model, syntax
from nerva_dsl.check import later
from nerva_dsl.check.arguments import bind
from nerva_dsl.check.bodies import (
    REDUCTIONS,
    SOFTMAXES,
    BodyEvaluator,
    ConstantEvaluator,
    unknown_function,
    unknown_name,
)
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import check_density
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.expressions import defined_here
from nerva_dsl.check.graph import Graph, LayerRequest
from nerva_dsl.check.initialisers import InitialiserChoice, check_initialiser
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import (
    UNKNOWN,
    Constant,
    Scalar,
    Term,
    Unknown,
    describe,
    is_constant,
    is_number,
)
from nerva_dsl.errors import Note
from nerva_dsl.source import Span

MAX_SIZE = 2**31 - 1

SETTINGS = ("batch", "epochs", "optimizer", "learning_rate", "seed", "shuffle", "precision")
"""The keys of `train`."""


class ValueEvaluator(BodyEvaluator):
    """Evaluates what stands after `NAME =`, `output =` and inside the losses of `loss =`.

    Args:
        report: gets every error.
        scope: the file's names so far.
        graph: gets the values.
        binding: what the value is bound to; layers get their names from it.
        target: whether the target may be read.
    """

    def __init__(
        self, report: Report, scope: Scope, graph: Graph, binding: str, *, target: bool = False
    ) -> None:
        super().__init__(report, scope, "value", {})
        self.graph = graph
        self.binding = binding
        self.target = target
        self.constants = ConstantEvaluator(report, scope)

    def value(self, node: syntax.Expression) -> model.Value | None:
        """The value of an expression; None if an error was reported."""
        term = self.evaluate(node)
        if isinstance(term, Unknown):
            return None
        if not isinstance(term, Scalar) or term.width is None:
            self.report.error(
                "N0204",
                f"a value of the graph is needed here, not {describe(term)}",
                node.span,
                help=self._instead(node, term),
            )
            return None
        if term.truth:
            self.scalar(node, term)
            return None
        if not self.within_bounds(node.span, term.expression):
            return None
        return self.graph.value(term, node.span)

    def _instead(self, node: syntax.Expression, term: Term) -> str:
        if self.binding in ("output", "loss") or not is_constant(term):
            return ""
        if self.binding in SETTINGS:
            return "settings of the training stand in `train { }`"
        return f"constants are defined with `let {self.binding} = {node.span.text}`"

    def name(self, node: syntax.Name) -> Term:
        """A value or constant of the file."""
        symbol = self.scope.symbols.get(node.text)
        if symbol is None:
            return unknown_name(self.report, node, self.scope)
        if symbol.kind == "target" and not self.target:
            return self.report.error(
                "N0213",
                f"`{node.text}` is the target, which only the loss may read",
                node.span,
                notes=[Note(symbol.span, "declared here")],
                help="a prediction is made without knowing the target",
            )
        return symbol.term

    def foreign_call(self, node: syntax.Call) -> Term:
        """`linear`, `normalize`, and names that mean something elsewhere."""
        name = node.name.text
        if name == "linear":
            return self._linear(node)
        if name == "normalize":
            return self._normalize(node)
        if name == "len":
            return self.constants.evaluate(node)
        if name in later.VALUES:
            return later.not_yet(self.report, later.VALUES, name, node.span)
        if name in REDUCTIONS | SOFTMAXES:
            return self.report.error(
                "N0401",
                f"`{name}` is for the definition of a loss",
                node.span,
                help="such as `loss total(y, t) = sum(abs(y - t))`",
            )
        if name in self.scope.losses:
            return self.report.error(
                "N0217",
                f"`{name}` is a loss, which stands after `loss =` only",
                node.span,
                help=f"write `loss = {node.span.text}`",
            )
        return unknown_function(self.report, node.name, self.scope)

    def operand(self, node: syntax.Expression) -> Term:
        """An argument of a function: a value of its own, or a constant."""
        term = self.evaluate(node)
        if isinstance(term, Scalar) and not term.truth:
            if not self.within_bounds(node.span, term.expression):
                return UNKNOWN
            return self.graph.scalar(self.graph.value(term, node.span))
        return term

    def option(self, node: syntax.Expression, what: str) -> Term:
        """An option of a function, which is a constant here."""
        return self.constants.number(node, what)

    def applied(self, node: syntax.Call, result: Scalar) -> Term:
        """A function's value is a value of its own."""
        if result.width is None:
            return self.report.error(
                "N0204",
                f"`{node.name.text}` needs a value of the graph, not constants only",
                node.span,
            )
        return self.graph.scalar(self.graph.value(result, node.span))

    def primitive(self, node: syntax.Call, arguments: Sequence[syntax.Expression]) -> Term:
        """A primitive as a function: a value of its own."""
        term = super().primitive(node, arguments)
        if isinstance(term, Scalar) and len(arguments) == 1:
            return self.graph.scalar(self.graph.value(term, node.span))
        return term

    def widths_differ(
        self, span: Span, what: str, operands: Sequence[tuple[syntax.Expression, Scalar]]
    ) -> Unknown:
        """Report operands of different widths, and where they got them."""
        (left_node, left), (right_node, right) = operands
        notes = []
        help_ = f"{what} needs equal widths"
        for node, term in ((left_node, left), (right_node, right)):
            symbol = self.scope.symbols.get(node.text) if isinstance(node, syntax.Name) else None
            if symbol is not None and symbol.span.line != span.line:
                notes.append(defined_here(symbol.span, term.width))
        for term, other in ((left, right), (right, left)):
            suggestion = self._resized(term, other.width)
            if suggestion:
                help_ += f"; try {suggestion}"
                break
        texts = [_shown(left_node), _shown(right_node)]
        return self.report.error(
            "N0203",
            f"{texts[0]} has {left.width} features but {texts[1]} has {right.width}",
            span,
            notes=notes,
            help=help_,
        )

    def _resized(self, term: Scalar, width: int | None) -> str:
        """The `linear` behind a value, with another number of outputs."""
        value = self.graph.existing(term)
        while isinstance(value, model.Elementwise) and len(value.operands) == 1:
            value = value.operands[0]
        if not isinstance(value, model.Linear) or "\n" in value.span.text:
            return ""
        x = value.span.text.removeprefix("linear(").split(",")[0]
        return f"linear({x}, {width})" if x.isidentifier() else ""

    def _linear(self, node: syntax.Call) -> Term:
        given = {argument.name.text: argument for argument in node.arguments if argument.name}
        postponed = {name: given[name] for name in given if name in later.LINEAR_OPTIONS}
        for name, argument in postponed.items():
            later.not_yet(self.report, later.LINEAR_OPTIONS, name, argument.span)
        if postponed:
            rest = tuple(
                a for a in node.arguments if a.name is None or a.name.text not in postponed
            )
            node = syntax.Call(node.span, node.name, rest)
        bound = bind(self.report, node, ("x", "n"), ("density", "bias", "weights"))
        if bound is None:
            return UNKNOWN
        x = self.operand_value(bound["x"])
        outputs = self.size(bound["n"], "the number of outputs")
        density, bias = None, True
        choice: InitialiserChoice | Unknown = InitialiserChoice("xavier")
        sound = True
        if "density" in bound:
            own = check_density(self.constants, bound["density"])
            sound = not isinstance(own, Unknown)
            density = None if isinstance(own, Unknown) else own
        if "bias" in bound:
            truth = self.constants.constant(bound["bias"])
            if not isinstance(truth, bool | Unknown):
                self.report.error(
                    "N0204", f"`bias` is true or false, not {show(truth)}", bound["bias"].span
                )
            bias = truth is True
        if "weights" in bound:
            choice = check_initialiser(self.constants, bound["weights"])
        if x is None or isinstance(outputs, Unknown):
            return UNKNOWN
        if isinstance(choice, Unknown):
            choice = InitialiserChoice("xavier")
        dense = choice.resolve(x.width, outputs, x.width * outputs)
        layer = model.Layer(
            self.binding,
            x.width,
            outputs,
            x.width * outputs,
            bias,
            dense,
            node.span,
        )
        where = bound["density"].span if "density" in bound else node.span
        request = LayerRequest(layer, self.binding, density if sound else 1.0, where, choice)
        self.graph.requests.append(request)
        return self.graph.add(model.Linear(outputs, node.span, None, layer, x))

    def operand_value(self, node: syntax.Expression) -> model.Value | None:
        """The value that a form such as `linear` works on."""
        term = self.evaluate(node)
        if isinstance(term, Unknown):
            return None
        if not isinstance(term, Scalar) or term.width is None or term.truth:
            self.report.error(
                "N0204", f"a value of the graph is needed here, not {describe(term)}", node.span
            )
            return None
        if not self.within_bounds(node.span, term.expression):
            return None
        return self.graph.value(term, node.span)

    def _normalize(self, node: syntax.Call) -> Term:
        bound = bind(self.report, node, ("x", "mean", "std"))
        if bound is None:
            return UNKNOWN
        x = self.operand_value(bound["x"])
        mean = self._channels(bound["mean"], "mean")
        std = self._channels(bound["std"], "std")
        if x is None or mean is None or std is None:
            return UNKNOWN
        sound = True
        for option, values in (("mean", mean), ("std", std)):
            if x.width % len(values):
                sound = False
                self.report.error(
                    "N0215",
                    f"{len(values)} constants cannot cover {x.width} features evenly",
                    bound[option].span,
                    help=f"the length of `{option}` divides the number of features",
                )
        if any(value <= 0 for value in std):
            sound = False
            self.report.error(
                "N0215", "every `std` is above 0", bound["std"].span, help="it divides the value"
            )
        if not sound:
            return UNKNOWN
        return self.graph.add(model.Normalize(x.width, node.span, None, x, mean, std))

    def _channels(self, node: syntax.Expression, option: str) -> tuple[float, ...] | None:
        """The constants of `normalize`: a number or a list of numbers."""
        value: Constant | Unknown = self.constants.constant(node)
        if isinstance(value, Unknown):
            return None
        items = value if isinstance(value, tuple) else (value,)
        if not items or not all(is_number(item) for item in items):
            self.report.error("N0215", f"`{option}` is a number or a list of numbers", node.span)
            return None
        return tuple(float(item) for item in items)  # type: ignore[arg-type]

    def size(self, node: syntax.Expression, what: str) -> int | Unknown:
        """A number of features: a constant integer from 1 to `MAX_SIZE`."""
        term = self.evaluate(node)
        if isinstance(term, Unknown):
            return UNKNOWN
        if not is_constant(term) or not isinstance(term, int) or isinstance(term, bool):
            help_ = "`//` divides integers" if isinstance(term, float) else ""
            found = show(term) if is_constant(term) else describe(term)  # type: ignore[arg-type]
            return self.report.error(
                "N0204", f"{what} is a constant integer, not {found}", node.span, help=help_
            )
        if not 1 <= term <= MAX_SIZE:
            return self.report.error(
                "N0208", f"{what} is between 1 and {MAX_SIZE}, not {term}", node.span
            )
        return term


def _shown(node: syntax.Expression) -> str:
    text = node.span.text
    return f"`{text}`" if len(text) <= 40 and "\n" not in text else "this"
