"""Checking what the user passes to a model, and converting it to what the C code reads.

Every function raises ValueError with a sentence that names the argument, what was expected and
what came.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.runtime.philox import MAX_SEED
from nerva_dsl.runtime.spec import ModelSpec

Array = NDArray[Any]

# Rows are looked at in pieces of about this many elements: a check must not double the memory.
_PIECE = 1 << 18

MAX_THREADS = 1024  # OpenMP ends the process if the system cannot start as many as it is asked for
MAX_EPOCHS = (1 << 31) - 1


@dataclass(frozen=True)
class Samples:
    """Checked samples: C-contiguous arrays of the types that the C code reads.

    Attributes:
        x: `[n, features]`.
        t: labels `[n]`, real numbers `[n, size]`, or None for a model without a target.
        given: X as it was passed, to quote a value that is found not to be finite.
    """

    x: Array
    t: Array | None
    given: Array

    def __len__(self) -> int:
        return len(self.x)


def samples(spec: ModelSpec, X: object, t: object) -> Samples:
    """Check and convert samples with their targets."""
    x, given = _inputs(spec, X)
    return Samples(x, _targets(spec, t, len(x)), given)


def inputs(spec: ModelSpec, X: object) -> Samples:
    """Check and convert samples without targets."""
    x, given = _inputs(spec, X)
    return Samples(x, None, given)


def batch(spec: ModelSpec, X: object, t: object) -> Samples:
    """Check and convert samples that must fit one batch."""
    checked = samples(spec, X, t)
    if len(checked) > spec.batch:
        raise ValueError(
            f"X: expected at most {spec.batch} samples, the model's batch, got {len(checked)}; "
            "train_epoch, loss, evaluate and predict take any number"
        )
    return checked


def blank(spec: ModelSpec, count: int) -> Samples:
    """Samples of which only the number matters."""
    x = np.zeros((count, spec.features), spec.input_type)
    return Samples(x, None, x)


def trainable(spec: ModelSpec, count: int) -> None:
    """Check that no batch is too small to train on: the variance of one sample is 0."""
    last = count % spec.batch or min(count, spec.batch)
    if last < spec.smallest_batch:
        least, batch = spec.smallest_batch, spec.batch
        what = f"{count} samples" if count > 1 else "1 sample"
        raise ValueError(
            f"X: {what} in batches of {batch} leave a last batch of {last}, and batch "
            f"normalisation needs at least {least} to train on; leave out {last} or add "
            f"{least - last}, or set another `batch` in the model's `train`"
        )


def order(value: object, count: int) -> NDArray[np.int64]:
    """Check an order in which to use `count` samples."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(
            f"order: expected a permutation of 0 … {count - 1}: an int64 array [{count}], "
            f"got {_describe(array)}"
        )
    if len(array) != count:
        raise ValueError(
            f"order: expected {count} indices, one for each sample, got {len(array)}",
        )
    wrong = np.flatnonzero((array < 0) | (array >= count))
    if len(wrong):
        raise ValueError(
            f"order: expected indices in 0 … {count - 1}, got {array[wrong[0]]} "
            f"at position {wrong[0]}"
        )
    seen = np.bincount(array.astype(np.int64), minlength=count)
    if (seen != 1).any():
        raise ValueError(
            f"order: expected each index once, got {seen.argmax()} {seen.max()} times",
        )
    return np.ascontiguousarray(array, np.int64)


def learning_rate(spec: ModelSpec, value: object) -> float:
    """Check a learning rate; None becomes NaN, which stands for the file's schedule."""
    if value is None:
        return math.nan
    expected = f"lr: expected a finite {spec.precision} number or None"
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{expected}, got {value!r:.60}") from None
    if not abs(rate) <= float(np.finfo(spec.real).max):
        raise ValueError(f"{expected}, got {rate}")
    return rate


def integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """Check an integer between `least` and `most`."""
    bounds = f"of at least {least}" if most is None else f"in {least} … {most}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name}: expected an integer {bounds}, got {value!r}") from None
    if number < least or (most is not None and number > most):
        raise ValueError(f"{name}: expected an integer {bounds}, got {number}")
    return number


def seed(value: object) -> int:
    """Check a seed."""
    return integer("seed", value, 0, MAX_SEED)


def threads(value: object) -> int | None:
    """Check a number of threads; None leaves it to OpenMP."""
    return None if value is None else integer("threads", value, 1, MAX_THREADS)


def epochs(value: object, done: int) -> int:
    """Check a number of epochs to train after those done."""
    number = integer("epochs", value, 0)
    return integer("epochs", number, 0, MAX_EPOCHS - done)


