"""Choose layouts: activations feature-major with a padded batch, data sample-major.

Before: batched values have no layout. After: each has one; a row of an activation is the batch,
padded to whole vectors, or one number in the graph for one sample. Why: a non-zero `w[i, j]` then
adds a multiple of row j to row i in full-width operations with no remainder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Layout, Value
from nerva_dsl.passes.one_sample import GRAPH
from nerva_dsl.record import replace
from nerva_dsl.tiling import tiling


@dataclass(frozen=True)
class ChooseLayout:
    """See the module's docstring.

    Attributes:
        vector_bytes: width of the target's vectors.
    """

    vector_bytes: int
    name: str = "layout"

    def __call__(self, program: Program) -> Program:
        """Give every batched value its layout."""
        stride = tiling(program.batch, program.precision, self.vector_bytes).stride

        graphs = (_placed(graph, 1 if graph.name == GRAPH else stride) for graph in program.graphs)
        inputs = tuple(_place(value, stride) for value in program.inputs)
        return replace(program, inputs=inputs, graphs=tuple(graphs))


def _placed(graph: Graph, stride: int) -> Graph:
    return replace(
        graph,
        operations=tuple(op.map_values(partial(_place, stride=stride)) for op in graph.operations),
        results=tuple((name, _place(value, stride)) for name, value in graph.results),
    )


def _place(value: Value, stride: int) -> Value:
    shape = value.type.shape
    if shape[0] == "B":
        layout = Layout("sample_major", value.type.columns)
    elif shape[1] == "B":
        layout = Layout("feature_major", stride)
    else:
        return value
    return replace(value, type=replace(value.type, layout=layout))
