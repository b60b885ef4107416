"""What differs between training and evaluation: batch normalisation, dropout, drop_connect."""

from __future__ import annotations

from nerva_dsl import model as checked
from nerva_dsl.ir.operations import Map, Standardize
from nerva_dsl.ir.types import Dim, Place, Value
from nerva_dsl.lower.emitter import Emitter
from nerva_dsl.scalar import Number, Var, apply


def batch_norm(
    builder: Emitter, node: checked.BatchNorm, x: Value, origin: tuple[Place, ...]
) -> Value:
    """Ioffe & Szegedy 2015, with PyTorch's running statistics."""
    rows, name = node.width, node.name or f"{node.prefix}.norm"
    rule = builder.parameters.running_average(node.momentum)
    gamma = builder.parameters.vector(f"{node.prefix}.gamma", rows, 1.0)
    beta = builder.parameters.vector(f"{node.prefix}.beta", rows, 0.0)
    running = [
        builder.parameters.vector(f"{node.prefix}.running_{part}", rows, initial, rule)
        for part, initial in (("mean", 0.0), ("var", 1.0))
    ]
    a, b, c = (Var(f"a{i}") for i in range(3))
    if not builder.training:
        variance = apply("add", c, Number(node.epsilon))
        standard = apply("div", apply("sub", a, b), apply("sqrt", variance))
        operands = (x, *running)
        normal = builder.map(standard, operands, rows, origin, "standardize", f"{name}.standard")
    else:
        mean, variance_of = _statistics(builder, x, node.prefix, running, origin)
        normal = builder.fresh(f"{name}.standard", rows)
        builder.operations.append(
            Standardize((normal,), origin, x, mean, variance_of, node.epsilon)
        )
    scaled = apply("add", apply("mul", a, b), c)
    return builder.map(scaled, (normal, gamma, beta), rows, origin, "batch_norm", name)


def _statistics(
    builder: Emitter, x: Value, prefix: str, running: list[Value], origin: tuple[Place, ...]
) -> tuple[Value, Value]:
    """Mean and variance over the batch; the running ones follow, the variance unbiased."""
    rows, count = x.type.rows, Var("count")
    column: tuple[Dim, Dim] = (rows, 1)
    total = builder.reduce("sum", x, origin, f"{prefix}.sum", axis="batch")
    mean = builder.map(
        apply("div", Var("a0"), count), (total,), column, origin, "mean", f"{prefix}.mean"
    )
    distance = apply("sub", Var("a0"), Var("a1"))
    square = apply("mul", distance, distance)
    squares = builder.map(square, (x, mean), rows, origin, "square", f"{prefix}.squares")
    spread = builder.reduce("sum", squares, origin, f"{prefix}.spread", axis="batch")
    variances = []
    for divisor, label in ((count, "var"), (apply("sub", count, Number(1.0)), "unbiased")):
        divided = apply("div", Var("a0"), divisor)
        name = f"{prefix}.{label}"
        variances.append(builder.map(divided, (spread,), column, origin, label, name))
    for parameter, value in zip(running, (mean, variances[1]), strict=True):
        builder.follow(parameter, value, origin)
    return mean, variances[0]


def dropout(builder: Emitter, x: Value, rate: float, name: str, origin: tuple[Place, ...]) -> Value:
    """Inverted dropout: Srivastava et al., JMLR 2014. In evaluation it is nothing."""
    if not (builder.training and rate):
        return x
    mask = builder.bernoulli(builder.fresh(f"{name}.mask", x.type.rows), rate, None, origin)
    kept = apply("mul", Var("a0"), Var("a1"))
    result = builder.map(kept, (x, mask), x.type.rows, origin, "dropout", name)
    builder.masks[result.name] = mask
    return result


def drop_connect(
    builder: Emitter, weight: Value, layer: checked.Layer, origin: tuple[Place, ...]
) -> Value:
    """The weight with some of its numbers left out: Wan et al., ICML 2013."""
    mask, dropped = (Value(f"{weight.name}.{part}", weight.type) for part in ("mask", "dropped"))
    builder.bernoulli(mask, layer.drop_connect, weight, origin)
    builder.masks[weight.name] = mask
    kept = apply("mul", Var("a0"), Var("a1"))
    builder.operations.append(Map((dropped,), origin, kept, (weight, mask), "drop_connect"))
    return dropped
