"""Schedule: phases of groups that do not depend on each other.

Before: groups in some valid order, those that update last. After: each has a phase and they are
sorted by it. A group runs in the phase after the last one that it depends on: that computes what it
reads, or reads the parameter that it updates. Nothing is updated before the graph's results are
known, so that a loss that is not finite leaves the parameters as they were. Threads wait for each
other only between phases.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.operations import Group, Update
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.record import replace


@dataclass(frozen=True)
class Schedule:
    """See the module's docstring."""

    name: str = "schedule"

    def __call__(self, program: Program) -> Program:
        """Give every group its phase."""
        return each_graph(program, _schedule)


def _schedule(graph: Graph) -> Graph:
    written: dict[str, int] = {}  # the phase that computes a value
    read: dict[str, int] = {}  # the last phase that reads it
    groups: list[Group] = []
    for operation in graph.operations:
        if not isinstance(operation, Group):
            raise TypeError(f"{type(operation).__name__} outside a group: fuse before scheduling")
        updated = [part.parameter.name for part in operation.body if isinstance(part, Update)]
        after_writers = [written[v.name] + 1 for v in operation.operands if v.name in written]
        after_readers = [read[name] + 1 for name in updated if name in read]
        after_results = [written[v.name] + 1 for _, v in graph.results] if updated else []
        phase = max((*after_writers, *after_readers, *after_results), default=0)
        for value in operation.operands:
            if value.name not in updated:
                read[value.name] = max(phase, read.get(value.name, 0))
        for value in operation.results:
            written[value.name] = phase
        groups.append(replace(operation, phase=phase))
    groups.sort(key=lambda group: group.phase)  # stable
    return replace(graph, operations=tuple(groups))
