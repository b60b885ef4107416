"""Shuffles of vectors: turning a square of numbers, and adding up the lanes of many vectors.

Both go by the bits of a lane's number. At distance d, two vectors exchange the lanes in which bit d
differs: of vectors a and b, `low` has a's lanes where the bit is 0 and, moved up by d, b's; `high`
the others. After all distances the square is transposed; with `low + high` at each distance, one
vector is left whose lane j is the sum of the lanes of vector j.
"""

from __future__ import annotations

from dataclasses import dataclass

# Sums that a block of dot products keeps in registers at once: enough to hide the latency of a
# multiply-add, and each vector of dz is loaded once for all of them.
SUMS = 8


@dataclass(frozen=True)
class Exchange:
    """Two vectors exchange lanes; `low` and `high` are the indices of the results' lanes.

    Indices count through the lanes of the first vector, then those of the second.
    """

    first: int
    second: int
    low: str
    high: str


@dataclass(frozen=True)
class Shuffles:
    """The shuffles of a vector width.

    Attributes:
        transpose: exchanges that turn a square of as many vectors as there are lanes.
        fold: exchanges after each of which the first vector is the sum of both results.
        neighbours: indices that bring to each lane its neighbour at each distance.
        block: dot products that are computed at once.
        groups: their numbers, in groups that are summed in registers together.
        sets: their numbers, as many a set as a vector has lanes.
    """

    transpose: tuple[Exchange, ...]
    fold: tuple[Exchange, ...]
    neighbours: tuple[str, ...]
    block: int
    groups: tuple[tuple[int, ...], ...]
    sets: tuple[tuple[int, ...], ...]


def shuffles(lanes: int) -> Shuffles:
    """The shuffles of vectors of so many lanes, a power of two."""
    distances = [1 << bit for bit in range(lanes.bit_length() - 1)]
    block = max(lanes, SUMS)
    return Shuffles(
        transpose=tuple(
            _exchange(i, i + d, d, lanes) for d in distances for i in range(lanes) if not i & d
        ),
        fold=tuple(
            _exchange(i, i + d, d, lanes) for d in distances for i in range(0, lanes, 2 * d)
        ),
        neighbours=tuple(", ".join(str(lane ^ d) for lane in range(lanes)) for d in distances),
        block=block,
        groups=_pieces(block, SUMS),
        sets=_pieces(block, lanes),
    )


def _exchange(first: int, second: int, distance: int, lanes: int) -> Exchange:
    low = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
    high = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
    return Exchange(first, second, ", ".join(map(str, low)), ", ".join(map(str, high)))


def _pieces(count: int, size: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(start, start + size)) for start in range(0, count, size))
