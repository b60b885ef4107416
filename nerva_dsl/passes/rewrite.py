"""What the passes share: walking graphs and replacing values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from nerva_dsl.ir.operations import Operation
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value


def each_graph(program: Program, change: Callable[[Graph], Graph]) -> Program:
    """The program with every graph changed."""
    return replace(program, graphs=tuple(change(graph) for graph in program.graphs))


def uses(operations: Iterable[Operation], results: Iterable[tuple[str, Value]]) -> Counter[str]:
    """How many operations read each value, a graph's results counting as one more."""
    counted = Counter(value.name for op in operations for value in set(op.operands))
    counted.update(value.name for _, value in results)
    return counted


def with_values(graph: Graph, replacements: Mapping[str, Value]) -> Graph:
    """The graph reading other values in place of some."""

    def change(value: Value) -> Value:
        while value.name in replacements:
            value = replacements[value.name]
        return value

    return replace(
        graph,
        operations=tuple(operation.map_values(change) for operation in graph.operations),
        results=tuple((name, change(value)) for name, value in graph.results),
    )
