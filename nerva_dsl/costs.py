"""The cost model: how long a product takes one core, by what it reads and multiplies.

Each estimate is a sum of counts times constants of the machine. What matters is which of two ways
is the shorter; a batch's samples are given by the vectors and cache lines of a row of activations.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.machine import Machine
from nerva_dsl.passes.layout import LINE_BYTES, Tiling

# Of a core's second cache what one tile of all rows may take; the weights pass through the rest.
_SHARE = 0.9

# Vectors of a tile of a sparse product: with so many sums there are enough independent chains to
# hide the latency of a multiply-add, and registers to spare for what is loaded.
_SPARSE_SUMS = 8

# Numbers of a block that are laid out, and of sums that are stored, in the time of one pick.
_LAID_OUT = 6


@dataclass(frozen=True)
class Costs:
    """Estimates in nanoseconds.

    Attributes:
        tiling: of the batch's rows.
        machine: that computes.
        number_bytes: size of a number.
    """

    tiling: Tiling
    machine: Machine
    number_bytes: int

    @property
    def room(self) -> int:
        """Bytes of activations that may stay in the second cache."""
        return int(_SHARE * self.machine.cache_bytes)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of activations."""
        return self.lines(self.tiling.vectors) * LINE_BYTES

    def lines(self, vectors: int) -> int:
        """Cache lines of some vectors of a row."""
        return -(-vectors * self.machine.vector_bytes // LINE_BYTES)

    def spmm(self, rows: int, nnz: int, operands: int, tiles: int) -> float:
        """A product with a sparse weight, in so many tiles of samples.

        Args:
            rows: of the result.
            nnz: of the weight.
            operands: rows that the non-zeros read.
            tiles: that the samples are cut into.
        """
        lines = self.lines(-(-self.tiling.vectors // tiles))
        weight = (self.number_bytes + 4) * self._stream(nnz * (self.number_bytes + 4))
        non_zero = self.machine.non_zero + weight + lines * self._line(lines * operands)
        return tiles * (nnz * non_zero + rows * self.machine.row)

    def sparse_tiles(self, rows: int, nnz: int, operands: int) -> int:
        """The number of tiles that makes `spmm` shortest."""
        vectors = self.tiling.vectors
        fewest = -(-vectors // _SPARSE_SUMS)
        return min(
            range(fewest, vectors + 1), key=lambda tiles: self.spmm(rows, nnz, operands, tiles)
        )

    def spmm_blocked(self, rows: int, nnz: int, depth: int) -> float:
        """A product with a sparse weight whose blocks are laid out with their zeros."""
        return self.gemm(rows, depth) + nnz * self.machine.pick

    def gemm(self, rows: int, depth: int) -> float:
        """A product with a dense weight."""
        return rows * depth * (self._multiplications + self.machine.pick / _LAID_OUT)

    def mkl_gemm(self, rows: int, depth: int) -> float:
        """The same by MKL; what rides on a product goes over its result once more."""
        multiplications = self.tiling.vectors * self.machine.mkl_multiply
        return rows * (depth * multiplications + 2 * self.lines(self.tiling.vectors) * self.near)

    def sddmm(self, nnz: int) -> float:
        """A weight gradient at the non-zeros: a dot product and the update of each."""
        lines = self.lines(self.tiling.vectors)
        return nnz * (self.machine.non_zero + lines * self.near + self.machine.pick)

    def sddmm_blocked(self, rows: int, nnz: int, columns: int) -> float:
        """The same by blocks of the dense gradient, from which the non-zeros' are taken."""
        return self.gemm_gradient(rows, columns) + 2 * nnz * self.machine.pick

    def gemm_gradient(self, rows: int, columns: int) -> float:
        """A dense weight gradient."""
        return rows * columns * (self._multiplications + self.machine.pick / _LAID_OUT)

    @property
    def near(self) -> float:
        """Of a cache line that the second cache holds."""
        return self.machine.near

    @property
    def _multiplications(self) -> float:
        """Of a weight with all samples."""
        return self.tiling.vectors * self.machine.multiply

    def _line(self, lines: int) -> float:
        """Of a cache line, one of so many that are read again and again."""
        return self.machine.near if lines * LINE_BYTES <= self.room else self.machine.far

    def _stream(self, size: int) -> float:
        """Of each byte of a stream of so many: what the second cache held is there again."""
        return 0.0 if size <= self.room else self.machine.memory / LINE_BYTES
