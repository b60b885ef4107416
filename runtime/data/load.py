"""A data set for a model: read, converted to the model's types, and with a test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nerva_dsl.runtime.data.arrays import Array, Arrays, DataError, DataSet
from nerva_dsl.runtime.data.conform import inputs, targets
from nerva_dsl.runtime.data.sources import accepted, read
from nerva_dsl.runtime.philox import Purpose, Stream

DIGITS_FEATURES = 64
DIABETES_FEATURES = 10
TEST_FRACTION = 5  # one sample in five is held out where there is no test set


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

    X = inputs(arrays.X_train, model, f"{arrays.title}: the training inputs")
    t = targets(arrays.t_train, X, model, arrays.title, "training")
    if arrays.X_test is None:
        return _hold_out(X, t, seed, arrays)
    X_test = inputs(arrays.X_test, model, f"{arrays.title}: the test inputs")
    t_test = targets(arrays.t_test, X_test, model, arrays.title, "test")
    return DataSet(
        X,
        t,
        X_test,
        t_test,
        arrays.source,
        _describe(arrays.title, len(X), len(X_test), ""),
        arrays.X_train.shape[1:],
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
        arrays.X_train.shape[1:],
    )


def _describe(title: str, train: int, test: int, note: str) -> str:
    return f"{title}: {train:,} samples to train on, {test:,} to test on{note}"
