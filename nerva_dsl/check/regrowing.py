"""`regrow { }`: dynamic sparse training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nerva_dsl import model, syntax
from nerva_dsl.check.arguments import bind
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.constants import FUNCTIONS, show
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.initialisers import InitialiserChoice, check_initialiser
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.resolve import Weights
from nerva_dsl.check.settings import check_schedule, mentions_schedule
from nerva_dsl.check.terms import UNKNOWN, Unknown
from nerva_dsl.errors import Note
from nerva_dsl.scalar import Expr, Number
from nerva_dsl.source import Span

KEYS = ("every", "prune", "grow", "weights", "until")
REQUIRED = {
    "every": "every = epochs(1)",
    "prune": "prune = set(0.3)",
    "grow": "grow = random()",
}
PRUNERS = {"magnitude": "fraction", "set": "fraction", "threshold": "value"}
GROWERS = ("random", "gradient", "momentum")
UNITS = ("epochs", "steps")


@dataclass
class RegrowChoice:
    """What the block says, so far; None where an error was reported.

    Attributes:
        node: the block.
    """

    node: syntax.Settings
    every: tuple[int, str] | None = None
    prune: tuple[str, Expr] | None = None
    grow: str | None = None
    weights: InitialiserChoice = field(default_factory=lambda: InitialiserChoice("zero"))
    until: float = 1.0


def check_regrow(report: Report, scope: Scope, node: syntax.Settings) -> RegrowChoice:
    """Check the block by itself.

    Args:
        report: gets every error.
        scope: the names of the whole file.
        node: the block.
    """
    choice, seen = RegrowChoice(node), dict[str, Span]()
    broken = False
    for line in node.lines:
        if isinstance(line, syntax.Broken):
            broken = True
            continue
        key = line.name.text
        if key in seen:
            report.error(
                "N0202",
                f"`{key}` is set twice",
                line.name.span,
                notes=[Note(seen[key], "set here first")],
            )
            continue
        seen[key] = line.name.span
        _setting(report, scope, choice, line)
    for key in [key for key in REQUIRED if key not in seen and not broken]:
        report.error(
            "N0504", f"`regrow` needs `{key}`", node.keyword, help=f"such as `{REQUIRED[key]}`"
        )
    return choice


def check_changing(
    report: Report, choice: RegrowChoice, layers: Mapping[model.Linear, Weights]
) -> None:
    """Report a model in which no layer can change.

    Args:
        report: gets the error.
        choice: what the block says.
        layers: each `linear` with what is decided of its weights.
    """
    if not any(weights.sparse and linear.layer.regrow for linear, weights in layers.items()):
        report.error(
            "N0503",
            "there is no sparse layer whose positions may change",
            choice.node.keyword,
            help="`sparsity = …` or `density = …` makes layers sparse; `regrow = false` fixes them",
        )


def resolve_regrow(choice: RegrowChoice, layers: Iterable[model.Layer]) -> model.Regrow:
    """The block, sound, with the new weights of each layer.

    Args:
        choice: what the block says.
        layers: of the model, with everything known.
    """
    assert choice.every is not None  # what is missing has been reported
    assert choice.prune is not None
    weights = [
        (layer.name, choice.weights.resolve(layer.inputs, layer.outputs, max(layer.nnz, 1)))
        for layer in layers
        if layer.sparse and layer.regrow
    ]
    return model.Regrow(
        every=choice.every[0],
        unit=choice.every[1],  # type: ignore[arg-type]  # one of `UNITS`
        prune=choice.prune[0],  # type: ignore[arg-type]  # one of `PRUNERS`
        fraction=choice.prune[1],
        grow=choice.grow,  # type: ignore[arg-type]  # one of `GROWERS`
        weights=tuple(weights),
        until=choice.until,
        span=choice.node.span,
    )


def _setting(report: Report, scope: Scope, choice: RegrowChoice, line: syntax.Binding) -> None:
    """Check one line."""
    key, value = line.name.text, line.value
    constants = ConstantEvaluator(report, scope)
    match key:
        case "every":
            choice.every = _every(constants, value)
        case "prune":
            choice.prune = _prune(constants, value)
        case "grow":
            call = _call(report, value, "grower", GROWERS)
            if call is not None and bind(report, call, ()) is not None:
                choice.grow = call.name.text
        case "weights":
            weights = check_initialiser(constants, value)
            if not isinstance(weights, Unknown):
                choice.weights = weights
        case "until":
            until = constants.number(value, "`until`")
            if isinstance(until, Unknown):
                return
            if 0 < until <= 1:
                choice.until = float(until)
            else:
                report.error(
                    "N0502",
                    f"`until` is above 0 and at most 1, not {show(until)}",
                    value.span,
                    help="it is the fraction of the training after which the pattern is fixed",
                )
        case _:
            report.error(
                "N0501",
                f"`regrow` has no setting `{key}`",
                line.name.span,
                help=suggest(key, KEYS, f"the settings are {listing(KEYS)}"),
            )


def _every(constants: ConstantEvaluator, node: syntax.Expression) -> tuple[int, str] | None:
    """`epochs(n)` or `steps(n)`."""
    report = constants.report
    if isinstance(node, syntax.NumberLiteral):
        report.error(
            "N0502",
            "a number has no unit here: epochs or steps",
            node.span,
            help=f"write `steps({node.text})` or `epochs({node.text})`",
        )
        return None
    call = _call(report, node, "unit", UNITS)
    bound = None if call is None else bind(report, call, ("n",))
    if call is None or bound is None:
        return None
    number = constants.constant(bound["n"])
    if isinstance(number, Unknown):
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 2**31:
        report.error(
            "N0502",
            f"a number of {call.name.text} is an integer from 1 on, not {show(number)}",
            bound["n"].span,
        )
        return None
    return number, call.name.text


def _prune(constants: ConstantEvaluator, node: syntax.Expression) -> tuple[str, Expr] | None:
    """`magnitude(fraction)`, `set(fraction)` or `threshold(value)`."""
    report = constants.report
    call = _call(report, node, "pruner", PRUNERS)
    if call is None:
        return None
    name, option = call.name.text, PRUNERS[call.name.text]
    bound = bind(report, call, (option,))
    if bound is None:
        return None
    given = bound[option]
    expression: Expr | None
    called = isinstance(given, syntax.Call) and given.name.text not in FUNCTIONS
    if called or mentions_schedule(given, constants.scope):
        expression = check_schedule(report, constants.scope, given)
    else:
        number = _amount(constants, given, option)
        expression = None if isinstance(number, Unknown) else Number(number)
    return None if expression is None else (name, expression)


def _amount(constants: ConstantEvaluator, node: syntax.Expression, option: str) -> float | Unknown:
    """A fraction of the weights, or a value up to which they go."""
    number = constants.number(node, f"a {option}")
    if isinstance(number, Unknown):
        return UNKNOWN
    if option == "value" and number < 0:
        return constants.report.error(
            "N0502", f"a threshold is not negative, and this is {show(number)}", node.span
        )
    if option == "fraction" and not 0 < number < 1:
        return constants.report.error(
            "N0502",
            f"a fraction of the weights is above 0 and below 1, not {show(number)}",
            node.span,
            help=f"for {show(number)} % write {show(number / 100)}" if 1 <= number < 100 else "",
        )
    return float(number)


def _call(
    report: Report, node: syntax.Expression, kind: str, known: Iterable[str]
) -> syntax.Call | None:
    """A call of one of some names."""
    name = node.name if isinstance(node, syntax.Call) else node
    if isinstance(node, syntax.Call) and node.name.text in known:
        return node
    if isinstance(name, syntax.Name) and name.text in known:
        text = name.text
        report.error(
            "N0502", f"`{text}` is a {kind}, to be called", name.span, help=f"write `{text}(…)`"
        )
    elif isinstance(name, syntax.Name):
        report.error(
            "N0201",
            f"no {kind} is called `{name.text}`",
            name.span,
            help=suggest(name.text, known, f"there are {listing(known)}"),
        )
    else:
        report.error("N0502", f"a {kind} is needed here: {listing(known)}", node.span)
    return None
