"""Fetching a data set: from the first place that has it, and never less than whole files."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

from nerva_dsl.faults import NervaError
from nerva_dsl.runtime.data.catalogue import Entry
from nerva_dsl.runtime.data.places import Download, Place, PlaceError, Watcher
from nerva_dsl.runtime.replacing import replacing

__all__ = ["FetchError", "fetch"]

BYTES_AT_ONCE = 1 << 20


class FetchError(NervaError):
    """No place gives the files: not a fault of what the user wrote."""

    exit_status = 3


class OtherFileError(NervaError):
    """There is another file where one of the data set belongs."""


def fetch(entry: Entry, folder: Path, watcher: Watcher) -> list[Path]:
    """Put the files of a data set into a folder, those that are not there yet.

    A file gets its name when it is whole and its SHA-256 is right.

    Args:
        entry: the data set.
        folder: made if there is none.
        watcher: told of the progress.

    Returns:
        The files that were not there before.

    Raises:
        FetchError: no place gives them all; those that could be had are there.
        OtherFileError: a file of that name is there, with other content; it is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {
        name: sha256 for name, sha256 in entry.files.items() if not _is_there(entry, folder, name)
    }
    fetched: list[Path] = []
    problems: list[str] = []
    for place in entry.places:
        if not missing:
            break
        problem = _take(place, missing, folder, watcher, fetched)
        if problem:
            watcher.fails(problem)
            problems.append(f"  {place.title}: {problem}")
    if missing:
        raise FetchError(
            "\n".join([*_opening(entry, missing), *problems, *_by_hand(entry, folder)])
        )
    return fetched


def _is_there(entry: Entry, folder: Path, name: str) -> bool:
    path = folder / name
    if not path.exists():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(BYTES_AT_ONCE):
            digest.update(piece)
    if digest.hexdigest() != entry.files[name]:
        raise OtherFileError(
            f"{path} is not {entry.title}'s: its SHA-256 is {digest.hexdigest()}, not "
            f"{entry.files[name]}; name another folder with -o, or remove it"
        )
    return True


def _take(
    place: Place, missing: dict[str, str], folder: Path, watcher: Watcher, fetched: list[Path]
) -> str:
    """Take what a place has of what is missing; returns what was wrong, or nothing."""
    before = len(missing)
    watcher.begins(place.title)
    try:
        with closing(place.files(dict(missing), folder, watcher)) as files:
            for name, content in files:
                if name not in missing:
                    continue
                sha256 = hashlib.sha256(content).hexdigest()
                if sha256 != missing[name]:
                    return f"{name} is not as published: its SHA-256 is {sha256}"
                with replacing(folder / name) as temporary:
                    temporary.write_bytes(content)
                fetched.append(folder / name)
                del missing[name]
    except PlaceError as error:
        return str(error)
    return "" if len(missing) < before else "it has none of the files"


def _opening(entry: Entry, missing: dict[str, str]) -> list[str]:
    few = "nothing" if len(missing) == len(entry.files) else f"all but {', '.join(missing)}"
    return [f"{entry.title} could not be fetched; there is {few}:"]


def _by_hand(entry: Entry, folder: Path) -> list[str]:
    places = [place for place in entry.places if isinstance(place, Download)]
    return [
        "by hand: download",
        *(f"  {url}" for place in places for url in place.urls),
        f"on another machine, put that into {folder}, and give this command again: it checks and "
        "unpacks what is there",
    ]
