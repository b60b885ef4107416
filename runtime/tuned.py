"""Where the measured constants of this machine are kept: `machine.json` in the cache directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nerva_dsl.faults import ToolchainError
from nerva_dsl.machine import CONSTANTS
from nerva_dsl.runtime.cache import cache_root
from nerva_dsl.runtime.replacing import replacing

_FORM = 1  # of the file; another one is not read

# What comes of other content than was written.
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def tuned_file() -> Path:
    """The file; it need not exist.

    Raises:
        ToolchainError: there is no place for the cache.
    """
    return cache_root() / "machine.json"


def load_constants(features: Sequence[str]) -> dict[str, float]:
    """The constants that were measured on this machine; none if there are none.

    A file that is damaged, of another version or of another machine counts as none: it is only a
    better guess.

    Args:
        features: of the processor.
    """
    with suppress(OSError, ToolchainError, RecursionError, *_DAMAGED):
        found = json.loads(tuned_file().read_text(encoding="utf-8"))
        if found["form"] == _FORM and found["machine"] == _digest(features):
            constants = {name: float(found["constants"][name]) for name in CONSTANTS}
            if all(0 <= value < 1e6 for value in constants.values()):
                return constants
    return {}


def save_constants(features: Sequence[str], constants: Mapping[str, float]) -> Path:
    """Keep constants.

    Returns:
        The file.

    Raises:
        OSError: the disk refuses.
        ToolchainError: there is no place for the cache.
    """
    path = tuned_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"form": _FORM, "machine": _digest(features), "constants": dict(constants)}
    with replacing(path) as new:
        new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def forget_constants() -> bool:
    """Remove the file; returns whether there was one.

    Raises:
        OSError: the disk refuses.
        ToolchainError: there is no place for the cache.
    """
    try:
        tuned_file().unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _digest(features: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(features).encode()).hexdigest()
