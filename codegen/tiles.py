"""Tiles: how the samples of a batch are cut in the products with a weight.

A product with a sparse weight takes as many samples at once as there are registers for their sums.
It reads a row of activations for each non-zero, from wherever it lies. If all rows together are
larger than a core's own cache, some rows of the weight go through them in panels that stay there.
No number depends on any of this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nerva_dsl.codegen.kernel_plan import Piece
from nerva_dsl.costs import Costs
from nerva_dsl.tiling import GRADIENT_VECTORS, JAM, SUM_REGISTERS, Tiling

STRIP = 64
"""Most rows of a product that one thread goes through together."""

PANEL_STRIP = 256
"""The same where they go through panels: all of a strip use a panel while it is at hand."""

# Bytes of sums that the rows of a strip put aside between two panels.
_PUT_ASIDE = 1 << 17

UPDATED = 64
"""Most non-zeros of a row that are updated together, once their gradients are known."""

GROUP = 4
"""Stripes that go through the columns together."""

ACROSS = 96
"""Columns that a stripe goes through together: whole vectors, and whole groups of those whose sums
are in registers, for every width of a vector."""

SAMPLES = 512
"""Most samples of which a stripe of rows is kept, turned."""

# Vectors in a span of samples, for which a strip of rows has sums.
_SPAN = 16

# Pieces of work that a kernel has at least, if it can: a thread gets a fair share of them.
_UNITS = 16


@dataclass(frozen=True)
class Cutter:
    """Cuts the rows of activations for the products.

    Attributes:
        costs: that decide.
    """

    costs: Costs

    @property
    def tiling(self) -> Tiling:
        """How a row lies in memory."""
        return self.costs.tiling

    def sparse(self) -> tuple[Piece, ...]:
        """The tiles of a product with a sparse weight."""
        return cut(self.tiling.vectors, self.costs.sparse_tiles)

    def panel(self, rows: int, nnz: int, operands: int) -> int:
        """How many rows of activations a product with a sparse weight goes through at a time.

        Args:
            rows: of the result.
            nnz: of the weight.
            operands: rows that the non-zeros read.
        """
        return self.costs.panel(rows, nnz, operands, self.costs.tile_lines)

    def panel_strip(self) -> int:
        """Rows that go through the panels of a product with a sparse weight together."""
        widest = -(-self.tiling.vectors // self.costs.sparse_tiles)
        return min(PANEL_STRIP, _PUT_ASIDE // (widest * self.costs.machine.vector_bytes))

    def dense(self, rows: int) -> tuple[Piece, ...]:
        """The tiles of a product by blocks, in spans of samples that a strip of rows goes through.

        A small weight is read once more for each tile, which gives the threads more to share.

        Args:
            rows: of the result.
        """
        most = self.costs.dense_vectors
        wide = most if rows <= STRIP else _SPAN
        return tuple(
            replace(span, parts=cut(span.vectors, -(-span.vectors // most)))
            for span in cut(self.tiling.vectors, -(-self.tiling.vectors // wide))
        )

    def height(self, rows: int) -> int:
        """Rows of a strip of a product by blocks: whole groups of `JAM`.

        Args:
            rows: of the result.
        """
        return min(STRIP, -(-rows // (_UNITS * JAM)) * JAM)

    def wide(self, rows: int, columns: int) -> int:
        """How many columns of a gradient by stripes a thread goes through at a time.

        Args:
            rows: of the weight.
            columns: of the weight.
        """
        groups = -(-rows // (GROUP * GRADIENT_VECTORS * self.tiling.lanes))
        parts = -(-_UNITS // groups)
        return -(-columns // (parts * ACROSS)) * ACROSS

    def gradient_columns(self) -> int:
        """Columns of a gradient by stripes whose sums are in registers together."""
        return SUM_REGISTERS[self.costs.machine.vector_bytes] // GRADIENT_VECTORS

    def gradient_panel(self, rows: int, nnz: int, columns: int, block: int, bytes_: bool) -> int:
        """How many columns a weight gradient goes through at a time.

        Args:
            rows: of the weight.
            nnz: of the weight.
            columns: of the weight.
            block: non-zeros that are computed together.
            bytes_: whether the batch is stored as bytes.
        """
        lines = self.costs.byte_lines if bytes_ else self.costs.lines(self.tiling.vectors)
        return self.costs.panel(rows, nnz, columns, lines, least=2 * block)


def cut(vectors: int, tiles: int) -> tuple[Piece, ...]:
    """So many tiles of equal width, or of two widths that differ by one: the wider ones first."""
    narrow, wide = vectors // tiles, vectors % tiles
    pieces = (
        Piece(0, 0, narrow + 1, wide),
        Piece(wide, wide * (narrow + 1), narrow, tiles - wide),
    )
    return tuple(piece for piece in pieces if piece.count)
