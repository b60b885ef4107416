"""The cost model: what a kernel does, in counts, and how long that takes one core.

A kernel's `Work` is counted from shapes and non-zeros; a machine has the time of each unit. What
matters for choices is which of two ways is the shorter. A batch's samples are given by the vectors
and cache lines of a row of activations.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.program import Program
from nerva_dsl.machine import CONSTANTS, Machine
from nerva_dsl.tiling import (
    DEPTH,
    GRADIENT_VECTORS,
    JAM,
    LINE_BYTES,
    SUM_REGISTERS,
    Tiling,
    number_bytes,
    tiling,
)

# Of a core's second cache what rows of activations may take that are read again and again; the
# weights pass through the rest.
_SHARE = 0.5

# Of it what a panel takes: where one ends and the next begins, there are two.
_PANEL_SHARE = 1 / 3

# Non-zeros that a row has in a panel at least, on average, for the panels to pay: each end of a
# part of a row is a misprediction, and its sums are put aside.
_IN_PANEL = 8

# Most vectors of a tile of a sparse product, by the width of a vector in bytes: as many sums as
# there are registers, but for the weight and, without a multiply-add from memory, what is loaded.
_SPARSE_SUMS = {64: 28, 32: 13, 16: 12}

# Picks in whose time the lanes of a sum are added up, with others', and the weight is updated.
_SUM_LANES = 3

# Numbers of a block that are laid out, and of sums that are stored, in the time of one pick.
_LAID_OUT = 6

# Rows and columns of a weight below which MKL's product takes no less time.
_MKL_LEAST = 32


@dataclass(frozen=True)
class Work:
    """What a kernel does for a batch, in the units of which a machine has the times.

    Attributes:
        multiply: vectors multiplied and added.
        mkl_multiply: the same in MKL's dense product.
        near: cache lines read or written in the second cache.
        far: cache lines from beyond it.
        memory: cache lines from memory.
        non_zero: non-zeros that a product comes to.
        pick: numbers that are put to their places, or taken from there.
        row: rows that a product comes to.
    """

    multiply: float = 0
    mkl_multiply: float = 0
    near: float = 0
    far: float = 0
    memory: float = 0
    non_zero: float = 0
    pick: float = 0
    row: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, unit) + getattr(other, unit) for unit in UNITS))

    def __mul__(self, share: float) -> Work:
        return Work(*(getattr(self, unit) * share for unit in UNITS))

    def times(self, machine: Machine) -> dict[str, float]:
        """Nanoseconds of one core, by unit."""
        return {unit: getattr(self, unit) * getattr(machine, unit) for unit in UNITS}

    def time(self, machine: Machine) -> float:
        """Nanoseconds of one core."""
        return sum(self.times(machine).values())

    def bound(self, machine: Machine) -> tuple[str, float]:
        """What takes longest of what could all go on at the same time, and its nanoseconds.

        These are multiplications, and lines from each level of memory: a roofline with a roof for
        each (S. Williams, A. Waterman, D. Patterson, Roofline, 2009).
        """
        times = self.times(machine)
        unit = max(("multiply", "mkl_multiply", "near", "far", "memory"), key=lambda u: times[u])
        return unit, times[unit]


UNITS = CONSTANTS
"""The units of work: each has its time among a machine's constants."""


def costs_of(program: Program, machine: Machine) -> Costs:
    """The cost model of a program's batch and precision."""
    cut = tiling(program.batch, program.precision, machine.vector_bytes)
    return Costs(cut, machine, number_bytes(program.precision), program.index_bytes)


