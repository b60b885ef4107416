"""Choose layouts: activations feature-major with a padded batch, data sample-major.

Before: batched values have no layout. After: each has one; a row of an activation is the batch,
padded to whole vectors. Why: a non-zero `w[i, j]` then adds a multiple of row j to row i in
full-width operations with no remainder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nerva_dsl.ir.program import Program
from nerva_dsl.ir.types import Layout, Value

LINE_BYTES = 64  # of a cache line


@dataclass(frozen=True)
class Tiling:
    """How a row of an activation lies in memory.

    Attributes:
        lanes: numbers in a vector.
        vectors: vectors in a row.
        stride: numbers from one row to the next: whole cache lines, so that what one tile of every
            row takes of a cache is no more than its size.
    """

    lanes: int
    vectors: int
    stride: int

    @property
    def width(self) -> int:
        """Numbers of a row that are computed; between them and `stride` nothing is."""
        return self.lanes * self.vectors


def number_bytes(precision: str) -> int:
    """Size of a number."""
    return 8 if precision == "float64" else 4


def tiling(batch: int, precision: str, vector_bytes: int) -> Tiling:
    """The tiling of a batch: as few vectors as hold it."""
    size = number_bytes(precision)
    lanes = vector_bytes // size
    vectors = -(-batch // lanes)
    line = LINE_BYTES // size
    return Tiling(lanes, vectors, -(-vectors * lanes // line) * line)


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
