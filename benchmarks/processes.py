"""Measuring in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]


def printed_by(module: str, *arguments: str, what: str) -> Any:
    """Run a module in a fresh process; what it prints last, which is JSON.

    Args:
        module: such as `benchmarks.yardstick.memory_child`.
        arguments: of its command line.
        what: is done there, for the error.

    Raises:
        RuntimeError: it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{what}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])
