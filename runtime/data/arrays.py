"""Samples: as a source reads them, and as a model takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from numpy.typing import NDArray

from nerva_dsl.errors import NervaError

Array = NDArray[Any]

ROWS_AT_ONCE = 4096  # so that checking and hashing make no second copy of a large data set


class DataError(NervaError):
    """Data that is not there, cannot be read, or does not fit the model."""


@dataclass(frozen=True)
class Arrays:
    """What a source read, as it came.

    Attributes:
        X_train: inputs to train on.
        t_train: their targets; None if the source has none.
        X_test: inputs to test on; None if the source has no test set of its own.
        t_test: their targets.
        source: see `DataSet`.
        title: a name for messages, such as `digits` or the file's.
    """

    X_train: Array
    t_train: Array | None
    X_test: Array | None
    t_test: Array | None
    source: str
    title: str


@dataclass(frozen=True)
class DataSet:
    """Samples for training and for testing, in the types that the model reads.

    Attributes:
        X_train: `[n, D]`, `uint8` for a model of `uint8` input, else of the model's precision.
        t_train: labels, `int32 [n]`; or numbers `[n, K]`; or None for a model without a target.
        X_test: as `X_train`, other samples.
        t_test: as `t_train`.
        source: what finds the same data again from any folder.
        description: one line for people.
        sample_shape: of a sample where it is an image; otherwise `(D,)`.
    """

    X_train: Array
    t_train: Array | None
    X_test: Array
    t_test: Array | None
    source: str
    description: str
    sample_shape: tuple[int, ...]

    def fingerprint(self) -> str:
        """A hash of every number, to tell whether a run continues on the data that it began on."""
        digest = blake2b(digest_size=16)
        for array in (self.X_train, self.t_train, self.X_test, self.t_test):
            if array is None:
                digest.update(b"none")
                continue
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            for _, rows in slices(array):
                digest.update(rows.tobytes())
        return digest.hexdigest()


def slices(array: Array) -> Iterator[tuple[int, Array]]:
    """The rows, a few thousand at a time, each slice with the number of its first row."""
    for first in range(0, len(array), ROWS_AT_ONCE):
        yield first, array[first : first + ROWS_AT_ONCE]
