"""Join sums: what is summed over the batch rides on the weight gradient that reads the same rows.

Before: kernels are chosen; a bias's gradient and its update are a group of their own, which reads
the rows of dz once more. After: where a gradient at the non-zeros goes through these rows anyway,
that group is part of the gradient's. Why: a row that is at hand is read for nothing, and at low
densities the rows of dz are most of what both read.

The other gradients go through dz by stripes of rows and blocks of samples; they cost so much more
than a sum that it would not show.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.operations import (
    Group,
    Operation,
    Reduce,
    Update,
    WeightGradient,
    each_operation,
)
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.passes.fuse import merge_origins
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.record import replace

ROW_BY_ROW = ("sddmm", "sddmm_bytes")
"""Kernels of weight gradients that go through dz row by row."""


@dataclass(frozen=True)
class JoinSums:
    """See the module's docstring."""

    name: str = "sums"

    def __call__(self, program: Program) -> Program:
        """Join the groups of every graph."""
        return each_graph(program, _join)


def _join(graph: Graph) -> Graph:
    operations = list(graph.operations)
    for sums in graph.operations:
        if isinstance(sums, Group) and _only_sums(sums):
            ways = (
                _in_place_of(operations, gradient, sums)
                for gradient in operations
                if isinstance(gradient, Group) and _reads_the_same(gradient, sums)
            )
            operations = next(filter(None, ways), operations)
    return replace(graph, operations=tuple(operations))


def _only_sums(group: Group) -> bool:
    """Whether a group sums the rows of one activation, and stores none."""
    return (
        group.kernel == "featurewise"
        and isinstance(group.head, Reduce)
        and sum(value.type.batched for value in group.operands) == 1
        and not any(value.type.batched for value in group.results)
    )


def _reads_the_same(gradient: Group, sums: Group) -> bool:
    """Whether a gradient goes through the rows that a group sums."""
    match gradient.head:
        case WeightGradient(dz=dz) if gradient.kernel in ROW_BY_ROW:
            return dz in sums.operands
    return False


def _in_place_of(
    operations: list[Operation], gradient: Group, sums: Group
) -> list[Operation] | None:
    """The operations with both groups as one, where the later was; None if others stand between."""
    first, last = sorted((operations.index(gradient), operations.index(sums)))
    earlier, between = operations[first], operations[first + 1 : last + 1]
    read = {value for operation in between for value in operation.operands}
    updated = {
        part.parameter for part in each_operation(tuple(between)) if isinstance(part, Update)
    }
    if read & set(earlier.results) or updated & set(earlier.operands):
        return None
    joined = Group(
        (*gradient.results, *sums.results),
        merge_origins((gradient, sums)),
        (*gradient.body, *sums.body),
        gradient.kernel,
        gradient.reason,
    )
    rest = [operation for operation in operations if operation not in (gradient, sums)]
    rest.insert(last - 1, joined)
    return rest
