"""Data sets for the command line: found by a short text, checked against the model that reads them.

    load_data("digits", digits.SPEC, seed=1)
    load_data("cifar10.npz", cifar10.SPEC, seed=1)

A source of data is one row of `SOURCES`: how it is written, and a function that reads raw arrays.
All else, the conversion to the types of the model and the test part, is common to the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.errors import NervaError
from nerva_dsl.runtime.archives import DamagedError, reading_arrays
from nerva_dsl.runtime.philox import Purpose, Stream

__all__ = ["SOURCES", "DataError", "DataSet", "load_data"]

Array = NDArray[Any]

DIGITS_FEATURES = 64
DIABETES_FEATURES = 10
TEST_FRACTION = 5  # one sample in five is held out where there is no test set
ROWS_AT_ONCE = 4096  # so that checking and hashing make no second copy of a large data set


class DataError(NervaError):
    """Data that is not there, cannot be read, or does not fit the model."""


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
    """

    X_train: Array
    t_train: Array | None
    X_test: Array
    t_test: Array | None
    source: str
    description: str

    def fingerprint(self) -> str:
        """A hash of every number, to tell whether a run continues on the data that it began on."""
        digest = blake2b(digest_size=16)
        for array in (self.X_train, self.t_train, self.X_test, self.t_test):
            if array is None:
                digest.update(b"none")
                continue
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            for _, rows in _slices(array):
                digest.update(rows.tobytes())
        return digest.hexdigest()


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
class Source:
    """One kind of data that `--data` accepts.

    Attributes:
        form: how it is written, such as `digits` or `idx:DIR`; what is before the colon selects it.
        help: what it is, in a few words.
        read: reads it; the argument is what follows the colon, empty if nothing does.
    """

    form: str
    help: str
    read: Callable[[str], Arrays]

    @property
    def name(self) -> str:
        """What selects the source."""
        return self.form.partition(":")[0]

    @property
    def takes_argument(self) -> bool:
        """Whether something must follow the name."""
        return ":" in self.form


def load_data(spec: str | None, model: Mapping[str, Any], seed: int) -> DataSet:
    """Read a data set for a model.

    Args:
        spec: a name from `SOURCES`, or the path of an `.npz` file; None: the default, if it fits.
        model: the compiled model's `SPEC`.
        seed: chooses the samples held out for testing where the data has no test set.

    Raises:
        DataError: there is no such data, it cannot be read, or the model cannot take it.
    """
    arrays = read(_default(model) if spec is None else spec)

    X = _inputs(arrays.X_train, model, f"{arrays.title}: the training inputs")
    t = _targets(arrays.t_train, X, model, arrays.title, "training")
    if arrays.X_test is None:
        return _hold_out(X, t, seed, arrays)
    X_test = _inputs(arrays.X_test, model, f"{arrays.title}: the test inputs")
    t_test = _targets(arrays.t_test, X_test, model, arrays.title, "test")
    return DataSet(
        X, t, X_test, t_test, arrays.source, _describe(arrays.title, len(X), len(X_test), "")
    )


def _default(model: Mapping[str, Any]) -> str:
    """The data of scikit-learn that fits the model."""
    features, target = model["input"]["features"], model["target"]
    if features == DIGITS_FEATURES:
        return "digits"
    numbers = target is not None and target["kind"] == "real" and target["size"] == 1
    if features == DIABETES_FEATURES and numbers:
        return "diabetes"
    raise DataError(
        f"this model has {features} inputs, and the default data, digits, has {DIGITS_FEATURES}: "
        f"say what to use with --data, which accepts {accepted()}"
    )


