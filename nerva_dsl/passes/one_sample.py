"""One sample: a graph of its own for predictions of a single sample.

Before: `predict` computes a batch. After: `predict_one` beside it means the same for one sample.
Why: its rows are single numbers that lie side by side, so that a sample costs what its non-zeros
cost, and not what a batch does; the passes after this one give it layouts and kernels of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.program import Program
from nerva_dsl.record import replace

GRAPH = "predict_one"
"""The name of the graph for one sample."""


@dataclass(frozen=True)
class OneSample:
    """See the module's docstring."""

    name: str = "one-sample"

    def __call__(self, program: Program) -> Program:
        """Add the graph."""
        added = (replace(graph, name=GRAPH) for graph in program.graphs if graph.name == "predict")
        return replace(program, graphs=(*program.graphs, *added))
