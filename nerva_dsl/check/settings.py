"""`train { }`: the settings of the training."""

from __future__ import annotations

from dataclasses import dataclass, field

from nerva_dsl import syntax
from nerva_dsl.check import later
from nerva_dsl.check.bodies import (
    ConstantEvaluator,
    ScheduleEvaluator,
    as_options,
    bind_definition,
)
from nerva_dsl.check.constants import show
from nerva_dsl.check.environment import Defined, Scope
from nerva_dsl.check.optimizers import option_variable
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.terms import (
    Constant,
    Scalar,
    Term,
    Unknown,
    describe,
    is_number,
)
from nerva_dsl.check.values import SETTINGS
from nerva_dsl.errors import Note
from nerva_dsl.model import Precision, Rule
from nerva_dsl.scalar import Expr, Number, Var, substitute
from nerva_dsl.source import Span

_RANGES = {"batch": (1, 65536), "epochs": (1, 2**31 - 1), "seed": (0, 2**63 - 1)}


@dataclass
class Training:
    """What `train` says, with the defaults for what it does not say."""

    batch: int = 32
    epochs: int = 10
    seed: int = 1
    shuffle: bool = True
    precision: Precision = "float32"
    rule: Rule | None = None
    schedule: Expr = field(default_factory=lambda: Number(0.01))


def check_training(
    report: Report, scope: Scope, node: syntax.Settings | None, default: Span
) -> Training:
    """Check the settings.

    Args:
        report: gets every error.
        scope: the names of the whole file.
        node: the block, or None if the file has none.
        default: the place of an optimizer that is not chosen.
    """
    training = Training()
    seen: dict[str, Span] = {}
    for line in node.lines if node is not None else ():
        if isinstance(line, syntax.Broken):
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
        _setting(report, scope, training, line)
    if "optimizer" not in seen:
        # `sgd` of the prelude has no options.
        name = syntax.Name(default, "sgd")
        training.rule = _rule(report, scope, syntax.Call(default, name, ()))
    return training


def _setting(report: Report, scope: Scope, training: Training, line: syntax.Binding) -> None:
    key, value = line.name.text, line.value
    constants = ConstantEvaluator(report, scope)
    match key:
        case "batch" | "epochs" | "seed":
            number = constants.constant(value)
            low, high = _RANGES[key]
            if isinstance(number, Unknown):
                return
            if not isinstance(number, int) or isinstance(number, bool):
                report.error("N0502", f"`{key}` is an integer, not {show(number)}", value.span)
            elif not low <= number <= high:
                report.error(
                    "N0502", f"`{key}` is between {low} and {high}, not {number}", value.span
                )
            else:
                setattr(training, key, number)
        case "shuffle":
            truth = constants.constant(value)
            if isinstance(truth, bool):
                training.shuffle = truth
            elif not isinstance(truth, Unknown):
                report.error("N0502", f"`shuffle` is true or false, not {show(truth)}", value.span)
        case "precision":
            text = value.text if isinstance(value, syntax.Name | syntax.TextLiteral) else ""
            if text == "float32":
                training.precision = "float32"
            elif text == "float64":
                training.precision = "float64"
            else:
                report.error(
                    "N0502",
                    "`precision` is float32 or float64",
                    value.span,
                )
        case "optimizer":
            training.rule = _rule(report, scope, value)
        case "learning_rate":
            schedule = _schedule(report, scope, value)
            if schedule is not None:
                training.schedule = schedule
        case _ if key in later.TRAIN_KEYS:
            later.not_yet(report, later.TRAIN_KEYS, key, line.span)
        case _:
            report.error(
                "N0501",
                f"`train` has no setting `{key}`",
                line.name.span,
                help=suggest(
                    key, (*SETTINGS, *later.TRAIN_KEYS), f"the settings are {listing(SETTINGS)}"
                ),
            )


def _rule(report: Report, scope: Scope, node: syntax.Expression) -> Rule | None:
    """The optimizer that is chosen, with its options in their places."""
    if isinstance(node, syntax.Name) and node.text in scope.optimizers:
        report.error(
            "N0502",
            f"`{node.text}` is an optimizer, to be called",
            node.span,
            help=f"write `{node.text}()`",
        )
        return None
    if not isinstance(node, syntax.Call):
        report.error(
            "N0502", "`optimizer` is a call of an optimizer", node.span, help="such as `sgd()`"
        )
        return None
    definition = scope.optimizers.get(node.name.text)
    if definition is None:
        _unknown(report, scope, node.name, "optimizer", list(scope.optimizers))
        return None
    options = _options(report, scope, node, definition)
    if options is None:
        return None
    numbers: dict[str, Expr] = {
        option_variable(name): Number(float(value))  # type: ignore[arg-type]
        for name, value in options.items()
    }
    assignments = tuple(
        (target, substitute(expression, numbers)) for target, expression in definition.assignments
    )
    return Rule(definition.name, definition.states, assignments, node.span)


