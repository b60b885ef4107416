"""Built variants of the hand-written model, and what several tests do with them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
from scipy import sparse

from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from runtime_fixture.tiny import generate

TARGET = resolve_target("x86-64-v2" if os.uname().machine == "x86_64" else "native")


@cache
def directory() -> str:
    """The cache of these variants; of the process that started this one, if it says so."""
    shared = os.environ.get("FIXTURE_CACHE")
    if shared:
        return shared
    directory = tempfile.mkdtemp(prefix="nervac-tests-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@cache
def variant(**options) -> ModuleType:
    """The module of a variant; see `generate` for the options. Built once in a process."""
    with patch.dict(os.environ, {"NERVAC_CACHE_DIR": directory()}):
        return load_module(build(generate(**options), TARGET))


def slow() -> ModuleType:
    """A variant that takes two milliseconds a batch."""
    return variant(delay=2_000_000)


def environment(module: ModuleType) -> dict[str, str]:
    """Of a new process that can import the module."""
    return {**os.environ, "PYTHONPATH": str(Path(module.__file__).parent)}


def data(n: int = 23, seed: int = 0):
    """Samples and labels for the default variant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def state(model, path: Path) -> dict[str, bytes]:
    """Everything that `save` stores."""
    model.save(path)
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files}


def dense(parameters):
    """Parameters as arrays."""
    return {
        name: value.toarray() if sparse.issparse(value) else value
        for name, value in parameters.items()
    }


def same(first, second) -> bool:
    """Whether parameters are equal to the bit."""
    first, second = dense(first), dense(second)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )
