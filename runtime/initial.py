"""Initial patterns and weights, in time and memory proportional to the non-zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.runtime.philox import Purpose, Stream


def initial_pattern(
    seed: int, index: int, shape: tuple[int, int], nnz: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Positions of the non-zeros of a new sparse weight: uniform, without replacement.

    Args:
        seed: of the model.
        index: of the parameter, so that equal layers get different patterns.
        shape: rows and columns.
        nnz: how many, exactly.

    Returns:
        Where each row starts, `[rows + 1]`, and the columns, `[nnz]`, ascending in each row.
    """
    rows, columns = shape
    size = rows * columns
    if not 0 <= nnz <= size:
        raise ValueError(f"nnz: expected 0 … {size}, got {nnz}")
    stream = Stream(seed, Purpose.PATTERN, index)
    if 2 * nnz <= size:
        positions = _distinct(stream, size, nnz)
    else:
        positions = _complement(_distinct(stream, size, size - nnz), nnz)
    row_start = np.searchsorted(positions, np.arange(rows + 1, dtype=np.int64) * columns)
    positions %= columns
    return row_start.astype(np.int64), positions.astype(np.int32)


def initial_values(
    seed: int, index: int, count: int, *, distribution: str, first: float, second: float
) -> NDArray[np.float64]:
    """Initial values of a parameter.

    Args:
        seed: of the model.
        index: of the parameter.
        count: how many.
        distribution: `uniform`, between `first` and `second`; or `normal`, mean `first`, standard
            deviation `second`.
        first: see `distribution`.
        second: see `distribution`.
    """
    return drawn_values(
        Stream(seed, Purpose.VALUE, index),
        count,
        distribution=distribution,
        first=first,
        second=second,
    )


def drawn_values(
    stream: Stream, count: int, *, distribution: str, first: float, second: float
) -> NDArray[np.float64]:
    """The first values of a stream, distributed as `initial_values` says."""
    if distribution == "normal":
        return first + second * stream.normal(count)
    if distribution != "uniform":
        raise ValueError(f"distribution: expected uniform or normal, got {distribution}")
    if first == second:  # biases: nothing to draw
        return np.full(count, first)
    values = stream.uniform(count)
    values *= second - first
    values += first
    return values


def _distinct(stream: Stream, size: int, count: int) -> NDArray[np.int64]:
    """`count` distinct integers below `size`, sorted; `count` is at most half of `size`.

    Those that a loop would keep that draws one by one until it has enough: the first `count`
    distinct ones of the stream. A round draws as many as are missing, so that none is too many
    (to leave some out by size would not be uniform), and at most half of them are there already.
    """
    integers = stream.below(size)
    kept = np.empty(0, np.int64)
    while len(kept) < count:
        drawn = integers.take(count - len(kept))
        drawn.sort()
        drawn = drawn[np.concatenate(([True], drawn[1:] != drawn[:-1]))]
        if not len(kept):
            kept = drawn
            continue
        places = np.searchsorted(kept, drawn)
        new = kept[np.minimum(places, len(kept) - 1)] != drawn
        kept = np.insert(kept, places[new], drawn[new])
    return kept


def _complement(excluded: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The `count` smallest integers that are not among `excluded` (sorted, distinct).

    Number k is k plus as many excluded ones as lie below it: those with e_i - i <= k.
    """
    kept = np.arange(count, dtype=np.int64)
    kept += np.searchsorted(excluded - np.arange(len(excluded)), kept, side="right")
    return kept
