"""`linear(x, n, …)`: a dense or sparse layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nerva_dsl import model, syntax
from nerva_dsl.check.arguments import bind
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import check_density
from nerva_dsl.check.graph import Holder, LayerRequest
from nerva_dsl.check.initialisers import InitialiserChoice, check_initialiser
from nerva_dsl.check.patterns import PatternError, read_pattern
from nerva_dsl.check.rules import choose_rule
from nerva_dsl.check.terms import UNKNOWN, Term, Unknown
from nerva_dsl.errors import Note
from nerva_dsl.record import Record

if TYPE_CHECKING:
    from nerva_dsl.check.values import ValueEvaluator

OPTIONS = ("density", "bias", "weights", "drop_connect", "optimizer", "regrow", "pattern")
"""The options of `linear`, in order."""


def linear(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """Check a `linear` and all of its options."""
    bound = bind(evaluator.report, node, ("x", "n"), OPTIONS)
    if bound is None:
        return UNKNOWN
    x = evaluator.operand_value(bound["x"], lambda: _value_first(evaluator, bound))
    outputs = evaluator.size(bound["n"], "the number of outputs")
    options = _PLAIN if len(bound) == 2 else _options(evaluator, bound, x, outputs)
    if x is None or isinstance(outputs, Unknown):
        return UNKNOWN
    layer = model.Layer(
        name="",
        inputs=x.width,
        outputs=outputs,
        nnz=x.width * outputs,
        bias=options.bias,
        initialiser=_UNDECIDED,
        span=node.span,
        drop_connect=options.drop_connect,
        pattern=options.pattern,
        regrow=options.regrow,
    )
    where = bound["density"].span if "density" in bound else node.span
    value = model.Linear(outputs, node.span, None, layer, x)
    evaluator.graph.requests[value] = LayerRequest(
        options.density, where, options.weights, options.rule
    )
    parts = ("weight", "bias") if options.bias else ("weight",)
    return evaluator.graph.add(value, Holder("linear", evaluator.owner, parts))


class _Options(Record):
    """The options of a `linear`; what is wrong has been reported and has its default."""

    density: float | None = None
    bias: bool = True
    weights: InitialiserChoice = InitialiserChoice("xavier")
    drop_connect: float = 0.0
    rule: model.Rule | None = None
    regrow: bool = True
    pattern: model.Pattern | None = None


_PLAIN = _Options()
_UNDECIDED = model.Initialiser("uniform", 0.0, 0.0)  # it depends on the number of non-zeros


def _options(
    evaluator: ValueEvaluator,
    bound: dict[str, syntax.Expression],
    x: model.Value | None,
    outputs: int | Unknown,
) -> _Options:
    """Check the options, in their order."""
    constants = evaluator.constants
    density: float | Unknown | None = None
    weights: InitialiserChoice | Unknown = _PLAIN.weights
    drop_connect: float | Unknown = 0.0
    rule = None
    if "density" in bound:
        density = check_density(constants, bound["density"])
    bias = _truth(evaluator, bound, "bias")
    if "weights" in bound:
        weights = check_initialiser(constants, bound["weights"])
    if "drop_connect" in bound:
        drop_connect = evaluator.rate(bound["drop_connect"], "`drop_connect`")
    if "optimizer" in bound:
        rule = choose_rule(evaluator.report, evaluator.scope, bound["optimizer"], constants)
    regrow = _truth(evaluator, bound, "regrow")
    pattern: model.Pattern | Unknown | None = None
    if "pattern" in bound:
        pattern = _pattern(evaluator, bound, x, outputs)
    return _Options(
        # Without one of its own the layer would be spread.
        density=1.0 if isinstance(density, Unknown) or isinstance(pattern, Unknown) else density,
        bias=bias,
        weights=_PLAIN.weights if isinstance(weights, Unknown) else weights,
        drop_connect=0.0 if isinstance(drop_connect, Unknown) else drop_connect,
        rule=rule,
        regrow=regrow,
        pattern=None if isinstance(pattern, Unknown) else pattern,
    )


def _value_first(evaluator: ValueEvaluator, bound: dict[str, syntax.Expression]) -> str:
    """What to write if the first argument is a number of inputs, as in PyTorch."""
    symbols = evaluator.scope.symbols.items()
    x = next((name for name, symbol in symbols if symbol.kind == "input"), "x")
    return f"the first argument is what the layer reads: `linear({x}, {bound['n'].span.text})`"


def _truth(evaluator: ValueEvaluator, bound: dict[str, syntax.Expression], option: str) -> bool:
    """An option that is true or false, and true if it is not given."""
    if option not in bound:
        return True
    truth = evaluator.constants.constant(bound[option])
    if not isinstance(truth, bool | Unknown):
        evaluator.report.error(
            "N0204", f"`{option}` is true or false, not {show(truth)}", bound[option].span
        )
    return truth is True


def _pattern(
    evaluator: ValueEvaluator,
    bound: dict[str, syntax.Expression],
    x: model.Value | None,
    outputs: int | Unknown,
) -> model.Pattern | Unknown:
    """The positions that a file gives."""
    node, report = bound["pattern"], evaluator.report
    text = evaluator.constants.constant(node)
    if isinstance(text, Unknown):
        return UNKNOWN
    if not isinstance(text, str):
        return report.error(
            "N0204", f"`pattern` is the name of a file, a string, not {show(text)}", node.span
        )
    if "density" in bound:
        return report.error(
            "N0220",
            "`pattern` says which weights there are, so there is no `density`",
            bound["density"].span,
            notes=[Note(node.span, "the positions come from here")],
            help="leave one of them out",
        )
    if x is None or isinstance(outputs, Unknown):
        return UNKNOWN
    path = evaluator.graph.folder / text
    try:
        pattern = read_pattern(path, outputs, x.width)
    except PatternError as error:
        return report.error("N0220", error.message, node.span, help=error.help)
    evaluator.graph.patterns[text] = path
    return pattern