def read(spec: str) -> Arrays:
    """Read the raw arrays that a `--data` text stands for."""
    name, colon, argument = spec.partition(":")
    source = next((source for source in SOURCES if source.name == name), None)
    if source is not None:
        if source.takes_argument and not argument:
            raise DataError(f"`--data {spec}`: something is missing, as in `{source.form}`")
        if colon and not source.takes_argument:
            raise DataError(f"`--data {spec}`: `{name}` takes nothing after it")
        return source.read(argument)
    if spec.endswith(".npz") or Path(spec).exists():
        return read_npz(spec)
    close = get_close_matches(name, [source.name for source in SOURCES], n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    raise DataError(f"`--data {spec}`: there is no such data; {hint}--data accepts {accepted()}")


def accepted() -> str:
    """The forms that `--data` accepts, as one phrase."""
    named = [f"`{source.form}` ({source.help})" for source in SOURCES]
    return ", ".join([*named, "or `FILE.npz` (with Xtrain, Ttrain, or X_train, y_train)"])


def read_digits(_: str) -> Arrays:
    """Scikit-learn's handwritten digits: 1797 samples of 8 × 8 pixels, values 0 … 16."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 -- slow; only this source needs it

    X, t = load_digits(return_X_y=True)
    return Arrays(X.astype(np.float32), t, None, None, "digits", "digits")


def read_diabetes(_: str) -> Arrays:
    """Scikit-learn's diabetes data: 442 patients, ten measurements, one number to predict."""
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 -- as above

    X, t = load_diabetes(return_X_y=True)
    return Arrays(X.astype(np.float32), t[:, None], None, None, "diabetes", "diabetes")


def read_npz(path: str) -> Arrays:
    """A NumPy archive with Nerva's keys, Xtrain and Ttrain, or with X_train and y_train.

    The test part, Xtest and Ttest or X_test and y_test, may be missing. Nothing is executed.
    """
    file = Path(path)
    try:
        with reading_arrays():
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array; an .npz archive with several is needed")
            with archive:
                keys = list(archive.files)
                found = {
                    name: next((archive[key] for key in alternatives if key in keys), None)
                    for name, alternatives in NPZ_KEYS.items()
                }
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise DataError(
            f"{path} is not an .npz file of numbers: it is cut short, of another kind, or holds "
            "Python objects, which are never loaded"
        ) from error

    X_train, t_train, X_test, t_test = (found[name] for name in NPZ_KEYS)
    if X_train is None:
        raise DataError(f"{path} has no Xtrain or X_train; it has {_listed(keys)}")
    if X_test is not None and t_train is not None and t_test is None:
        raise DataError(f"{path} has test inputs without Ttest or y_test; it has {_listed(keys)}")
    return Arrays(X_train, t_train, X_test, t_test, str(file.resolve()), file.name)


NPZ_KEYS = {
    "X_train": ("Xtrain", "X_train"),
    "t_train": ("Ttrain", "y_train"),
    "X_test": ("Xtest", "X_test"),
    "t_test": ("Ttest", "y_test"),
}

SOURCES = (
    Source("digits", "scikit-learn's handwritten digits, 64 features", read_digits),
    Source("diabetes", "scikit-learn's diabetes patients, 10 features", read_diabetes),
)


def _inputs(X: Array, model: Mapping[str, Any], what: str) -> Array:
    """Inputs as the model reads them: `[n, D]`, contiguous, finite, of its element type."""
    X = _numbers(X, what)
    features = model["input"]["features"]
    if X.ndim > 2 and X[0].size == features:
        X = X.reshape(len(X), features)  # images: [n, rows, columns, …]
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
    for first, rows in _slices(X):
        wrong = ~((rows >= 0) & (rows <= 255) & (rows == np.floor(rows)))  # true for NaN too
        if wrong.any():
            row, feature = np.argwhere(wrong)[0]
            raise DataError(
                f"{what} hold {rows[row, feature]} (row {first + row}, feature {feature}); "
                "this model reads uint8: whole numbers from 0 to 255"
            )
    return _contiguous(X, "uint8")


def _targets(
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
    for first, rows in _slices(array):
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


def _slices(array: Array) -> Iterator[tuple[int, Array]]:
    """The rows, a few thousand at a time, each slice with the number of its first row."""
    for first in range(0, len(array), ROWS_AT_ONCE):
        yield first, array[first : first + ROWS_AT_ONCE]


def _shape(array: Array) -> str:
    return str(list(array.shape))


def _hold_out(X: Array, t: Array | None, seed: int, arrays: Arrays) -> DataSet:
    """Split off a fifth of the samples by seed; both parts keep the order of the data."""
    if len(X) < 2:
        raise DataError(f"{arrays.title} has one sample; a test part needs at least two in all")
    count = max(1, len(X) // TEST_FRACTION)
    order = Stream(seed, Purpose.SPLIT).permutation(len(X))
    test, train = np.sort(order[:count]), np.sort(order[count:])
    note = f", a held-out fifth by seed {seed}"
    return DataSet(
        X[train],
        None if t is None else t[train],
        X[test],
        None if t is None else t[test],
        arrays.source,
        _describe(arrays.title, len(train), len(test), note),
    )


def _describe(title: str, train: int, test: int, note: str) -> str:
    return f"{title}: {train:,} samples to train on, {test:,} to test on{note}"


def _listed(keys: list[str]) -> str:
    return ", ".join(keys) if keys else "nothing in it"