@dataclass(frozen=True)
class Costs:
    """Work of kernels for a batch.

    Attributes:
        tiling: of the batch's rows.
        machine: that computes.
        number_bytes: size of a number.
        index_bytes: size of the number of a row or column of a sparse weight.
    """

    tiling: Tiling
    machine: Machine
    number_bytes: int
    index_bytes: int

    @property
    def room(self) -> int:
        """Bytes of activations that may stay in the second cache."""
        return int(_SHARE * self.machine.cache_bytes)

    def lines(self, vectors: int) -> int:
        """Cache lines of some vectors of a row."""
        return -(-vectors * self.machine.vector_bytes // LINE_BYTES)

    @property
    def sparse_tiles(self) -> int:
        """Into how many tiles the samples are cut in a product with a sparse weight."""
        return -(-self.tiling.vectors // _SPARSE_SUMS[self.machine.vector_bytes])

    @property
    def dense_vectors(self) -> int:
        """Most vectors of a tile of a product by blocks."""
        return SUM_REGISTERS[self.machine.vector_bytes] // JAM

    def panel(self, rows: int, nnz: int, operands: int, lines: int, least: int = _IN_PANEL) -> int:
        """How many rows of activations the non-zeros of a weight's rows go through at a time.

        All of them, unless those do not stay in the second cache; then so many that they do, if
        the weight's rows have enough non-zeros there.

        Args:
            rows: of the weight, or of its transpose.
            nnz: of the weight.
            operands: rows of activations that the non-zeros read.
            lines: cache lines that are read of each.
            least: non-zeros that a row has in a panel at least.
        """
        size = lines * LINE_BYTES
        panel = max(1, int(_PANEL_SHARE * self.machine.cache_bytes) // size)
        in_panel = nnz / max(rows, 1) * panel / operands
        return panel if operands * size > self.room and in_panel >= least else operands

    def spmm(self, rows: int, nnz: int, operands: int) -> Work:
        """A product with a sparse weight.

        Args:
            rows: of the result.
            nnz: of the weight.
            operands: rows that the non-zeros read.
        """
        tiles, lines = self.sparse_tiles, self.tile_lines
        panel = self.panel(rows, nnz, operands, lines)
        read = self._lines_read(tiles * nnz * lines, lines * panel * LINE_BYTES)
        weights = self.stream(nnz * (self.number_bytes + self.index_bytes), tiles)
        ends = tiles * rows * -(-operands // panel)
        return read + weights + Work(non_zero=tiles * nnz, row=ends)

    def spmm_bytes(self, rows: int, nnz: int, operands: int) -> Work:
        """The same of bytes, which are converted: as much work as multiplying them."""
        tiles = self.sparse_tiles
        lines = -(-self._tile_vectors * self.tiling.lanes // LINE_BYTES)
        read = self._lines_read(tiles * nnz * lines, lines * operands * LINE_BYTES)
        weights = self.stream(nnz * (self.number_bytes + self.index_bytes), tiles)
        converted = Work(multiply=nnz * self.tiling.vectors)
        return read + weights + converted + Work(non_zero=tiles * nnz, row=tiles * rows)

    @property
    def _tile_vectors(self) -> int:
        """Vectors of the widest tile of a product with a sparse weight."""
        return -(-self.tiling.vectors // self.sparse_tiles)

    @property
    def tile_lines(self) -> int:
        """Cache lines of it."""
        return self.lines(self._tile_vectors)

    def spmm_blocked(self, rows: int, nnz: int, depth: int) -> Work:
        """A product with a sparse weight whose blocks are laid out with their zeros."""
        weights = self.stream(nnz * (self.number_bytes + self.index_bytes))
        return weights + self._by_blocks(rows, depth) + Work(pick=nnz)

    def gemm(self, rows: int, depth: int) -> Work:
        """A product with a dense weight."""
        weights = self.stream(rows * depth * self.number_bytes)
        return weights + self._by_blocks(rows, depth)

    def mkl_gemm(self, rows: int, depth: int) -> Work:
        """The same by MKL, which lays out x; what rides on it goes over its result once more."""
        weights = self.stream(rows * depth * self.number_bytes)
        over = 2 * rows * self.lines(self.tiling.vectors)
        laid_out = depth * (rows + self.tiling.width) / _LAID_OUT
        return weights + self._by_mkl(rows, depth) + Work(near=over, pick=laid_out)

    def spmv(self, rows: int, nnz: int) -> Work:
        """A product of a sparse weight with one sample."""
        return self.stream(nnz * (self.number_bytes + self.index_bytes)) + Work(
            non_zero=nnz, row=rows
        )

    def gemv(self, rows: int, depth: int) -> Work:
        """A product of a dense weight with one sample."""
        lanes = self.tiling.lanes
        return self.stream(rows * depth * self.number_bytes) + Work(multiply=rows * depth / lanes)

    def sddmm(self, nnz: int, arrays: int = 1) -> Work:
        """A weight gradient at the non-zeros: a dot product and the update of each.

        Args:
            nnz: of the weight.
            arrays: of numbers beside the pattern that are read and written.
        """
        near = nnz * self.lines(self.tiling.vectors)
        weights = self.stream(nnz * (self.number_bytes * arrays + self.index_bytes))
        return weights + Work(near=near, non_zero=nnz, pick=_SUM_LANES * nnz)

    def sddmm_bytes(self, nnz: int, arrays: int = 1) -> Work:
        """The same of bytes, which are converted."""
        near = nnz * self.byte_lines
        weights = self.stream(nnz * (self.number_bytes * arrays + self.index_bytes))
        converted = Work(multiply=nnz * self.tiling.vectors)
        return weights + converted + Work(near=near, non_zero=nnz, pick=_SUM_LANES * nnz)

    def sddmm_blocked(self, rows: int, nnz: int, columns: int, arrays: int = 1) -> Work:
        """The same by blocks of the dense gradient, from which the non-zeros' are taken."""
        weights = self.stream(nnz * (self.number_bytes * arrays + self.index_bytes))
        return weights + self._by_stripes(rows, columns) + Work(pick=2 * nnz)

    def gemm_gradient(self, rows: int, columns: int, arrays: int = 1) -> Work:
        """A dense weight gradient and the update."""
        weights = self.stream(rows * columns * self.number_bytes * arrays)
        return weights + self._by_stripes(rows, columns)

    def mkl_gemm_gradient(self, rows: int, columns: int, arrays: int = 1) -> Work:
        """The same by MKL, with the update block by block."""
        numbers = rows * columns
        weights = self.stream(numbers * self.number_bytes * arrays)
        return weights + self._by_mkl(rows, columns) + Work(pick=numbers / _LAID_OUT)

    def _by_blocks(self, rows: int, depth: int) -> Work:
        """Groups of rows, multiplied together by a block of the depth and a tile at a time."""
        groups = -(-rows // JAM)
        tiles = -(-self.tiling.vectors // self.dense_vectors)
        return Work(
            multiply=groups * JAM * depth * self.tiling.vectors,
            pick=rows * depth / _LAID_OUT,
            row=groups * tiles * -(-depth // DEPTH),
        )

    def _by_stripes(self, rows: int, columns: int) -> Work:
        """Stripes of rows that are multiplied by each number of the columns."""
        vectors = -(-rows // (GRADIENT_VECTORS * self.tiling.lanes)) * GRADIENT_VECTORS
        return Work(multiply=vectors * columns * self.tiling.width, pick=rows * columns / _LAID_OUT)

    def _by_mkl(self, rows: int, columns: int) -> Work:
        numbers = max(rows, _MKL_LEAST) * max(columns, _MKL_LEAST)
        return Work(mkl_multiply=numbers * self.tiling.vectors)

    def passes(self, rows: int) -> Work:
        """Rows of activations that are read or written."""
        return Work(near=rows * self.lines(self.tiling.vectors))

    def gather(self, samples: int, sample_bytes: int, features: int) -> Work:
        """The samples of a batch, from memory, turned."""
        return self.passes(features) + Work(memory=samples * -(-sample_bytes // LINE_BYTES))

    def gather_bytes(self, samples: int, features: int) -> Work:
        """The samples of a batch of bytes, which stay bytes."""
        written = Work(near=features * self.byte_lines)
        return written + Work(memory=samples * -(-features // LINE_BYTES))

    @property
    def byte_lines(self) -> int:
        """Cache lines of a row of bytes."""
        return self.tiling.byte_stride // LINE_BYTES

    def stream(self, size: int, times: int = 1) -> Work:
        """Bytes that are read from one end to the other, so many times."""
        lines = times * size / LINE_BYTES
        if size <= self.room:
            return Work(near=lines)
        return Work(far=lines) if size <= self.machine.shared_bytes else Work(memory=lines)

    def _lines_read(self, lines: float, size: int) -> Work:
        """Cache lines, of so many bytes that are read again and again: what stays, and the rest."""
        stays = min(1.0, self.room / size)
        return Work(near=stays * lines, far=(1 - stays) * lines)
