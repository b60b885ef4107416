"""Reading `.npy` and `.npz` files that may be damaged, or something else altogether."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

# RuntimeError: a bit says that the archive is encrypted; NotImplementedError, which is one, that it
# is compressed in an unknown way.
_SYMPTOMS = (
    *(ValueError, KeyError, TypeError, OverflowError, EOFError, RuntimeError, SyntaxError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)


class DamagedError(ValueError):
    """A file that is no array or archive of arrays, or not whole."""


@contextmanager
def reading_arrays() -> Iterator[None]:
    """Turn whatever NumPy and zipfile raise at a damaged file into one error.

    Raises:
        DamagedError: instead.
        OSError: the file is not there or cannot be read.
    """
    try:
        yield
    except _SYMPTOMS as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to before the beginning
            raise
        raise DamagedError(str(error)) from error