def _schedule(report: Report, scope: Scope, node: syntax.Expression) -> Expr | None:
    """The learning rate: a number, or a call of a schedule."""
    if isinstance(node, syntax.Call) and node.name.text in scope.schedules:
        definition = scope.schedules[node.name.text]
        options = _options(report, scope, node, definition)
        if options is None:
            return None
        local: dict[str, Term] = {name: Scalar(Var(name)) for name in ("epochs", "step")}
        local |= as_options(options)
        local |= {name: Scalar(Var("epoch")) for name in definition.inputs}
        quiet = Report()
        evaluator = ScheduleEvaluator(quiet, definition.scope, "schedule", local)
        term = evaluator.evaluate(definition.body)
        expression = evaluator.scalar(definition.body, term)
        if expression is not None and evaluator.within_bounds(node.span, expression):
            return expression
        for problem in quiet.diagnostics:
            # What is wrong is the use: by itself the definition was sound.
            report.error(problem.code, problem.message, node.span, help=problem.help)
        return None
    if _mentions_schedule(node, scope):
        later.not_yet(report, later.SCHEDULES, "arithmetic", node.span)
        return None
    if isinstance(node, syntax.Name) and node.text in scope.schedules:
        report.error(
            "N0502",
            f"`{node.text}` is a schedule, to be called",
            node.span,
            help=f"write `{node.text}(…)`",
        )
        return None
    constants = ConstantEvaluator(report, scope)
    if isinstance(node, syntax.Call) and node.name.text not in ("sqrt", "exp", "abs", "min", "max"):
        _unknown(report, scope, node.name, "schedule", list(scope.schedules))
        return None
    value = constants.constant(node)
    if isinstance(value, Unknown):
        return None
    if not is_number(value) or value < 0:  # type: ignore[operator]
        found = show(value) if is_number(value) else describe(value)
        report.error(
            "N0502",
            f"`learning_rate` is a number, not negative, or a schedule; not {found}",
            node.span,
        )
        return None
    return Number(float(value))  # type: ignore[arg-type]


def _mentions_schedule(node: syntax.Expression, scope: Scope) -> bool:
    if isinstance(node, syntax.Binary):
        return any(
            (isinstance(side, syntax.Call) and side.name.text in scope.schedules)
            or _mentions_schedule(side, scope)
            for side in (node.left, node.right)
        )
    return False


def _options(
    report: Report, scope: Scope, node: syntax.Call, definition: Defined
) -> dict[str, Constant] | None:
    """The options of a use, as constants."""
    # What the compiler supplies is not given by the user.
    bound = bind_definition(report, node, _without_inputs(definition))
    if bound is None:
        return None
    constants = ConstantEvaluator(report, scope)
    values: dict[str, Constant] = {}
    sound = True
    for option in definition.options:
        if option.name not in bound:
            assert option.default is not None
            values[option.name] = option.default
            continue
        where = bound[option.name]
        value = constants.constant(where)
        if isinstance(value, Unknown):
            sound = False
            continue
        fits = isinstance(value, tuple) if option.kind == "list" else is_number(value)
        if not fits:
            report.error(
                "N0204",
                f"`{option.name}` is a {option.kind}, not {describe(value)}",
                where.span,
                help=f"such as [{show(value)}]" if option.kind == "list" else "",
            )
            sound = False
        elif isinstance(value, tuple) and not all(is_number(item) for item in value):
            report.error("N0204", f"`{option.name}` is a list of numbers", where.span)
            sound = False
        values[option.name] = value
    return values if sound else None


def _without_inputs(definition: Defined) -> Defined:
    return Defined(definition.kind, definition.name, definition.span, (), definition.options)


def _unknown(report: Report, scope: Scope, name: syntax.Name, kind: str, known: list[str]) -> None:
    if name.text not in scope.poisoned:
        report.error(
            "N0201",
            f"no {kind} is called `{name.text}`",
            name.span,
            help=suggest(name.text, known, f"there are {listing(known)}"),
        )
