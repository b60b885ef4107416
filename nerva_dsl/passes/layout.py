"""Choose layouts: activations feature-major with a padded batch, data sample-major.

Before: batched values have no layout. After: each has one; a row of an activation is the batch,
padded to whole vectors. Why: a non-zero `w[i, j]` then adds a multiple of row j to row i in
full-width operations with no remainder.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.program import Program
from nerva_dsl.ir.types import Layout, Value
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

        def place(value: Value) -> Value:
            shape = value.type.shape
            if shape[0] == "B":
                layout = Layout("sample_major", value.type.columns)
            elif shape[1] == "B":
                layout = Layout("feature_major", stride)
            else:
                return value
            return replace(value, type=replace(value.type, layout=layout))

        graphs = tuple(
            replace(
                graph,
                operations=tuple(op.map_values(place) for op in graph.operations),
                results=tuple((name, place(value)) for name, value in graph.results),
            )
            for graph in program.graphs
        )
        inputs = tuple(place(value) for value in program.inputs)
        return replace(program, inputs=inputs, graphs=graphs)
