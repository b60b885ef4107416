"""The arrays of a pickle, without running anything that it says.

A pickle is a program: it may call whatever it names. CIFAR-10's batches, written by Python 2 with
NumPy, name three things, and this reader gives each of them a meaning of its own that makes arrays
of bytes and nothing else. What names anything more is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from nerva_dsl.runtime.data.arrays import Array

__all__ = ["PickleError", "load_byte_arrays"]

_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
# What a damaged pickle makes the interpreter of pickles raise, which checks nothing itself.
_SYMPTOMS = (
    *(pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, IndexError),
    *(AttributeError, OverflowError, MemoryError, RecursionError, struct.error),
)


class PickleError(ValueError):
    """A pickle that is damaged, or names what is not to be called."""


class _Dtype:
    """Stands for `numpy.dtype`: of unsigned bytes only."""

    def __init__(self, name: object, *_: object) -> None:
        if name not in (b"u1", "u1", b"uint8", "uint8"):
            raise PickleError(f"it has numbers of type {name!r}, not bytes")

    def __setstate__(self, _: object) -> None:
        """The byte order and the like, of which a byte has none."""


class _Array:
    """Stands for `numpy.ndarray`: its shape and its bytes arrive as a state."""

    def __init__(self, *_: object) -> None:
        self.array: Array | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise PickleError("it has an array that is not of bytes")
        if by_columns or math.prod(shape) != len(content):
            raise PickleError("it has an array whose shape and content do not agree")
        self.array = np.frombuffer(content, np.uint8).reshape(shape)


class _Encode:
    """Stands for `_codecs.encode`: bytes as Python 3 writes them for Python 2 to read.

    A class, since a pickle may set the attributes of what it names unless `__setstate__` is there.
    """

    def __new__(cls, text: object, encoding: object) -> Any:
        """The bytes."""
        if not isinstance(text, str) or encoding != "latin1":
            raise PickleError("it calls _codecs.encode for something else than bytes")
        return text.encode("latin1")

    def __setstate__(self, _: object) -> None:
        """Never called on an instance: there is none."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """The stand-in for what a pickle names.

        Raises:
            PickleError: there is none.
        """
        if module in _MODULES:
            known = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Dtype}
            if name in known:
                return known[name]
        if (module, name) == ("_codecs", "encode"):
            return _Encode
        raise PickleError(f"it names {module}.{name}, which is never called")


def load_byte_arrays(content: bytes) -> dict[str, object]:
    """The entries of a pickled dictionary; arrays, of bytes only, as NumPy's.

    Raises:
        PickleError: it is damaged, no dictionary, or names anything but arrays.
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except PickleError:
        raise
    except _SYMPTOMS as error:
        raise PickleError(f"it is damaged, or no pickle: {error}") from error
    if not isinstance(value, dict):
        raise PickleError("it holds no dictionary")
    return {_text(key): _plain(entry) for key, entry in value.items()}


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _plain(entry: object) -> object:
    return entry.array if isinstance(entry, _Array) else entry
