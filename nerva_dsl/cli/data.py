"""`nervac data`: fetch a data set, with progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nerva_dsl.runtime.data.catalogue import CATALOGUE
from nerva_dsl.runtime.data.fetch import fetch
from nerva_dsl.runtime.data.places import Watcher

if TYPE_CHECKING:
    from rich.progress import Progress


def fetch_data(name: str, folder: Path) -> None:
    """Fetch a data set into a folder, and say how to use it."""
    entry = next(entry for entry in CATALOGUE if entry.name == name)
    with _watcher() as watcher:
        fetched = fetch(entry, folder, watcher)
    if not fetched:
        print(f"{folder} has {entry.title} already")
    for file in fetched:
        print(f"wrote {file}: {file.stat().st_size:,} bytes")
    print(f"{len(entry.files)} files with the published SHA-256: --data {entry.source}:{folder}")


class Lines:
    """A line a place, for pipes and log files."""

    def begins(self, text: str) -> None:
        """A place is tried."""
        print(text, flush=True)

    def fails(self, reason: str) -> None:
        """Why the next one is tried."""
        print(f"  {reason}", flush=True)

    def moves(self, done: int, total: int | None) -> None:
        """Nothing: a place is a line."""


class Bar:
    """A bar; it pulses where a package manager works and says nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def begins(self, text: str) -> None:
        """A place is tried."""
        self._progress.reset(self._task, description=text, total=None)

    def fails(self, reason: str) -> None:
        """Why the next one is tried, above the bar."""
        self._progress.console.print(reason, markup=False, highlight=False)

    def moves(self, done: int, total: int | None) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def _watcher() -> Iterator[Watcher]:
    """Who shows the progress on standard output as it is."""
    if not sys.stdout.isatty():
        yield Lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, transient=True) as progress:
        yield Bar(progress)
