"""What is measured of a sample beside its loss: accuracy, top k, cells of confusion matrices."""

from __future__ import annotations

from nerva_dsl import model as checked
from nerva_dsl.ir.types import Place, Value
from nerva_dsl.lower.emitter import place
from nerva_dsl.lower.values import Builder
from nerva_dsl.scalar import Number, Var, apply


def accuracy(builder: Builder) -> Value:
    """1 for each sample whose largest output is its label's; ties go to the lowest class."""
    output = builder.value(builder.parameters.model.output)
    labels = builder.load(builder.parameters.inputs[1])
    origin = (place(builder.parameters.model.output.span),)
    first = _first(builder, output, origin, "output")
    hit = apply("eq", apply("neg", Var("a0")), Var("a1"))
    one = apply("select", hit, Number(1.0), Number(0.0))
    return builder.map(one, (first, labels), 1, origin, "hit", "accuracy")


def measure(builder: Builder, metric: checked.Metric) -> Value:
    """What is measured of each sample."""
    value = builder.value(metric.value)
    match metric.kind:
        case "top_k":
            return _top(builder, value, metric)
        case "confusion_matrix":
            return _cell(builder, value, metric)
    return value


def _first(builder: Builder, value: Value, origin: tuple[Place, ...], name: str) -> Value:
    """Minus the position of the largest feature, the lowest of equal ones."""
    rows = value.type.rows
    top = builder.reduce("max", value, origin, f"{name}.top")
    one_if = apply("neg", Var("feature")), Number(-float(rows))
    at_top = apply("select", apply("eq", Var("a0"), Var("a1")), *one_if)
    position = builder.map(at_top, (value, top), rows, origin, "position", f"{name}.position")
    return builder.reduce("max", position, origin, f"{name}.first")


def _top(builder: Builder, value: Value, metric: checked.Metric) -> Value:
    """1 for each sample with fewer than k features before its label's."""
    labels = builder.load(builder.parameters.inputs[1])
    origin, rows = (place(metric.span),), value.type.rows
    is_label = apply("eq", Var("a1"), Var("feature"))
    own = apply("select", is_label, Var("a0"), Number(0.0))
    chosen = builder.map(own, (value, labels), rows, origin, "own", f"{metric.name}.own")
    score = builder.reduce("sum", chosen, origin, f"{metric.name}.score")
    tie = apply("and", apply("eq", Var("a0"), Var("a2")), apply("lt", Var("feature"), Var("a1")))
    ahead = apply("or", apply("gt", Var("a0"), Var("a2")), tie)
    one = apply("select", ahead, Number(1.0), Number(0.0))
    operands = (value, labels, score)
    before = builder.map(one, operands, rows, origin, "ahead", f"{metric.name}.ahead")
    rank = builder.reduce("sum", before, origin, f"{metric.name}.rank")
    among = apply("lt", Var("a0"), Number(float(metric.k)))
    hit = apply("select", among, Number(1.0), Number(0.0))
    return builder.map(hit, (rank,), 1, origin, "hit", metric.name)


def _cell(builder: Builder, value: Value, metric: checked.Metric) -> Value:
    """The cell of the confusion matrix that each sample counts in: label · K + class."""
    labels = builder.load(builder.parameters.inputs[1])
    origin = (place(metric.span),)
    first = _first(builder, value, origin, metric.name)
    row = apply("mul", Var("a0"), Number(float(value.type.rows)))
    cell = apply("sub", row, Var("a1"))
    return builder.map(cell, (labels, first), 1, origin, "cell", metric.name)
