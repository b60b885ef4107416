"""The cache of built models: a directory whose entries are named by what they were made from.

    ROOT/entries/NAME-KEY/      NAME.py, NAME.c and the extension, complete once it is there
    ROOT/building/              entries under construction, renamed into place when complete
    ROOT/failed/NAME-KEY/       the C, the wrapper and the log of the last build that failed
    ROOT/locks/                 one lock a key, so that parallel compiles build an entry once
    ROOT/compilers/             version of each compiler, so that a hit starts no process

ROOT is $NERVAC_CACHE_DIR, or else the user's cache directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nerva_dsl.errors import ToolchainError

CACHE_VARIABLE = "NERVAC_CACHE_DIR"


def cache_root() -> Path:
    """The cache directory; it need not exist."""
    configured = os.environ.get(CACHE_VARIABLE)
    if configured:
        return Path(configured).expanduser().absolute()
    # Imported here because a set variable is the common case in tests and containers.
    from platformdirs import user_cache_dir  # noqa: PLC0415

    return Path(user_cache_dir("nervac", appauthor=False))


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
        return self.root / "entries" / f"{name}-{key[:32]}"

    def lookup(self, name: str, key: str, files: Sequence[str]) -> Path | None:
        """The entry's directory if all its files are there.

        No lock is needed: an entry appears whole, by a rename.
        """
        entry = self.entry(name, key)
        return entry if all((entry / file).is_file() for file in files) else None

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Keep other processes and threads from building the same entry."""
        from filelock import FileLock  # noqa: PLC0415 -- not on a hit: it costs more than the rest

        locks = self._directory("locks")
        with FileLock(locks / f"{key[:32]}.lock"):
            yield

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """A new directory on the cache's file system, removed at the end unless it was moved."""
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._directory("building")))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def install(self, directory: Path, name: str, key: str) -> Path:
        """Rename a complete directory into its place; the caller holds the key's lock."""
        return self._move(directory, self.entry(name, key))

    def keep_failed(self, directory: Path, name: str, key: str) -> Path:
        """Rename what a failed build left to where its message can point; replaces an older one."""
        return self._move(directory, self.root / "failed" / f"{name}-{key[:32]}")

    def remembered_version(self, command: tuple[str, ...], ask: Callable[[], str]) -> str:
        """A compiler's version, asked for once for each state of its executable.

        Args:
            command: the compiler; its executable's path, size and time of change are the key.
            ask: called if the version is not known.
        """
        status = Path(command[0]).stat()
        state = json.dumps([command, status.st_mtime_ns, status.st_size])
        known = self.root / "compilers" / f"{hashlib.sha256(state.encode()).hexdigest()[:32]}.txt"
        with suppress(OSError, UnicodeDecodeError):
            version = known.read_text(encoding="utf-8")
            if version:
                return version
        version = ask()
        directory = self._directory("compilers")
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=directory, suffix=".tmp", delete=False
        ) as file:
            file.write(version)
        Path(file.name).replace(known)
        return version

    def _directory(self, name: str) -> Path:
        directory = self.root / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _move(self, source: Path, destination: Path) -> Path:
        self._directory(destination.parent.name)
        if destination.exists():  # incomplete, or an older failure
            shutil.rmtree(destination)
        source.chmod(0o755)  # mkdtemp's directories are private; a shared cache is not
        return source.rename(destination)


@contextmanager
def reporting_cache_errors(root: Path) -> Iterator[None]:
    """Turn a full disk or a directory that cannot be written into a sentence.

    Raises:
        ToolchainError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ToolchainError(
            f"the cache directory {root} cannot be used: {reason}; "
            f"set ${CACHE_VARIABLE} to a directory that can be written",
        ) from error