def _inputs(spec: ModelSpec, X: object) -> tuple[Array, Array]:
    if (
        type(X) is np.ndarray
        and X.dtype == spec.input_type
        and X.ndim == 2
        and X.shape[1] == spec.features
        and X.shape[0]
        and X.flags.c_contiguous
    ):
        return X, X  # nothing to convert: the case where microseconds count
    given = _as_array("X", X, f"a [n, {spec.features}] array")
    if given.ndim != 2 or given.shape[1] != spec.features:
        hint = ""
        if given.shape == (spec.features,):
            hint = "; for one sample pass X[None, :]"
        elif given.ndim > 2 and math.prod(given.shape[1:]) == spec.features:
            hint = "; pass X.reshape(len(X), -1)"
        raise ValueError(
            f"X: expected a [n, {spec.features}] array, got {list(given.shape)}{hint}",
        )
    if not len(given):
        raise ValueError(f"X: expected at least one sample, got an empty {list(given.shape)} array")
    if not _is_number(given.dtype):
        raise ValueError(f"X: expected float32, float64 or uint8, got {given.dtype}")
    if spec.element == "uint8" and given.dtype != np.uint8:
        return _bytes(given), given
    return _converted(given, spec.input_type), given


def _bytes(given: Array) -> Array:
    """Floats as bytes, if that is what they are."""
    x = np.empty(given.shape, np.uint8)
    for start, piece in _pieces(given):
        with np.errstate(invalid="ignore"):
            converted = piece.astype(np.uint8)
        wrong = converted != piece  # NaN differs from everything
        if wrong.any():
            row, feature = (int(index) for index in np.argwhere(wrong)[0])
            value = piece[row, feature]
            kind = "" if np.isfinite(value) else ", which is not finite,"
            raise ValueError(
                "X: expected uint8, or floats that are integers in 0 … 255, "
                f"got {value}{kind} in row {start + row}, feature {feature}"
            )
        x[start : start + len(piece)] = converted
    return x


def _targets(spec: ModelSpec, t: object, count: int) -> Array | None:
    if spec.target_kind is None:
        if t is not None:
            raise ValueError(
                f"t: model {spec.name} has no target, so None was expected, got {_kind(t)}",
            )
        return None
    if spec.target_kind == "class":
        return _labels(spec, t, count)
    return _reals(spec, t, count)


def _labels(spec: ModelSpec, t: object, count: int) -> Array:
    expected = f"integer labels [n], 0 … {spec.target_size - 1}"
    given = _as_array("t", t, expected)
    _check_length(given, count, "label")
    if given.ndim != 1:
        hint = "; pass t.ravel()" if given.shape == (count, 1) else ""
        if given.shape == (count, spec.target_size) and spec.target_size > 1:
            hint = "; for one-hot rows pass t.argmax(axis=1)"
        raise ValueError(f"t: expected {expected}, got an array {list(given.shape)}{hint}")
    if given.dtype.kind not in "iu":
        raise ValueError(f"t: expected {expected}, got {given.dtype}")
    wrong = np.flatnonzero((given < 0) | (given >= spec.target_size))
    if len(wrong):
        raise ValueError(f"t: expected {expected}, got {given[wrong[0]]} in row {wrong[0]}")
    return np.ascontiguousarray(given, np.int32)


def _reals(spec: ModelSpec, t: object, count: int) -> Array:
    expected = f"a float array [n, {spec.target_size}]"
    given = _as_array("t", t, expected)
    _check_length(given, count, "row")
    if given.shape != (count, spec.target_size):
        hint = ""
        if given.size == count * spec.target_size:
            hint = f"; pass t.reshape({count}, {spec.target_size})"
        raise ValueError(f"t: expected {expected}, got {list(given.shape)}{hint}")
    if not _is_number(given.dtype):
        raise ValueError(f"t: expected {expected}, got {given.dtype}")
    converted = _converted(given, spec.real)
    for start, piece in _pieces(converted):
        finite = np.isfinite(piece)
        if not finite.all():
            row, column = (int(index) for index in np.argwhere(~finite)[0])
            raise ValueError(
                f"t: expected finite numbers, got {given[start + row, column]} "
                f"in row {start + row}, column {column}"
            )
    return converted


def _as_array(name: str, value: object, expected: str) -> Array:
    """The argument as an array; lists of whole numbers become what a literal of them means."""
    if value is None:
        raise ValueError(f"{name}: expected {expected}, got None")
    try:
        array = np.asarray(value)
    except Exception as error:  # rows of different lengths, or an array type that refuses
        raise ValueError(f"{name}: expected {expected}, got {_kind(value)}: {error}") from error
    if array.ndim == 0 and not isinstance(value, (np.ndarray, np.generic)):
        hint = "; pass its toarray()" if hasattr(value, "toarray") else ""
        raise ValueError(f"{name}: expected {expected}, got {_kind(value)}{hint}")
    if isinstance(value, (list, tuple)) and array.dtype.kind in "iu" and array.ndim == 2:
        return array.astype(np.float64)
    return array


def _check_length(t: Array, count: int, noun: str) -> None:
    length = len(t) if t.ndim else 0
    if length != count:
        raise ValueError(f"t: expected {count} {noun}s, one for each row of X, got {length}")


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype == np.uint8 or (dtype.kind == "f" and dtype.itemsize in (4, 8))


def _converted(given: Array, dtype: np.dtype[Any]) -> Array:
    if given.dtype == dtype:
        return np.ascontiguousarray(given)
    # What overflows becomes an infinity, which is found with all other values that are not finite.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(given, dtype)


def _pieces(array: Array) -> Iterator[tuple[int, Array]]:
    rows = max(1, _PIECE // array.shape[1])
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def _describe(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _kind(value: object) -> str:
    return f"{type(value).__name__}"
