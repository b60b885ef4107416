"""Which parameter's positions a weight-shaped value has."""

from __future__ import annotations

from nerva_dsl.ir.operations import Bernoulli, Map, WeightGradient, each_operation
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value


def patterns(program: Program, graph: Graph) -> dict[str, Value]:
    """The weight at whose non-zeros a value is stored, by the value's name.

    Weights themselves, their gradients, masks and what is computed from these have one; a dense
    weight stands for all its positions.
    """
    found = {
        parameter.value.name: parameter.value
        for parameter in program.parameters
        if parameter.value.name in program.weights or parameter.value.type.format == "csr"
    }
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
