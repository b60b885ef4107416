"""What the passes share: walking graphs and replacing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value
from nerva_dsl.record import replace


def each_graph(program: Program, change: Callable[[Graph], Graph]) -> Program:
    """The program with every graph changed."""
    return replace(program, graphs=tuple(change(graph) for graph in program.graphs))


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
