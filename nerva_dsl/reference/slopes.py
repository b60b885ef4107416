"""Derivatives, updates and schedules as the compiler makes them, in the language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nerva_dsl.check import Checked, check_source
from nerva_dsl.check.bodies import number_of
from nerva_dsl.check.environment import BodyDefinition, Function, OptimizerDefinition
from nerva_dsl.check.optimizers import option_variable
from nerva_dsl.check.report import Report
from nerva_dsl.check.schedules import ScheduleEvaluator
from nerva_dsl.check.terms import Scalar, Term
from nerva_dsl.differentiate import differentiate
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.ir.operations import LogSoftmax, Map, Operation, Reduce, Softmax, WeightGradient
from nerva_dsl.ir.types import Value
from nerva_dsl.lower import lower
from nerva_dsl.scalar import (
    Expr,
    Number,
    Var,
    apply,
    rebuild,
    substitute,
    without_stated,
)
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import simplify
from nerva_dsl.scalar.text import to_text
from nerva_dsl.source import Source

PRIMITIVE_INPUT = "x"

FEATURES = 4
"""Of y, where the gradient of a loss is shown: a mean divides by them."""


def body_of(name: str, function: Function | None) -> Expr:
    """What a function computes: over its inputs and options.

    Args:
        name: of the function.
        function: None for a primitive of the language.
    """
    if function is None:
        return apply(name, Var(PRIMITIVE_INPUT))
    assert function.body is not None  # of a definition that is sound
    return function.body


def function_slopes(name: str, function: Function | None) -> Iterator[tuple[str, str]]:
    """The derivatives of a function by its input and by what it learns, each as a function."""
    body = body_of(name, function)
    (x,) = (PRIMITIVE_INPUT,) if function is None else function.inputs
    options = () if function is None else function.options
    signature = ", ".join(option.span.text.removeprefix("learn ") for option in options)
    itself = simplify(without_stated(body))
    for variable in (x, *(option.name for option in options if option.learn)):
        slope = simplify(without_stated(derivative(body, variable)))
        if not options:  # a call says more than the body once more
            slope = rebuild(slope, lambda node: Var(f"{name}({x})") if node == itself else node)
        suffix = "slope" if variable == x else f"slope_by_{variable}"
        inputs = f"{x}; {signature}" if signature else x
        text = f"function {name}_{suffix}({inputs}) = {to_text(slope)}\n"
        yield variable, format_source(Source(name, text))


def loss_model(name: str, features: int, given: str = "") -> Checked:
    """A model with a loss between a layer and a target of as many features.

    Args:
        name: of the loss.
        features: of both.
        given: options for the loss, as they are written.
    """
    text = (
        f"model {name}\ninput x : float32[1]\ntarget t : float32[{features}]\n"
        f"y = linear(x, {features})\noutput = y\nloss = {name}(y, t{given})\n"
    )
    return check_source(Source(f"{name}.nerva", text))


def loss_slope(name: str) -> str:
    """The gradient of a loss of one sample by the features of y, as a value."""
    program = differentiate(lower(loss_model(name, FEATURES).model))
    operations = program.graph("gradients").operations
    made = {value: operation for operation in operations for value in operation.results}
    (outer,) = (operation for operation in operations if isinstance(operation, WeightGradient))
    inputs = {operand.name: operand for operation in operations for operand in operation.operands}
    leaves = {inputs["y"]: Var("y"), inputs["t.batch"]: Var("t")}
    slope = simplify(without_stated(_inlined(outer.dz, made, leaves)))
    return format_source(Source(name, f"gradient = {to_text(slope)}\n"))


def _inlined(value: Value, made: Mapping[Value, Operation], leaves: Mapping[Value, Var]) -> Expr:
    """An operation of the IR and those that it reads as one expression.

    What works over features is a variable with the text of its call.
    """
    if value in leaves:
        return leaves[value]
    match made[value]:
        case Map(expression=expression, inputs=inputs):
            operands: dict[str, Expr] = {
                f"a{place}": _inlined(operand, made, leaves) for place, operand in enumerate(inputs)
            }
            one_sample: dict[str, Expr] = {"count": Number(1.0)}
            return substitute(expression, operands | one_sample)
        case Reduce(kind=kind, x=x):
            return _over_features(kind, _inlined(x, made, leaves))
        case Softmax(x=x):
            return _over_features("softmax", _inlined(x, made, leaves))
        case LogSoftmax(x=x):
            return _over_features("log_softmax", _inlined(x, made, leaves))
    raise TypeError(f"{type(made[value]).__name__} in the gradient of a loss")


def _over_features(name: str, argument: Expr) -> Var:
    return Var(f"{name}({to_text(simplify(without_stated(argument)))})")


def update(optimizer: OptimizerDefinition) -> str:
    """The lines of an optimizer, simplified, with its states before them."""
    names: dict[str, Expr] = {
        option_variable(option.name): Var(option.name) for option in optimizer.options
    }
    options = ", ".join(option.span.text for option in optimizer.options)
    lines = [f"state {name} = {to_text(Number(initial))}" for name, initial in optimizer.states]
    lines += [
        f"{name} = {to_text(simplify(substitute(expression, names)))}"
        for name, expression in optimizer.assignments
    ]
    inputs = f"w, g, lr{f'; {options}' if options else ''}"
    text = "\n".join([f"optimizer {optimizer.name}({inputs}) {{", *lines, "}\n"])
    return format_source(Source(optimizer.name, text))


def schedule_expression(schedule: BodyDefinition, options: Mapping[str, Term]) -> Expr:
    """What a schedule computes, over `epoch` and `epochs`.

    Args:
        schedule: one that is sound.
        options: a value for each of its options.
    """
    local: dict[str, Term] = {"epochs": Scalar(Var("epochs")), "step": Scalar(Var("step"))}
    local |= options
    local |= {name: Scalar(Var("epoch")) for name in schedule.inputs}
    evaluator = ScheduleEvaluator(Report(), schedule.scope, "schedule", local)
    expression = number_of(evaluator, schedule.body)
    assert expression is not None  # of a definition that is sound
    return simplify(expression)
