"""`train { }`: the settings of the training."""

from __future__ import annotations

from dataclasses import dataclass, field

from nerva_dsl import syntax
from nerva_dsl.check.arguments import positional
from nerva_dsl.check.bodies import ConstantEvaluator, as_options, number_of
from nerva_dsl.check.constants import FUNCTIONS, show
from nerva_dsl.check.environment import BodyDefinition, Scope
from nerva_dsl.check.expressions import PRIMITIVES
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.rules import choose_rule, default_rule
from nerva_dsl.check.schedules import ScheduleEvaluator
from nerva_dsl.check.terms import UNKNOWN, Scalar, Term, Unknown, describe, is_number
from nerva_dsl.check.uses import constant_options, unknown_definition
from nerva_dsl.check.values import SETTINGS
from nerva_dsl.errors import Note
from nerva_dsl.model import Precision, Rule
from nerva_dsl.scalar import Expr, Number, Var
from nerva_dsl.source import Span

_RANGES = {"batch": (1, 65536), "epochs": (1, 2**31 - 1), "seed": (0, 2**63 - 1)}


@dataclass
class Training:
    """What `train` says, with the defaults for what it does not say.

    Attributes:
        places: where the value of each key is written, of those that are.
    """

    batch: int = 32
    epochs: int = 10
    seed: int = 1
    shuffle: bool = True
    precision: Precision = "float32"
    rule: Rule | None = None
    schedule: Expr = field(default_factory=lambda: Number(0.01))
    weight_decay: float = 0.0
    clip_norm: float | None = None
    places: dict[str, Span] = field(default_factory=dict)


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
        training.places[key] = line.value.span
        _setting(report, scope, training, line)
    if "optimizer" not in seen:
        training.rule = default_rule(report, scope, default)
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
            training.rule = choose_rule(report, scope, value)
        case "learning_rate":
            schedule = check_schedule(report, scope, value)
            if schedule is not None:
                training.schedule = schedule
        case "weight_decay":
            decay = constants.number(value, "`weight_decay`")
            if not isinstance(decay, Unknown) and decay >= 0:
                training.weight_decay = float(decay)
            elif not isinstance(decay, Unknown):
                report.error(
                    "N0502",
                    f"`weight_decay` is not negative, and this is {show(decay)}",
                    value.span,
                )
        case "clip_norm":
            norm = constants.number(value, "`clip_norm`")
            if not isinstance(norm, Unknown) and norm > 0:
                training.clip_norm = float(norm)
            elif not isinstance(norm, Unknown):
                report.error(
                    "N0502",
                    f"`clip_norm` is above 0, and this is {show(norm)}",
                    value.span,
                    help="without it, gradients of any size are used as they are",
                )
        case _:
            report.error(
                "N0501",
                f"`train` has no setting `{key}`",
                line.name.span,
                help=suggest(key, SETTINGS, f"the settings are {listing(SETTINGS)}"),
            )


def check_schedule(report: Report, scope: Scope, node: syntax.Expression) -> Expr | None:
    """The expression of a schedule, or of a number: of the learning rate, or what changes as it."""
    if isinstance(node, syntax.Name) and node.text in scope.schedules:
        report.error(
            "N0502",
            f"`{node.text}` is a schedule, to be called",
            node.span,
            help=f"write `{node.text}(…)`",
        )
        return None
    evaluator = _Schedules(report, scope)
    term = evaluator.evaluate(node)
    if isinstance(term, Unknown):
        return None
    if isinstance(term, Scalar) and not term.truth:
        return term.expression if evaluator.within_bounds(node.span, term.expression) else None
    if not is_number(term) or term < 0:  # type: ignore[operator]
        found = show(term) if is_number(term) else describe(term)  # type: ignore[arg-type]
        report.error(
            "N0502",
            f"`learning_rate` is a number, not negative, or a schedule; not {found}",
            node.span,
        )
        return None
    return Number(float(term))  # type: ignore[arg-type]


class _Schedules(ConstantEvaluator):
    """Evaluates arithmetic of schedules and constants."""

    def call(self, node: syntax.Call) -> Term:
        """A schedule, or a function of schedules and constants."""
        name = node.name.text
        definition = self.scope.schedules.get(name)
        if definition is not None:
            return self._schedule(node, definition)
        if name in PRIMITIVES:
            arguments = positional(self.report, node)
            return UNKNOWN if arguments is None else self.primitive(node, arguments)
        if name in FUNCTIONS:
            return super().call(node)
        unknown_definition(self.report, self.scope, node.name, "schedule", [*self.scope.schedules])
        return UNKNOWN

    def _schedule(self, node: syntax.Call, definition: BodyDefinition) -> Term:
        options = constant_options(ConstantEvaluator(self.report, self.scope), node, definition)
        if options is None:
            return UNKNOWN
        local: dict[str, Term] = {name: Scalar(Var(name)) for name in ("epochs", "step")}
        local |= as_options(options)
        local |= {name: Scalar(Var("epoch")) for name in definition.inputs}
        quiet = Report()
        evaluator = ScheduleEvaluator(quiet, definition.scope, "schedule", local)
        expression = number_of(evaluator, definition.body)
        if expression is not None:
            return Scalar(expression, None, definition.name)
        for problem in quiet.diagnostics:
            # What is wrong is the use: by itself the definition was sound.
            self.report.error(problem.code, problem.message, node.span, help=problem.help)
        return UNKNOWN


def mentions_schedule(node: syntax.Expression, scope: Scope) -> bool:
    """Whether a schedule is called anywhere in an expression."""
    stack: list[syntax.Part] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, syntax.Call) and part.name.text in scope.schedules:
            return True
        stack.extend(syntax.children(part))
    return False
