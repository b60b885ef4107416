"""Choose layouts: activations feature-major with a padded batch, data sample-major.

Before: batched values have no layout. After: each has one; a row of an activation is the batch,
padded to whole tiles of vectors. Why: a non-zero `w[i, j]` then adds a multiple of row j to row i
in full-width operations with no remainder, and the sums of one tile fit the vector registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.program import Program
from nerva_dsl.ir.types import Layout, Value
from nerva_dsl.record import replace

# With eight sums of a row in registers there are enough independent chains to hide the latency of
# a multiply-add, and registers to spare for what is loaded.
VECTORS_PER_TILE = 8


@dataclass(frozen=True)
class Tiling:
    """How a row of an activation is cut.

    Attributes:
        lanes: numbers in a vector.
        vectors: vectors in a tile.
        tiles: tiles in a row.
    """

    lanes: int
    vectors: int
    tiles: int

    @property
    def width(self) -> int:
        """Numbers in a tile."""
        return self.lanes * self.vectors

    @property
    def stride(self) -> int:
        """Numbers in a row, padding included."""
        return self.width * self.tiles


def tiling(batch: int, precision: str, vector_bytes: int) -> Tiling:
    """The tiling of a batch: as few tiles as hold it, and those as small as will do."""
    lanes = vector_bytes // (8 if precision == "float64" else 4)
    vectors = -(-batch // lanes)
    tiles = -(-vectors // VECTORS_PER_TILE)
    return Tiling(lanes, -(-vectors // tiles), tiles)


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
