"""Tiles: how the samples of a batch are cut in the products with a weight.

A product with a sparse weight reads a row of activations for each non-zero, from wherever it lies.
If all rows together are larger than a core's own cache, it pays to take a few vectors of samples
for all non-zeros, and then the next few: what they read then stays in the cache. No number depends
on how the samples are cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.codegen.plan import Piece
from nerva_dsl.passes.layout import LINE_BYTES, Tiling

# Of a core's second cache what one tile of all rows may take; the weights pass through the rest.
_SHARE = 0.9

# Costs in nanoseconds, of which only the ratios matter: reading a cache line from the second cache
# or from beyond, coming to a non-zero, and to a row (its loop ends with a misprediction).
_NEAR, _FAR, _NON_ZERO, _ROW = 0.6, 1.4, 0.5, 10.0

# Vectors of a tile of a sparse product: with so many sums there are enough independent chains to
# hide the latency of a multiply-add, and registers to spare for what is loaded.
_SPARSE_SUMS = 8

# Vector registers that may hold sums, by the width of a vector in bytes, and the rows of a dense
# product that share them.
SUM_REGISTERS = {64: 24, 32: 12, 16: 12}
JAM = 4


@dataclass(frozen=True)
class Cutter:
    """Cuts the rows of activations for the products.

    Attributes:
        tiling: how a row lies in memory.
        vector_bytes: width of a vector.
        cache_bytes: size of a core's second cache.
    """

    tiling: Tiling
    vector_bytes: int
    cache_bytes: int

    @property
    def room(self) -> int:
        """Bytes of activations that may stay in the cache."""
        return int(_SHARE * self.cache_bytes)

    def sparse(self, rows: int, nnz: int, operands: int) -> tuple[Piece, ...]:
        """The tiles of a product with a sparse weight.

        Args:
            rows: of the result.
            nnz: of the weight.
            operands: rows that the non-zeros read.
        """
        vectors = self.tiling.vectors
        fewest = -(-vectors // _SPARSE_SUMS)

        def cost(tiles: int) -> float:
            lines = self._lines(-(-vectors // tiles))
            near = lines * LINE_BYTES * operands <= self.room
            non_zero = _NON_ZERO + lines * (_NEAR if near else _FAR)
            return tiles * (nnz * non_zero + rows * _ROW)

        return cut(vectors, min(range(fewest, vectors + 1), key=cost))

    def dense(self) -> tuple[Piece, ...]:
        """The tiles of a product with a dense weight."""
        most = SUM_REGISTERS[self.vector_bytes] // JAM
        return cut(self.tiling.vectors, -(-self.tiling.vectors // most))

    def panel(self, nnz: int, rows: int, columns: int, block: int) -> int:
        """How many columns a weight gradient goes through at once.

        All of them, unless their activations are too large for the cache and a row has so many
        non-zeros in a panel that going back to it costs little.

        Args:
            nnz: of the weight.
            rows: of the weight.
            columns: of the weight.
            block: non-zeros that are computed together.
        """
        line = self._lines(self.tiling.vectors) * LINE_BYTES
        panel = max(1, self.room // 2 // line)
        in_panel = nnz / max(rows, 1) * panel / columns
        return panel if columns * line > self.room and in_panel >= 2 * block else columns

    def _lines(self, vectors: int) -> int:
        """Cache lines of some vectors of a row."""
        return -(-vectors * self.vector_bytes // LINE_BYTES)


def cut(vectors: int, tiles: int) -> tuple[Piece, ...]:
    """So many tiles of equal width, or of two widths that differ by one: the wider ones first."""
    narrow, wide = vectors // tiles, vectors % tiles
    pieces = (
        Piece(0, 0, narrow + 1, wide),
        Piece(wide, wide * (narrow + 1), narrow, tiles - wide),
    )
    return tuple(piece for piece in pieces if piece.count)
