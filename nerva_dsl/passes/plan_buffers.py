"""Plan buffers: one arena for all stored activations.

Before: scheduled groups. After: every stored batched value has a place in the arena; values that
are alive in a common phase do not overlap. Graphs share the arena, since only one runs at a time.
Larger values are placed first, each at the lowest place that is free while it lives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nerva_dsl.ir.operations import Group
from nerva_dsl.ir.program import Buffer, Graph, Program
from nerva_dsl.ir.types import Value
from nerva_dsl.ir.verify import lifetimes


@dataclass(frozen=True)
class PlanBuffers:
    """See the module's docstring."""

    name: str = "buffers"

    def __call__(self, program: Program) -> Program:
        """Place every buffer and size the arena."""
        graphs = tuple(_plan(graph) for graph in program.graphs)
        ends = (buffer.offset + buffer.size for graph in graphs for buffer in graph.buffers)
        return replace(program, graphs=graphs, arena=max(ends, default=0))


def _plan(graph: Graph) -> Graph:
    lives = lifetimes(graph)
    stored = [
        value
        for group in graph.operations
        if isinstance(group, Group)
        for value in group.results
        if value.type.batched
    ]
    placed: list[Buffer] = []
    for value in sorted(stored, key=_size, reverse=True):
        first, last = lives[value.name]
        taken = sorted(
            (buffer.offset, buffer.offset + buffer.size)
            for buffer in placed
            if lives[buffer.value.name][0] <= last and first <= lives[buffer.value.name][1]
        )
        offset = 0
        for start, end in taken:
            if offset + _size(value) <= start:
                break
            offset = max(offset, end)
        placed.append(Buffer(value, offset, _size(value)))
    order = {value.name: position for position, value in enumerate(stored)}
    buffers = tuple(sorted(placed, key=lambda buffer: order[buffer.value.name]))
    return replace(graph, buffers=buffers)


def _size(value: Value) -> int:
    if value.type.layout is None:
        raise TypeError(f"{value} has no layout: choose layouts before planning buffers")
    return value.type.rows * value.type.layout.stride
