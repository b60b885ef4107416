"""Whether the files of a directory are still what was put there.

`manifest.json` holds size, time of change and SHA-256 of each file. Equal size and time are taken
for equal contents, so that a check reads nothing; a file of the same size with another time, such
as a copy, is read and summed.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def write(directory: Path, files: Sequence[str]) -> None:
    """Record files as they are; all that is in the directory, nothing is written afterwards."""
    records = {}
    for name in files:
        path = directory / name
        status = path.stat()
        records[name] = {
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": _sum(path),
        }
    text = json.dumps({"files": records}, indent=1)
    (directory / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def holds(directory: Path, files: Sequence[str]) -> bool:
    """Whether the files are there as they were recorded; False for any kind of damage."""
    try:
        records = json.loads((directory / MANIFEST).read_bytes())["files"]
        return all(_unchanged(directory / name, records[name]) for name in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _unchanged(path: Path, record: dict[str, Any]) -> bool:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != record["size"]:
        return False
    return bool(status.st_mtime_ns == record["mtime_ns"] or _sum(path) == record["sha256"])


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
