"""Files that change in one step."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """A new file to write beside `path`; it takes the place of `path` when the block is left.

    Readers see the old file or the new one. An error in the block leaves `path` as it was.

    Args:
        path: the file.
        mode: its permissions; None: those of any new file.

    Raises:
        IsADirectoryError: `path` is a directory.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    except OSError as error:
        raise _of(path, error) from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp's files are private
        temporary.chmod(0o666 & ~_umask() if mode is None else mode)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):
            raise _of(path, error) from error
        raise


def _of(path: Path, error: OSError) -> OSError:
    """The same error, naming the file that was asked for and not the temporary one."""
    return OSError(error.errno, error.strerror or str(error), str(path))


def _umask() -> int:
    mask = os.umask(0o077)  # there is no way to read it without setting it
    os.umask(mask)
    return mask
