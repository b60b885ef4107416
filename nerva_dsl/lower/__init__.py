"""Lowering: the checked model becomes graphs of the IR.

Before: a checked model. After: a program with forward graphs: `predict` gives the output,
`evaluate` the loss, the accuracy and the metrics of each sample, and `step` the loss as a training
step sees it, with the running statistics that it changes; differentiation completes `step`. A model
with dropout has a graph `masks`, which gives those of the next step.
"""

from __future__ import annotations

from nerva_dsl import model as checked
from nerva_dsl.ir.operations import Bernoulli
from nerva_dsl.ir.program import Graph, Growing, Program, Regrow
from nerva_dsl.lower.measures import accuracy, measure
from nerva_dsl.lower.parameters import Parameters
from nerva_dsl.lower.values import Builder

__all__ = ["lower", "measures_accuracy"]


def lower(model: checked.CheckedModel) -> Program:
    """The program of a checked model."""
    parameters = Parameters(model)
    graphs = [_predict(parameters), _evaluate(parameters), *_step(parameters)]
    return Program(
        name=model.name,
        precision=model.precision,
        batch=model.batch,
        inputs=parameters.inputs,
        parameters=tuple(
            parameters.by_name[name] for name in model.parameters if name in parameters.by_name
        ),
        constants=tuple(parameters.constants.values()),
        rules=tuple(parameters.rules.values()),
        schedule=model.schedule,
        graphs=tuple(graphs),
        clip_norm=model.clip_norm,
        confusions=tuple(
            (metric.name, metric.value.width)
            for metric in model.metrics
            if metric.kind == "confusion_matrix"
        ),
        regrow=_regrow(parameters),
    )


def _regrow(parameters: Parameters) -> Regrow | None:
    """How the patterns of the weights that are used change."""
    regrow = parameters.model.regrow
    if regrow is None:
        return None
    return Regrow(
        every=regrow.every,
        unit=regrow.unit,
        prune=regrow.prune,
        amount=regrow.fraction,
        grow=regrow.grow,
        until=regrow.until,
        weights=tuple(
            Growing(f"{layer}.weight", (start.distribution, start.first, start.second))
            for layer, start in regrow.weights
            if f"{layer}.weight" in parameters.by_name
        ),
    )


def _predict(parameters: Parameters) -> Graph:
    builder = Builder(parameters)
    builder.load(parameters.inputs[0])
    return builder.graph("predict", [("output", builder.value(parameters.model.output))])


def _evaluate(parameters: Parameters) -> Graph:
    builder, model = Builder(parameters), parameters.model
    for array in parameters.inputs:
        builder.load(array)
    results = {"loss": builder.value(model.loss)}
    if measures_accuracy(model):
        results["accuracy"] = accuracy(builder)
    results |= {metric.name: measure(builder, metric) for metric in model.metrics}
    return builder.graph("evaluate", list(results.items()))


def _step(parameters: Parameters) -> tuple[Graph, ...]:
    builder, model = Builder(parameters, training=True), parameters.model
    for array in parameters.inputs:
        builder.load(array)
    results = [("loss", builder.value(model.loss))]
    if measures_accuracy(model):
        results.append(("accuracy", accuracy(builder)))
    step = builder.graph("step", results)
    masks = builder.masks
    if not masks:
        return (step,)
    operations = tuple(op for op in step.operations if isinstance(op, Bernoulli))
    return step, Graph("masks", operations, tuple(masks.items()))


def measures_accuracy(model: checked.CheckedModel) -> bool:
    """Whether the output can be compared with class labels."""
    target = model.target
    return target is not None and target.kind == "class" and model.output.width == target.size
