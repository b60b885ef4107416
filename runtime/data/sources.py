"""What `--data` accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from nerva_dsl.runtime.data.arrays import Arrays, DataError
from nerva_dsl.runtime.data.cifar10 import read_cifar10
from nerva_dsl.runtime.data.idx import read_idx
from nerva_dsl.runtime.data.npz import read_npz


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
    if Path(spec).is_dir():
        raise DataError(
            f"`--data {spec}` is a folder: write `idx:{spec}` for MNIST-style files, or "
            f"`cifar10:{spec}`"
        )
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
    return Arrays(X.astype(np.float32).reshape(-1, 8, 8), t, None, None, "digits", "digits")


def read_diabetes(_: str) -> Arrays:
    """Scikit-learn's diabetes data: 442 patients, ten measurements, one number to predict."""
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 -- as above

    X, t = load_diabetes(return_X_y=True)
    return Arrays(X.astype(np.float32), t[:, None], None, None, "diabetes", "diabetes")


SOURCES = (
    Source("digits", "scikit-learn's handwritten digits, 64 features", read_digits),
    Source("diabetes", "scikit-learn's diabetes patients, 10 features", read_diabetes),
    Source("idx:DIR", "a folder of MNIST-style files", read_idx),
    Source("cifar10:DIR", "CIFAR-10 in a folder, or its archive", read_cifar10),
)
