"""Drop dead operations: what no result and no update needs.

Before: any graphs without groups. After: every operation contributes to a result of its graph or
updates a parameter. Why: differentiation makes every gradient; the first layer's dX, as costly as
its forward product, is needed by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.operations import Operation, Update
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.record import replace


@dataclass(frozen=True)
class DropDead:
    """See the module's docstring."""

    name: str = "drop-dead"

    def __call__(self, program: Program) -> Program:
        """Keep what is needed, in every graph."""
        return each_graph(program, _drop)


def _drop(graph: Graph) -> Graph:
    needed = {value.name for _, value in graph.results}
    kept: list[Operation] = []
    for operation in reversed(graph.operations):
        if isinstance(operation, Update) or any(v.name in needed for v in operation.results):
            needed.update(value.name for value in operation.operands)
            kept.append(operation)
    return replace(graph, operations=tuple(reversed(kept)))
