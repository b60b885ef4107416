"""How a batch's samples lie in a row of an activation, and the blocks of dense products."""

from __future__ import annotations

from dataclasses import dataclass

LINE_BYTES = 64  # of a cache line

SUM_REGISTERS = {64: 24, 32: 12, 16: 12}
"""Vector registers that may hold the sums of a dense product, by the width of a vector in bytes."""

JAM = 4
"""Rows of a dense product that share them."""

DEPTH = 256
"""Rows of the operand that a product by blocks goes through together: a tile of them, and what the
strip has of the weight there, stay in the nearest caches."""

GRADIENT_VECTORS = 2
"""Vectors in a stripe of rows whose gradients are computed together."""


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

    @property
    def byte_stride(self) -> int:
        """Bytes from one row of a batch that is stored as bytes to the next."""
        return -(-self.width // LINE_BYTES) * LINE_BYTES


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
