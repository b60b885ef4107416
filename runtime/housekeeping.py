"""How much the cache holds, and emptying it while other processes use it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nerva_dsl.runtime.cache import Cache, remove

_ROOMS = ("entries", "building", "failed", "compilers", "tables", "zig")
# Names that the cache gives. Anything else is not ours, and stays.
_ENTRY = re.compile(r".+-(?P<key>[0-9a-f]{32})")
_BUILDING = re.compile(r".+-(?P<key>[0-9a-f]{32})-\w+|old-\w+")
_VERSION = re.compile(r"[0-9a-f]{32}\.txt|\..+\.txt")
_TABLE = re.compile(r"grammar\.tables|__jinja2_.+\.cache.*")


@dataclass(frozen=True)
class Usage:
    """What the cache holds: built models, and the bytes of all its files."""

    entries: int
    bytes: int


def usage(root: Path) -> Usage:
    """What the cache under a root holds; nothing if it does not exist."""
    entries = [path for path in _listed(root / "entries") if _ENTRY.fullmatch(path.name)]
    return Usage(len(entries), sum(_size(root / room) for room in _ROOMS))


def clear(root: Path) -> Usage:
    """Remove what the cache has made, but not what another process is building at this moment.

    Returns:
        What is left.

    Raises:
        OSError: something cannot be removed.
    """
    cache = Cache(root)
    busy = False
    for room, pattern in (("entries", _ENTRY), ("failed", _ENTRY), ("building", _BUILDING)):
        for path in _listed(root / room):
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            with _trying(cache, match["key"]) as free:
                if free:
                    _discard(cache, path)
                else:
                    busy = True
    for path in _listed(root / "compilers"):
        if _VERSION.fullmatch(path.name):
            remove(path)
    for version in _listed(root / "tables"):
        for path in _listed(version):
            if _TABLE.fullmatch(path.name):
                remove(path)
    if not busy:
        remove(root / "zig")
    return usage(root)


@contextmanager
def _trying(cache: Cache, key: str | None) -> Iterator[bool]:
    """Hold a key's lock; whether nobody else does. Without a key there is nothing to hold."""
    if key is None:
        yield True
        return
    from filelock import FileLock, Timeout  # noqa: PLC0415 -- as in the cache

    cache.directory("locks")
    lock = FileLock(cache.lock_file(key), mode=0o666)
    free = True
    try:
        lock.acquire(timeout=0)
    except Timeout:
        free = False
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield free
    finally:
        lock.release()


def _discard(cache: Cache, path: Path) -> None:
    """Remove a directory at once for all who look, by a rename."""
    aside = Path(tempfile.mkdtemp(prefix="old-", dir=cache.directory("building")))
    with suppress(FileNotFoundError):  # somebody else was faster
        path.rename(aside / "old")
    remove(aside)


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(directory: Path) -> int:
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            with suppress(OSError):
                total += Path(folder, file).lstat().st_size
    return total
