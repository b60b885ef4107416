"""Where the compiler keeps what it makes of its own grammar and templates: it only saves time.

Nothing here fails: without a place to write, tables are made anew each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nerva_dsl import __version__
from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime.cache import cache_root


def tables_directory() -> Path | None:
    """A directory for tables of this version of nervac, or None if there is none to write to.

    It is this version's own, so that two that share a cache do not replace each other's tables.
    """
    with suppress(OSError, ToolchainError):
        directory = cache_root() / "tables" / __version__
        directory.mkdir(parents=True, exist_ok=True)
        if os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            return directory
    return None
