"""The cache of built models: a directory whose entries are named by what they were made from.

    ROOT/entries/NAME-KEY/      NAME.py, NAME.c, the extension, and manifest.json with their sums
    ROOT/building/              entries under construction, renamed into place when complete
    ROOT/failed/NAME-KEY/       the C, the wrapper and the log of the last build that failed
    ROOT/locks/                 locks, so that parallel compiles build an entry once
    ROOT/compilers/             version of each compiler, so that a hit starts no process
    ROOT/tables/                tables of the grammar and compiled templates; see tables.py
    ROOT/zig/                   what the zig compiler keeps

ROOT is $NERVAC_CACHE_DIR, or else the user's cache directory.

An entry appears by a rename and is complete from then on, whoever is killed at whatever moment. The
locks only save work: without them two processes would build the same entry, and one would win.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import manifest
from nerva_dsl.runtime.replacing import replacing

CACHE_VARIABLE = "NERVAC_CACHE_DIR"
KEY_LENGTH = 32  # of the 64 digits, in names of files

_DAY = 86_400.0
# What killed processes leave, and builds that failed, are removed at this age, in seconds.
_LIFETIME = {"building": _DAY, "failed": 30 * _DAY}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
# A rename to a place that is taken.
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
_ATTEMPTS = 10


def cache_root() -> Path:
    """The cache directory; it need not exist.

    Raises:
        ToolchainError: nothing says where it should be.
    """
    configured = os.environ.get(CACHE_VARIABLE)
    try:
        if configured:
            return Path(configured).expanduser().absolute()
        # Imported here because a set variable is the common case in tests and containers.
        from platformdirs import user_cache_dir  # noqa: PLC0415

        root = Path(user_cache_dir("nervac", appauthor=False))
    except RuntimeError:  # a home that expanduser does not know
        root = Path("~")
    if not root.is_absolute():
        raise ToolchainError(
            "there is no place for the cache: the user has no home directory; "
            f"set ${CACHE_VARIABLE} to a directory that can be written",
        )
    return root


def digest(parts: Sequence[tuple[str, str]]) -> str:
    """Key of an entry: SHA-256 over named texts; lengths included, so that no two lists agree."""
    state = hashlib.sha256()
    for name, text in parts:
        data = text.encode()
        state.update(f"{name}:{len(data)}:".encode())
        state.update(data)
    return state.hexdigest()


class Cache:
    """The cache under a root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, name: str, key: str) -> Path:
        """Directory of an entry, whether it exists or not."""
        return self.root / "entries" / f"{name}-{key[:KEY_LENGTH]}"

    def lookup(self, name: str, key: str, files: Sequence[str]) -> Path | None:
        """The entry's directory if all its files are there, as they were installed.

        No lock is needed: an entry appears whole, by a rename.
        """
        entry = self.entry(name, key)
        return entry if manifest.holds(entry, files) else None

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Keep other processes and threads from building the same entry.

        The system releases the lock of a process that dies.
        """
        from filelock import FileLock  # noqa: PLC0415 -- not on a hit: it costs more than the rest

        self.directory("locks")
        lock = FileLock(self.lock_file(key), mode=0o666)
        with suppress(NotImplementedError):  # a file system without locks: see the module's text
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def lock_file(self, key: str) -> Path:
        """The lock of a key. There are 256 for all keys: they are few, and never removed.

        Who removes a lock that another process waits for lets two processes hold it.
        """
        return self.root / "locks" / f"{key[:2]}.lock"

    @contextmanager
    def building(self, name: str, key: str) -> Iterator[Path]:
        """A new directory on the cache's file system, removed at the end unless it was moved."""
        self.remove_leftovers()
        prefix = f"{name}-{key[:KEY_LENGTH]}-"
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=self.directory("building")))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def install(self, directory: Path, name: str, key: str, files: Sequence[str]) -> Path:
        """Rename a complete directory into its place.

        Args:
            directory: from `building`.
            name: of the model.
            key: of the entry.
            files: what belongs to the entry; anything else in the directory is removed.
        """
        for leftover in directory.iterdir():
            if leftover.name not in files:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        manifest.write(directory, files)
        return self._move(
            directory, self.entry(name, key), lambda: self.lookup(name, key, files) is not None
        )

    def keep_failed(self, directory: Path, name: str, key: str) -> Path:
        """Rename what a failed build left to where its message can point; replaces an older one."""
        place = self.root / "failed" / f"{name}-{key[:KEY_LENGTH]}"
        return self._move(directory, place, lambda: False)

    def remembered_version(self, command: tuple[str, ...], ask: Callable[[], str]) -> str:
        """A compiler's version, asked for once for each state of its executable.

        Args:
            command: the compiler; its executable's path, size and time of change are the key.
            ask: called if the version is not known.
        """
        status = Path(command[0]).stat()
        state = json.dumps([command, status.st_mtime_ns, status.st_size])
        name = hashlib.sha256(state.encode()).hexdigest()[:KEY_LENGTH]
        known = self.root / "compilers" / f"{name}.txt"
        with suppress(OSError, UnicodeDecodeError):
            version = known.read_text(encoding="utf-8")
            if version:
                return version
        version = ask()
        # A cache that can only be read may still hold the entry.
        with suppress(OSError), replacing(self.directory("compilers") / known.name) as file:
            file.write_text(version, encoding="utf-8")
        return version

    def remove_leftovers(self) -> None:
        """Remove old directories of processes that were killed, and of builds that failed."""
        now = time.time()
        for room, lifetime in _LIFETIME.items():
            with suppress(OSError):
                for path in (self.root / room).iterdir():
                    with suppress(OSError):
                        if now - path.lstat().st_mtime > lifetime:
                            remove(path)

    def directory(self, name: str) -> Path:
        """One of the cache's directories, made if need be."""
        directory = self.root / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _move(self, source: Path, destination: Path, settled: Callable[[], bool]) -> Path:
        """Rename a directory, whatever is at its destination, unless that is `settled`.

        What is there is renamed out of the way before it is removed: nobody sees half of it.
        """
        self.directory(destination.parent.name)
        source.chmod(0o755)  # mkdtemp's directories are private; a shared cache is not
        for _ in range(_ATTEMPTS):
            try:
                return source.rename(destination)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            if settled():
                return destination
            aside = Path(tempfile.mkdtemp(prefix="old-", dir=self.directory("building")))
            with suppress(FileNotFoundError):  # another process was faster
                destination.rename(aside / "old")
            remove(aside)
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))


def remove(path: Path) -> None:
    """Remove a file, or a directory with all in it, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def reporting_cache_errors(root: Path) -> Iterator[None]:
    """Turn a full disk or a directory that cannot be written into a sentence.

    Raises:
        ToolchainError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        raise ToolchainError(cannot_use(root, error)) from error


def cannot_use(root: Path, error: OSError) -> str:
    """A sentence on a cache directory that cannot be written."""
    if error.errno in _NO_SPACE:
        return no_space(root)
    reason = (error.strerror or str(error)).lower()
    return (
        f"the cache directory {root} cannot be used: {reason}; "
        f"set ${CACHE_VARIABLE} to a directory that can be written"
    )


def no_space(root: Path) -> str:
    """A sentence on a full disk."""
    return (
        f"the cache directory {root} cannot be used: no space is left on its disk; free some "
        f"(`nervac cache --clear`), or set ${CACHE_VARIABLE} to a directory on another disk"
    )
