"""Points to draw: of each entry a picture, in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nerva_dsl import model
from nerva_dsl.check.environment import BodyDefinition, Function, OptimizerDefinition
from nerva_dsl.check.initialisers import InitialiserChoice
from nerva_dsl.check.optimizers import option_variable
from nerva_dsl.check.terms import Scalar, Term
from nerva_dsl.reference.entries import Entry
from nerva_dsl.reference.formulas import EXAMPLES
from nerva_dsl.reference.slopes import PRIMITIVE_INPUT, body_of, loss_model, schedule_expression
from nerva_dsl.scalar import Number, without_stated
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import value_at

REACH = 4.0
"""How far from 0 functions are drawn."""

EPOCHS = 30
"""Of the training of which a schedule is drawn."""

STEPS = 60
"""Of the descent that shows an optimizer."""

LAYER = (256, 128)
"""Inputs and outputs of the layer whose initial weights are drawn."""

_POINTS = 161
_PROBABILITIES = ("cross_entropy", "negative_log_likelihood")


@dataclass(frozen=True)
class Curve:
    """A line through points.

    Attributes:
        name: what it shows.
        points: x and y; what is not finite is left out.
    """

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """Curves over one axis.

    Attributes:
        title: what is drawn, with the values of options that have no default.
        axis: what is on the horizontal axis.
        curves: at least one.
    """

    title: str
    axis: str
    curves: tuple[Curve, ...]


def picture(entry: Entry) -> Picture | None:
    """What is drawn of an entry; None for what is 0 everywhere."""
    match entry.defined:
        case OptimizerDefinition() as optimizer:
            return _descent(optimizer)
        case BodyDefinition(kind="schedule") as schedule:
            return _rates(schedule)
        case BodyDefinition():
            return _loss(entry.name)
        case Function() | None if entry.kind == "function":
            return _function(entry.name, entry.defined)
    return _distribution(entry.name)


def _function(name: str, function: Function | None) -> Picture:
    """A function and its derivative."""
    body = body_of(name, function)
    (x,) = (PRIMITIVE_INPUT,) if function is None else function.inputs
    options = {} if function is None else {o.name: o.default for o in function.options}
    operands = {**options, **EXAMPLES.get(name, {})}
    numbers = {option: float(value) for option, value in operands.items()}  # type: ignore[arg-type]
    xs = _spread(-REACH, REACH)
    curves = tuple(
        _curve(label, xs, [value_at(what, {**numbers, x: at}) for at in xs])
        for label, what in (
            (name, without_stated(body)),
            ("derivative", without_stated(derivative(body, x))),
        )
    )
    return Picture(_titled(name, EXAMPLES.get(name, {})), x, curves)


def _loss(name: str) -> Picture:
    """The loss of one sample over one feature of y, for a fixed target."""
    two = name == "softmax_cross_entropy"
    value = loss_model(name, 1 + two).model.loss
    if name in _PROBABILITIES:
        axis, xs = "y", _spread(0.01, 1.0)
        title = f"{name} of a probability y, for t = 1"
    else:
        axis, xs = "y", _spread(-REACH, REACH)
        title = f"{name} of one feature y, for t = 1"
    if two:
        title = f"{name} of the logits y and 0, where the first is right"
    ys = [features(value, [at, 0.0][: 1 + two], [1.0, 0.0][: 1 + two])[0] for at in xs]
    return Picture(title, axis, (_curve("loss", xs, ys),))


def features(value: model.Value, y: Sequence[float], t: Sequence[float]) -> list[float]:
    """What a value of the graph is for one sample.

    Args:
        value: of a model with one layer, whose output is y.
        y: the features of the layer.
        t: those of the target.
    """
    match value:
        case model.Linear():
            return list(y)
        case model.Target():
            return list(t)
        case model.Elementwise(operands=operands, expression=expression, width=width):
            read = [features(operand, y, t) for operand in operands]
            return [
                value_at(
                    without_stated(expression),
                    {f"a{i}": x[feature % len(x)] for i, x in enumerate(read)},
                )
                for feature in range(width)
            ]
        case model.Reduce(kind=kind, x=x):
            return [sum(features(x, y, t)) if kind == "sum" else max(features(x, y, t))]
        case model.Softmax(x=x) | model.LogSoftmax(x=x):
            logits = features(x, y, t)
            total = math.log(sum(math.exp(logit) for logit in logits))
            logarithms = [logit - total for logit in logits]
            if isinstance(value, model.LogSoftmax):
                return logarithms
            return [math.exp(logarithm) for logarithm in logarithms]
    raise TypeError(f"{type(value).__name__} in a loss")


def _rates(schedule: BodyDefinition) -> Picture:
    """The learning rate in each epoch."""
    examples = EXAMPLES[schedule.name]
    given = {o.name: examples.get(o.name, o.default) for o in schedule.options}
    options: dict[str, Term] = {
        name: value if isinstance(value, tuple) else Scalar(Number(float(value)))  # type: ignore[arg-type]
        for name, value in given.items()
    }
    expression = schedule_expression(schedule, options)
    epochs = [float(epoch) for epoch in range(EPOCHS)]
    rates = [value_at(expression, {"epoch": at, "epochs": float(EPOCHS)}) for at in epochs]
    title = f"{_titled(schedule.name, examples)} in {EPOCHS} epochs"
    return Picture(title, "epoch", (_curve("learning rate", epochs, rates),))


def _descent(optimizer: OptimizerDefinition) -> Picture:
    """A weight that begins at 1 and whose loss is w² / 2."""
    rate = 0.1
    known = {"w": 1.0, **dict(optimizer.states)}
    options = {option_variable(o.name): float(o.default) for o in optimizer.options}  # type: ignore[arg-type]
    weights = [known["w"]]
    for step in range(1, STEPS + 1):
        supplied = {"g": known["w"], "lr": rate, "step": float(step)}
        for name, expression in optimizer.assignments:
            known[name] = value_at(expression, {**options, **supplied, **known})
        weights.append(known["w"])
    steps = [float(step) for step in range(STEPS + 1)]
    title = f"a weight with the loss w² / 2 under {optimizer.name}, lr = {rate}"
    return Picture(title, "step", (_curve("w", steps, weights),))


def _distribution(name: str) -> Picture | None:
    """The probability density of the initial weights of a dense layer."""
    inputs, outputs = LAYER
    examples = EXAMPLES.get(name, {})
    first, second = (-1.0, 1.0) if name == "uniform" else (0.0, float(examples.get("std", 0)))  # type: ignore[arg-type]
    choice = InitialiserChoice(name, first, second)
    drawn = choice.resolve(inputs, outputs, inputs * outputs)
    title = f"{_titled(name, examples)}: density of weights of {inputs} inputs, {outputs} outputs"
    if drawn.distribution == "uniform":
        low, high = drawn.first, drawn.second
        if low == high:
            return None
        xs = _spread(1.3 * low, 1.3 * high)
        ys = [1 / (high - low) if low <= at <= high else 0.0 for at in xs]
    else:
        mean, std = drawn.first, drawn.second
        xs = _spread(mean - 4 * std, mean + 4 * std)
        scale = 1 / (std * math.sqrt(2 * math.pi))
        ys = [scale * math.exp(-(((at - mean) / std) ** 2) / 2) for at in xs]
    return Picture(title, "weight", (_curve("density", xs, ys),))


def _titled(name: str, examples: Mapping[str, float | tuple[float, ...]]) -> str:
    """A name with the values of options that are examples."""
    shown = [
        f"{option} = {list(value) if isinstance(value, tuple) else value}"
        for option, value in examples.items()
    ]
    return f"{name}, {', '.join(shown)}" if shown else name


def _spread(first: float, last: float) -> list[float]:
    return [first + (last - first) * k / (_POINTS - 1) for k in range(_POINTS)]


def _curve(name: str, xs: Sequence[float], ys: Sequence[float]) -> Curve:
    points = zip(xs, ys, strict=True)
    return Curve(name, tuple((x, y) for x, y in points if math.isfinite(y)))
