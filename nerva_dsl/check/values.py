"""Value definitions: from expressions to the graph, with widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nerva_dsl import model, syntax
from nerva_dsl.check.bodies import REDUCTIONS, BodyEvaluator, ConstantEvaluator
from nerva_dsl.check.constants import show
from nerva_dsl.check.environment import Function, Scope
from nerva_dsl.check.forms import FORMS
from nerva_dsl.check.graph import Graph, Holder, Owner
from nerva_dsl.check.layers import LineEvaluator, use_layer
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import UNKNOWN, Scalar, Term, Unknown, describe, is_constant
from nerva_dsl.check.unknown import unknown_function, unknown_name
from nerva_dsl.check.widths import report_widths
from nerva_dsl.errors import Note
from nerva_dsl.scalar import Expr, Var
from nerva_dsl.source import Span

MAX_SIZE = 2**31 - 1

SETTINGS = (
    "batch",
    "epochs",
    "optimizer",
    "learning_rate",
    "seed",
    "shuffle",
    "weight_decay",
    "clip_norm",
    "precision",
)
"""The keys of `train`."""


class ValueEvaluator(BodyEvaluator):
    """Evaluates what stands after `NAME =`, `output =` and inside the losses of `loss =`.

    Args:
        report: gets every error.
        scope: the file's names so far.
        graph: gets the values.
        owner: what the parameters in it are named after.
        target: whether the target may be read.
        constants: evaluates the constants in it; None: as those of the scope.

    Attributes:
        depth: in how many uses of layers this stands.
    """

    depth = 0

    def __init__(
        self,
        report: Report,
        scope: Scope,
        graph: Graph,
        owner: Owner,
        *,
        target: bool = False,
        constants: ConstantEvaluator | None = None,
    ) -> None:
        super().__init__(report, scope, "value", {})
        self.graph = graph
        self.owner = owner
        self.target = target
        self.constants = constants or ConstantEvaluator(report, scope)

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
                help=self.instead(node, term),
            )
            return None
        if term.truth:
            self.scalar(node, term)
            return None
        return self._made(node.span, term)

    def _made(self, span: Span, term: Scalar) -> model.Value | None:
        """A term as a value of the graph, new or known; None if it is too large."""
        known = self.graph.existing(term)
        if known is not None:
            return known
        return self.graph.value(term, span) if self.within_bounds(span, term.expression) else None

    def instead(self, node: syntax.Expression, term: Term) -> str:
        """What to write instead of something that is no value of the graph."""
        name = self.owner.name
        if name in ("output", "loss") or not is_constant(term):
            return ""
        if name in SETTINGS:
            return "settings of the training stand in `train { }`"
        return f"constants are defined with `let {name} = {node.span.text}`"

    def name(self, node: syntax.Name) -> Term:
        """A value or constant of the file."""
        symbol = self.scope.symbols.get(node.text)
        if symbol is None:
            return unknown_name(self.report, node, self.scope)
        if symbol.kind == "target" and not self.target:
            return self.report.error(
                "N0213",
                f"`{node.text}` is the target, which only the loss and metrics may read",
                node.span,
                notes=[Note(symbol.span, "declared here")],
                help="a prediction is made without knowing the target",
            )
        return symbol.term

    def foreign_call(self, node: syntax.Call) -> Term:
        """Forms of the graph, and names that mean something elsewhere."""
        name = node.name.text
        form = FORMS.get(name)
        if form is not None:
            return form(self, node)
        layer = self.scope.layers.get(name)
        if layer is not None:
            return use_layer(self, node, layer)
        if name == "len":
            return self.constants.evaluate(node)
        if name in REDUCTIONS:
            return self.report.error(
                "N0401",
                f"`{name}` is for the definition of a loss",
                node.span,
                help="such as `loss total(y, t) = sum(abs(y - t))`",
            )
        if name in self.scope.losses:
            return self.report.error(
                "N0217",
                f"`{name}` is a loss, which stands after `loss =` and `metric NAME =` only",
                node.span,
                help=f"write `loss = {node.span.text}`",
            )
        return unknown_function(self.report, node.name, self.scope)

    def operand(self, node: syntax.Expression) -> Term:
        """An argument of a function: a value of its own, or a constant."""
        term = self.evaluate(node)
        if not isinstance(term, Scalar) or self.graph.existing(term) is not None or term.truth:
            return term
        value = self._made(node.span, term)
        return UNKNOWN if value is None else self.graph.scalar(value)

    def option(self, node: syntax.Expression, what: str) -> Term:
        """An option of a function, which is a constant here."""
        return self.constants.number(node, what)

    def learned(
        self,
        node: syntax.Call,
        function: Function,
        bound: Mapping[str, syntax.Expression],
        terms: Mapping[str, Term],
    ) -> Mapping[str, Term]:
        """The parameters of this use of a function, which begin as its options say."""
        options = [option.name for option in function.options if option.learn]
        if any(isinstance(term, Unknown) for term in terms.values()):
            return {}
        holder = Holder("function", self.owner, tuple(options))
        result: dict[str, Term] = {}
        for option in options:
            initial = terms[option]
            assert isinstance(initial, int | float)
            value = model.Learned(1, node.span, None, option, float(initial))
            result[option] = self.graph.add(value, holder)
        return result

    def expand(
        self,
        node: syntax.Call,
        function: Function,
        body: Expr,
        replacements: Mapping[str, Expr],
        width: int | None,
    ) -> Term:
        """What a call gives, worked out once for all uses with equal options."""
        # Inputs are values as they stand, or numbers; only which of them are the same matters.
        # They go in the order of the signature: a use may give its options in any.
        names = [*function.inputs, *[option.name for option in function.options]]
        given: dict[str, str] = {}
        places = [
            given.setdefault(part.name, f"a{len(given)}")
            if isinstance(part, Var)
            else repr(part)  # -0.0 is not 0.0
            for part in [replacements[name] for name in names]
        ]
        key = (function.span, *places)
        if width is not None and key in self.graph.expansions:
            made = self.graph.expand(key, [*given], width, node.span)
            return self.graph.scalar(made)
        before = len(self.graph.values)
        term = super().expand(node, function, body, replacements, width)
        if isinstance(term, Scalar) and len(self.graph.values) > before:
            self.graph.keep(key, [*given])
        return term

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
        return report_widths(self, span, what, operands)

    def place_of(self, name: str) -> Span | None:
        """Where a name of the graph is defined."""
        symbol = self.scope.symbols.get(name)
        return None if symbol is None else symbol.span

    def operand_value(
        self, node: syntax.Expression, help: Callable[[], str] = str
    ) -> model.Value | None:
        """The value that a form such as `linear` works on; `help` says what to do about another."""
        term = self.evaluate(node)
        if isinstance(term, Unknown):
            return None
        if not isinstance(term, Scalar) or term.width is None or term.truth:
            self.report.error(
                "N0204",
                f"a value of the graph is needed here, not {describe(term)}",
                node.span,
                help=help(),
            )
            return None
        return self._made(node.span, term)

    def line_evaluator(self, report: Report, scope: Scope) -> LineEvaluator:
        """What evaluates the lines of a layer that is used here.

        Args:
            report: gets every error in the lines.
            scope: of the layer's definition.
        """

        def make(
            owner: Owner, local: dict[str, Term], coming: Mapping[str, Span]
        ) -> ValueEvaluator:
            return LayerEvaluator(report, scope, self.graph, owner, local, coming, self.depth + 1)

        return make

    def size(self, node: syntax.Expression, what: str) -> int | Unknown:
        """A number of features: a constant integer from 1 to `MAX_SIZE`."""
        number = self.integer(node, what)
        if isinstance(number, Unknown) or 1 <= number <= MAX_SIZE:
            return number
        return self.report.error(
            "N0208", f"{what} is between 1 and {MAX_SIZE}, not {number}", node.span
        )

    def integer(self, node: syntax.Expression, what: str) -> int | Unknown:
        """A constant integer."""
        term = self.evaluate(node)
        if isinstance(term, Unknown):
            return UNKNOWN
        if not is_constant(term) or not isinstance(term, int) or isinstance(term, bool):
            help_ = "`//` divides integers" if isinstance(term, float) else ""
            found = show(term) if is_constant(term) else describe(term)  # type: ignore[arg-type]
            return self.report.error(
                "N0204", f"{what} is a constant integer, not {found}", node.span, help=help_
            )
        return term

    def rate(self, node: syntax.Expression, what: str) -> float | Unknown:
        """A probability of leaving something out: a constant, at least 0 and below 1."""
        return self.number_where(node, what, "at least 0 and below 1", lambda rate: 0 <= rate < 1)

    def number_where(
        self,
        node: syntax.Expression,
        what: str,
        condition: str,
        holds: Callable[[float], bool],
    ) -> float | Unknown:
        """A constant number for which a condition holds; `condition` says which."""
        number = self.constants.number(node, what)
        if isinstance(number, Unknown):
            return UNKNOWN
        if not holds(number):
            return self.report.error(
                "N0219",
                f"{what} is {condition}, not {show(number)}",
                node.span,
                help=f"for {show(number)} % write {show(number / 100)}"
                if 1 < number < 100 and holds(number / 100)
                else "",
            )
        return float(number)

    def width_fits(self, width: int, span: Span) -> bool:
        """Report a width that no value can have."""
        if width <= MAX_SIZE:
            return True
        self.report.error("N0208", f"at most {MAX_SIZE} features, not {width}", span)
        return False


class LayerEvaluator(ValueEvaluator):
    """Evaluates a line of a layer.

    Args:
        report: gets every error.
        scope: definitions and `let`s of the file that defines the layer.
        graph: gets the values.
        owner: what the parameters of the line are named after.
        local: the layer's own names, so far.
        coming: the places of the names that its lines define.
        depth: in how many uses of layers this stands.
    """

    def __init__(
        self,
        report: Report,
        scope: Scope,
        graph: Graph,
        owner: Owner,
        local: dict[str, Term],
        coming: Mapping[str, Span],
        depth: int,
    ) -> None:
        constants = _LayerConstants(report, scope, local)
        super().__init__(report, scope, graph, owner, constants=constants)
        self.kind = "layer"
        self.local = local
        self.coming = coming
        self.depth = depth

    def name(self, node: syntax.Name) -> Term:
        """A name of the layer's own, or a `let`."""
        if node.text in self.coming and node.text not in self.local:
            return self.report.error(
                "N0201",
                f"`{node.text}` is not defined yet",
                node.span,
                notes=[Note(self.coming[node.text], "defined here")],
                help="a name is defined before it is used",
            )
        return BodyEvaluator.name(self, node)

    def place_of(self, name: str) -> Span | None:
        """Where a local name is defined."""
        return self.coming.get(name)

    def instead(self, node: syntax.Expression, term: Term) -> str:
        """What to do about something that is no value of the graph."""
        return "a layer has values only; constants are its options" if is_constant(term) else ""


class _LayerConstants(ConstantEvaluator):
    """Evaluates constants in a layer: its options are known there."""

    def name(self, node: syntax.Name) -> Term:
        assert self.definition is not None
        term = self.definition.get(node.text)
        if isinstance(term, Unknown) or (term is not None and not isinstance(term, Scalar)):
            return term  # type: ignore[return-value]
        return super().name(node)
