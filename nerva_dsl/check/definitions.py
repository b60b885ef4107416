"""Checking definitions: functions, losses, optimizers, schedules and layers.

A body is checked where it is defined, used or not.
"""

from __future__ import annotations

from nerva_dsl import syntax
from nerva_dsl.check.bodies import BUILT_IN, BodyEvaluator, ConstantEvaluator, number_of
from nerva_dsl.check.environment import (
    BodyDefinition,
    Defined,
    Function,
    LayerDefinition,
    OptimizerDefinition,
    OptionSpec,
    Scope,
)
from nerva_dsl.check.layer_definitions import check_layer
from nerva_dsl.check.losses import check_loss_body
from nerva_dsl.check.optimizers import check_optimizer
from nerva_dsl.check.report import Report
from nerva_dsl.check.schedules import ScheduleEvaluator, counted
from nerva_dsl.check.stated import with_derivative
from nerva_dsl.check.terms import Scalar, Term, Unknown, describe, is_number
from nerva_dsl.errors import Note
from nerva_dsl.scalar import Var, variables
from nerva_dsl.source import Span

_SUPPLIED = {
    "loss": ("y, t", "the value and what it is compared with"),
    "schedule": ("epoch", "the number of the epoch, from 0"),
    "optimizer": ("w, g, lr", "a weight, its gradient and the learning rate"),
}


def define(report: Report, scope: Scope, node: syntax.Definition | syntax.BlockDefinition) -> None:
    """Check a definition and add it to the scope, even if it is wrong."""
    table = scope.tables()[node.kind]
    name = node.name.text
    # Functions and layers are called in the same places.
    called = node.kind in ("function", "layer")
    other = scope.layers if node.kind == "function" else scope.functions
    earlier = table.get(name) or (other.get(name) if called else None)
    if earlier is not None:
        where = "in the prelude" if earlier.span.source is scope.prelude else "here"
        report.error(
            "N0202",
            f"{article(earlier.kind)} `{name}` exists already",
            node.name.span,
            notes=[Note(earlier.span, f"defined {where} first")],
            help="choose another name",
        )
    elif called and name in BUILT_IN:
        report.error(
            "N0202",
            f"`{name}` is built into the language",
            node.name.span,
            help="choose another name",
        )
    before = report.error_count
    definition = _check(report, scope, node)
    if earlier is None and name not in (BUILT_IN if called else ()):
        if report.error_count == before:
            table[name] = definition
        else:
            scope.poisoned.add(name)


def _check(
    report: Report, scope: Scope, node: syntax.Definition | syntax.BlockDefinition
) -> Defined:
    inputs = tuple(name.text for name in node.signature.inputs)
    _check_signature(report, node)
    options = _options(report, scope, node)
    common = (node.kind, node.name.text, node.name.span, inputs, options)
    if isinstance(node, syntax.BlockDefinition) and node.kind == "layer":
        lines = check_layer(report, scope, node, inputs, options)
        return LayerDefinition(*common, lines=lines, scope=scope)
    if isinstance(node, syntax.BlockDefinition):
        return OptimizerDefinition(*common, *check_optimizer(report, scope, node, inputs, options))
    local: dict[str, Term] = {option.name: _placeholder(option) for option in options}
    match node.kind:
        case "function":
            local |= {name: Scalar(Var(name)) for name in inputs}
            evaluator = BodyEvaluator(report, scope, "function", local)
            body = number_of(evaluator, node.body)
            if body is not None and not set(variables(body)) & set(inputs):
                report.error(
                    "N0401",
                    f"`{node.name.text}` does not depend on its inputs",
                    node.body.span,
                    help="a constant is defined with `let`",
                )
            elif body is not None and node.derivative is not None:
                body = with_derivative(evaluator, node, body, options)
            return Function(*common, body=body)
        case "loss" if len(inputs) == 2:  # else its other names mean nothing yet
            check_loss_body(report, scope, node, inputs, local)
        case "schedule":
            local |= {name: Scalar(Var(name)) for name in ("epochs", "step") if name not in local}
            local |= {name: Scalar(Var("epoch")) for name in inputs}
            number_of(ScheduleEvaluator(report, scope, "schedule", local), node.body)
    return BodyDefinition(*common, body=node.body, scope=scope)


def _check_signature(report: Report, node: syntax.Definition | syntax.BlockDefinition) -> None:
    signature = node.signature
    seen: dict[str, Span] = {}
    for part in (*signature.inputs, *(option.name for option in signature.options)):
        if part.text in seen:
            report.error(
                "N0202",
                f"`{part.text}` stands twice in the signature",
                part.span,
                notes=[Note(seen[part.text], "here first")],
            )
        seen.setdefault(part.text, part.span)
    if node.kind in _SUPPLIED:
        wanted, meaning = _SUPPLIED[node.kind]
        count = len(wanted.split(", "))
        if len(signature.inputs) != count:
            inputs = f"{count} input{'s' * (count > 1)}"
            report.error(
                "N0403",
                f"`{node.kind}` definitions have {inputs}, not {len(signature.inputs)}",
                signature.span,
                help=f"write ({wanted}; options): {meaning}; options come after a `;`",
            )


def _options(
    report: Report, scope: Scope, node: syntax.Definition | syntax.BlockDefinition
) -> tuple[OptionSpec, ...]:
    lists = _lists(node.body) if isinstance(node, syntax.Definition) else set()
    names = (*node.signature.inputs, *(option.name for option in node.signature.options))
    own = {name.text: None for name in names}
    result: list[OptionSpec] = []
    for option in node.signature.options:
        if option.learn is not None and node.kind != "function":
            report.error(
                "N0401",
                f"`learn` is for the options of a function, not of {article(node.kind)}",
                option.learn,
                help="a function trains a number in each of its uses",
            )
        default = None
        kind = "list" if option.name.text in lists else "number"
        if node.kind == "layer":
            kind = "any"
        if option.default is not None:
            evaluator = ConstantEvaluator(report, scope, own)
            value = evaluator.constant(option.default)
            sound = isinstance(value, tuple) if kind == "list" else is_number(value)
            sound = sound or kind == "any"
            if not isinstance(value, Unknown) and not sound:
                report.error(
                    "N0204",
                    f"`{option.name.text}` is a {kind}, not {describe(value)}",
                    option.default.span,
                )
            default = 0 if isinstance(value, Unknown) else value
        learn = option.learn is not None
        result.append(OptionSpec(option.name.text, default, kind, option.span, learn))  # type: ignore[arg-type]
    return tuple(result)


def _lists(body: syntax.Expression) -> set[str]:
    """The names that are compared as lists: the left or right side of `count`, but `epoch`."""
    found: set[str] = set()
    stack: list[syntax.Part] = [body]
    while stack:
        node = stack.pop()
        if isinstance(node, syntax.Call) and node.name.text == "count":
            comparison = counted(node)
            if comparison is not None:
                sides = (comparison.left, comparison.right)
                found |= {side.text for side in sides if isinstance(side, syntax.Name)}
        stack.extend(syntax.children(node))
    return found


def _placeholder(option: OptionSpec) -> Term:
    """What stands for an option while a body is checked by itself."""
    return (1.0,) if option.kind == "list" else Scalar(Var(option.name))


def article(kind: str) -> str:
    """A kind of definition with its article."""
    return f"an {kind}" if kind == "optimizer" else f"a {kind}"
