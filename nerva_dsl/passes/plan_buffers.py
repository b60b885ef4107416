"""Plan buffers: one arena for all that is stored between kernels.

Before: scheduled groups. After: every stored value has a place in the arena, but those which the
caller wants, such as gradients; values that are alive in a common phase do not overlap, and a slice
lies in what it is a slice of. Graphs share the arena, since only one runs at a time. Larger values
are placed first, each at the lowest place that is free while it lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nerva_dsl.ir.operations import Group, TransposedProduct, each_operation
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Buffer, Graph, Program
from nerva_dsl.ir.types import Value
from nerva_dsl.ir.verify import lifetimes, views
from nerva_dsl.record import replace
from nerva_dsl.tiling import number_bytes

ALIGNMENT = 16
"""Numbers to which the places of what is not batched are rounded."""


@dataclass(frozen=True)
class PlanBuffers:
    """See the module's docstring."""

    name: str = "buffers"

    def __call__(self, program: Program) -> Program:
        """Place every buffer and size the arena."""
        graphs = tuple(_plan(program, graph) for graph in program.graphs)
        ends = (buffer.offset + buffer.size for graph in graphs for buffer in graph.buffers)
        return replace(program, graphs=graphs, arena=max(ends, default=0))


def _plan(program: Program, graph: Graph) -> Graph:
    lives, inside = lifetimes(graph), views(graph)
    wanted = {value.name for _, value in graph.results if not value.type.batched}
    if graph.name == "masks":
        wanted = set()  # they are copied from the arena
    numbers = {p.value.name: p.nnz for p in program.parameters}
    counts = {name: numbers[weight.name] for name, weight in patterns(program, graph).items()}
    sizes = {
        value: _size(graph, value, counts, number_bytes(program.precision))
        for group in graph.operations
        if isinstance(group, Group)
        for value in group.results
        if value.name not in wanted
    }
    placed: list[Buffer] = []
    for value in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if value.name in inside:
            continue
        size = sizes[value]
        first, last = lives[value.name]
        taken = sorted(
            (buffer.offset, buffer.offset + buffer.size)
            for buffer in placed
            if lives[buffer.value.name][0] <= last and first <= lives[buffer.value.name][1]
        )
        offset = 0
        for start, end in taken:
            if offset + size <= start:
                break
            offset = max(offset, end)
        placed.append(Buffer(value, offset, size))
    offsets = {buffer.value.name: buffer.offset for buffer in placed}
    for value, size in sizes.items():
        if value.name in inside:
            root, row = inside[value.name]
            placed.append(Buffer(value, offsets[root.name] + row * _stride(value), size))
    order = {value.name: position for position, value in enumerate(sizes)}
    buffers = tuple(sorted(placed, key=lambda buffer: order[buffer.value.name]))
    return replace(graph, buffers=buffers)


def _size(graph: Graph, value: Value, counts: Mapping[str, int], bytes_: int) -> int:
    """Numbers, of so many bytes, that a value takes; `counts` has those of weight-shaped ones."""
    if value.type.batched:
        size = value.type.rows * _stride(value)
        return _aligned(-(-size // bytes_)) if value.type.element == "uint8" else size
    if value.name not in counts:
        return _aligned(value.type.rows)
    transposed = any(
        isinstance(op, TransposedProduct) and op.weight == value and value.type.format == "csr"
        for op in each_operation(graph.operations)
    )
    # Behind the numbers by rows, those by columns.
    return _aligned(counts[value.name]) * (1 + transposed)


def _aligned(numbers: int) -> int:
    """Whole cache lines of the larger precision, so that what follows is aligned."""
    return -(-numbers // ALIGNMENT) * ALIGNMENT


def _stride(value: Value) -> int:
    if value.type.layout is None:
        raise TypeError(f"{value} has no layout: choose layouts before planning buffers")
    return value.type.layout.stride
