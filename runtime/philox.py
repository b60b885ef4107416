"""Our random numbers: Philox-4x32-10, a counter-based generator (Salmon et al., SC 2011).

A number is a function of what it is for, never of what was drawn before it, so the C code can make
the same numbers in any order and on any thread. The key is the model's seed; the 128-bit counter
says which number it is:

    key      seed bits 0-31, seed bits 32-63
    word 0   block bits 0-31
    word 1   index << 16 | block bits 32-47      index: which layer or parameter, below 2^16
    word 2   round bits 0-31                     round: which step or epoch, below 2^56
    word 3   purpose << 24 | round bits 32-55

One block gives four 32-bit words: word k of a stream is lane k % 4 of block k // 4. No two
(purpose, index, round, block) share a counter, so no two streams overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10
# Blocks made at once: the temporaries of a chunk stay in the second-level cache.
_CHUNK = 1 << 14

MAX_SEED = (1 << 64) - 1
MAX_INDEX = (1 << 16) - 1
MAX_ROUND = (1 << 56) - 1


class Purpose(IntEnum):
    """What random numbers are for; written into counters, so the numbers never change."""

    PATTERN = 1
    VALUE = 2
    SHUFFLE = 3
    SPLIT = 4
    DROPOUT = 5
    DROP_CONNECT = 6
    GROWN = 7
    GROWN_VALUE = 8
    SAMPLED = 9


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Ten rounds of Philox-4x32.

    Args:
        counter: `[4, n]`, each a 32-bit word.
        key: two 32-bit words.

    Returns:
        `[4, n]`, each a 32-bit word.
    """
    word0, word1, word2, word3 = counter
    key0, key1 = key
    for _ in range(_ROUNDS):
        product0 = word0 * _MULTIPLIER_0
        product1 = word2 * _MULTIPLIER_1
        word0 = (product1 >> _HALF) ^ word1 ^ np.uint64(key0)
        word2 = (product0 >> _HALF) ^ word3 ^ np.uint64(key1)
        word1 = product1 & _MASK
        word3 = product0 & _MASK
        key0 = (key0 + _WEYL_0) & 0xFFFFFFFF
        key1 = (key1 + _WEYL_1) & 0xFFFFFFFF
    return np.stack((word0, word1, word2, word3))


@dataclass(frozen=True)
class Stream:
    """The random numbers for one purpose.

    Attributes:
        seed: 64 bits.
        purpose: what they are for.
        index: which layer or parameter, where there are several.
        round: which step or epoch, where they are fresh each time.
    """

    seed: int
    purpose: Purpose
    index: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed: expected an integer in 0 … 2^64 - 1, got {self.seed}")
        if not 0 <= self.index <= MAX_INDEX or not 0 <= self.round <= MAX_ROUND:
            raise ValueError(f"no such stream: index {self.index}, round {self.round}")

    def words(self, count: int, first: int = 0) -> Words:
        """32-bit words `first` … `first + count - 1` of the stream; `first` a multiple of 4."""
        blocks = -(-count // 4)
        words = np.empty((blocks, 4), np.uint32)
        for start in range(0, blocks, _CHUNK):
            end = min(start + _CHUNK, blocks)
            numbers = np.arange(first // 4 + start, first // 4 + end, dtype=np.uint64)
            words[start:end] = self.blocks(numbers).T
        return words.reshape(-1)[:count]

    def integers64(self, count: int, first: int = 0) -> NDArray[np.uint64]:
        """64-bit integers; number k is words 2k (low) and 2k + 1 (high); `first` is even."""
        words = self.words(2 * count, 2 * first).astype("<u4", copy=False)
        return words.view("<u8").astype(np.uint64, copy=False)

    def uniform(self, count: int, first: int = 0) -> NDArray[np.float64]:
        """Doubles in [0, 1): the high 53 bits of `integers64`; `first` is even."""
        integers = self.integers64(count, first)
        integers >>= np.uint64(11)
        doubles = integers.astype(np.float64)
        doubles *= 2.0**-53
        return doubles

    def floats(self, count: int, first: int = 0) -> NDArray[np.float32]:
        """Floats in [0, 1): the high 24 bits of `words`; `first` is a multiple of 4."""
        high = self.words(count, first) >> np.uint32(8)
        return high.astype(np.float32) * np.float32(2.0**-24)

    def normal(self, count: int) -> NDArray[np.float64]:
        """Standard normal doubles, by Box and Muller from pairs of `uniform`."""
        pairs = self.uniform(count + count % 2).reshape(-1, 2)
        radius = np.sqrt(-2.0 * np.log1p(-pairs[:, 0]))  # of 1 - u, which is never 0
        angle = (2.0 * np.pi) * pairs[:, 1]
        normal = np.empty_like(pairs)
        normal[:, 0] = radius * np.cos(angle)
        normal[:, 1] = radius * np.sin(angle)
        return normal.reshape(-1)[:count]

    def below(self, limit: int) -> Integers:
        """An endless sequence of integers uniform in 0 … `limit` - 1, read in pieces."""
        return Integers(self, limit)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A random order of 0 … `count` - 1.

        Random keys are sorted. Each carries its index in its low bits: keys are then distinct, the
        result does not depend on the sorting algorithm, and values are sorted faster than indices.
        """
        mask = np.uint64((1 << max(count - 1, 0).bit_length()) - 1)
        keys = self.integers64(count) & ~mask
        keys |= np.arange(count, dtype=np.uint64)
        keys.sort()
        return (keys & mask).astype(np.int64)

    def blocks(self, block: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The four words of each block of these numbers (below 2^48): `[4, n]`."""
        counter = np.empty((4, len(block)), np.uint64)
        counter[0] = block & _MASK
        counter[1] = (block >> _HALF) | np.uint64(self.index << 16)  # blocks stay below 2^48
        counter[2] = self.round & 0xFFFFFFFF
        counter[3] = (self.purpose << 24) | (self.round >> 32)
        return philox(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32))


class Integers:
    """Integers uniform in 0 … `limit` - 1, in the order of their stream.

    Without bias: 64-bit words beyond the largest multiple of `limit` are skipped.
    """

    def __init__(self, stream: Stream, limit: int) -> None:
        if not 0 < limit < 1 << 63:
            raise ValueError(f"limit: expected an integer in 1 … 2^63 - 1, got {limit}")
        self._stream = stream
        self._limit = np.uint64(limit)
        self._largest = np.uint64((1 << 64) // limit * limit - 1)
        self._position = 0
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> NDArray[np.int64]:
        """The next `count` integers, whatever pieces those before were taken in."""
        parts = [self._left]
        missing = count - len(self._left)
        while missing > 0:
            # An even number of 64-bit words is a whole number of blocks: one may be left over.
            words = self._stream.integers64(missing + missing % 2, self._position)
            self._position += len(words)
            accepted = words[words <= self._largest]
            accepted %= self._limit
            parts.append(accepted.view(np.int64))
            missing -= len(accepted)
        taken = np.concatenate(parts)
        self._left = taken[count:].copy()
        return taken[:count]
