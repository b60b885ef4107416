"""The random masks of dropout and drop_connect, as the compiled step makes them.

A number is kept if its 32-bit word is below keep · 2³². The words are those of the stream of the
mask's purpose, with the mask as index and the step (counted from 0) as round:

- for feature f of the sample in row s of the batch: lane f % 4 of block (f // 4) · 2¹⁶ + s;
- for the weight in row i and column j of D columns: word i · D + j.

Both give neighbours in memory the lanes of few blocks, and depend on nothing but the position.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.runtime.philox import Purpose, Stream

ROW_BLOCKS = 1 << 16
"""Blocks of four features; no batch has more samples."""


def threshold(keep: float) -> int:
    """The words below it are kept."""
    return min(round(keep * 2.0**32), (1 << 32) - 1)


def activation_mask(
    keep: float, seed: int, stream: int, step: int, features: int, samples: int
) -> NDArray[np.bool_]:
    """Which activations dropout keeps, `[features, samples]`."""
    source = Stream(seed, Purpose.DROPOUT, stream, step)
    groups = -(-features // 4)
    words = [
        source.words(4 * samples, 4 * group * ROW_BLOCKS).reshape(samples, 4).T
        for group in range(groups)
    ]
    return np.concatenate(words)[:features] < threshold(keep)


def weight_mask(
    keep: float, seed: int, stream: int, step: int, positions: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which weights drop_connect keeps, by their positions i · D + j."""
    source = Stream(seed, Purpose.DROP_CONNECT, stream, step)
    place = np.asarray(positions, np.uint64)
    words = source.blocks(place // np.uint64(4))
    return words[(place % np.uint64(4)).astype(np.intp), np.arange(len(place))] < threshold(keep)
