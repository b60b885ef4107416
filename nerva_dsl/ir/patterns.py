"""Which parameter's positions a weight-shaped value has."""

from __future__ import annotations

from collections.abc import Iterator

from nerva_dsl.ir.operations import Bernoulli, Group, Map, Operation, WeightGradient
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value


def patterns(program: Program, graph: Graph) -> dict[str, Value]:
    """The weight at whose non-zeros a value is stored, by the value's name.

    Weights themselves, their gradients, masks and what is computed from these have one; a dense
    weight stands for all its positions.
    """
    found = {p.value.name: p.value for p in program.parameters if p.weight}
    for operation in each_operation(graph.operations):
        like: Value | None = None
        match operation:
            case WeightGradient(weight=weight):
                like = weight
            case Bernoulli(like=weight):
                like = weight
            case Map(inputs=inputs, result=result) if not result.type.batched:
                like = next((v for v in inputs if v.name in found and v.type == result.type), None)
        if like is not None and like.name in found:
            found[operation.result.name] = found[like.name]
    return found


def each_operation(operations: tuple[Operation, ...]) -> Iterator[Operation]:
    """The operations, those inside groups in the place of these."""
    for operation in operations:
        if isinstance(operation, Group):
            yield from operation.body
        else:
            yield operation
