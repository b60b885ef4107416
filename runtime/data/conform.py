"""Raw arrays as a model reads them, or a sentence that says where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nerva_dsl.runtime.data.arrays import Array, DataError, slices


def inputs(X: Array, model: Mapping[str, Any], what: str) -> Array:
    """Inputs as the model reads them: `[n, D]`, contiguous, finite, of its element type."""
    X = _numbers(X, what)
    features = model["input"]["features"]
    if X.ndim > 2:
        X = X.reshape(len(X), -1)  # images: [n, rows, columns, …]
    if X.ndim != 2 or X.shape[1] != features:
        hint = "; is it transposed?" if X.ndim == 2 and X.shape[0] == features else ""
        raise DataError(
            f"{what} have shape {_shape(X)}; this model needs [n, {features}], "
            f"a row of {features} features for each sample{hint}"
        )
    if model["input"]["element"] != "uint8":
        return _finite(_contiguous(X, model["precision"]), what)
    if X.dtype == np.uint8:
        return np.ascontiguousarray(X)
    for first, rows in slices(X):
        wrong = ~((rows >= 0) & (rows <= 255) & (rows == np.floor(rows)))  # true for NaN too
        if wrong.any():
            row, feature = np.argwhere(wrong)[0]
            raise DataError(
                f"{what} hold {rows[row, feature]} (row {first + row}, feature {feature}); "
                "this model reads uint8: whole numbers from 0 to 255"
            )
    return _contiguous(X, "uint8")


def targets(
    t: Array | None, X: Array, model: Mapping[str, Any], title: str, part: str
) -> Array | None:
    """Targets of one part as the model reads them, from labels or rows of numbers."""
    target = model["target"]
    if target is None:
        return None
    if t is None:
        raise DataError(
            f"{title} has no {part} targets (Ttrain or y_train), and this model has one"
        )
    what, size = f"{title}: the {part} targets", target["size"]
    t = _numbers(t, what)
    if len(t) != len(X):
        raise DataError(f"{what} are {len(t):,} and the {part} inputs are {len(X):,}")
    if target["kind"] == "class":
        return _one_hot(t, size, what) if t.shape[1:] == (size,) != (1,) else _labels(t, size, what)
    if t.shape == (len(t), size):
        return _finite(_contiguous(t, model["precision"]), what)
    if size == 1 and t.ndim == 1:
        return _finite(_contiguous(t[:, None], model["precision"]), what)
    if t.size == len(t) and np.issubdtype(t.dtype, np.integer):
        return np.eye(size, dtype=model["precision"])[_labels(t, size, what)]
    raise DataError(f"{what} have shape {_shape(t)}; this model needs [{len(t)}, {size}]")


def _labels(t: Array, size: int, what: str) -> Array:
    """Class labels, `int32 [n]`, from whole numbers 0 … size − 1 of any type."""
    if t.size != len(t):
        raise DataError(
            f"{what} have shape {_shape(t)}; this model needs labels [{len(t)}] or, "
            f"with a 1 for the class, [{len(t)}, {size}]"
        )
    t = t.reshape(-1)
    wrong = ~((t >= 0) & (t < size) & (t == np.floor(t)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{what} hold {t[row]} (row {row}); labels are 0 … {size - 1} here")
    return _contiguous(t, "int32")


def _one_hot(t: Array, size: int, what: str) -> Array:
    """Class labels from rows that are 1 at the class and 0 elsewhere."""
    wrong = (((t != 0) & (t != 1)) | np.isnan(t)).any(axis=1) | (t.sum(axis=1) != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{what} have {size} numbers a sample, and row {row} is not one 1 among zeros; "
            f"this model needs a class: a label 0 … {size - 1}, or such a row"
        )
    return _contiguous(t.argmax(axis=1), "int32")


def _numbers(array: Array, what: str) -> Array:
    """The array, if it has samples and they are real numbers; truth values become 0 and 1."""
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{what} are empty (shape {_shape(array)})")
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise DataError(f"{what} are of type {array.dtype}; real numbers are needed")
    return array


def _finite(array: Array, what: str) -> Array:
    """The array, if it has no NaN and no infinity."""
    for first, rows in slices(array):
        finite = np.isfinite(rows)
        if not finite.all():
            row, feature = np.argwhere(~finite)[0]
            raise DataError(
                f"{what} hold {rows[row, feature]} (row {first + row}, column {feature})"
            )
    return array


def _contiguous(array: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):  # becomes an infinity, which is reported with its place
        return np.ascontiguousarray(array, dtype=dtype)


def _shape(array: Array) -> str:
    return str(list(array.shape))
