"""Compile time: `nervac compile` as a user runs it, into an empty cache and from a full one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.yardstick.contenders_nervac import compile_backends
from benchmarks.yardstick.measure import Timing
from benchmarks.yardstick.settings import Settings
from benchmarks.yardstick.workloads import REFERENCE
from nerva_dsl.runtime.cache import CACHE_VARIABLE

_NERVAC = (sys.executable, "-c", "from nerva_dsl.cli import main; main()")
_CACHED_RUNS = 3


def measure_compilation(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds of the whole command, each backend in turn, at the lowest density."""
    density = settings.densities[-1]
    compiled, missing = compile_backends(REFERENCE, density)
    cold = {each.name: Timing() for each in compiled}
    cached = {each.name: Timing() for each in compiled}
    for _ in range(settings.compile_repeats):
        for each in compiled:
            with tempfile.TemporaryDirectory() as scratch:
                cold[each.name].rounds.append([_compile(each.backend, density, Path(scratch))])
                cached[each.name].rounds.append(
                    [_compile(each.backend, density, Path(scratch)) for _ in range(_CACHED_RUNS)]
                )
    result: dict[str, Any] = {"density": density, "contenders": {}, "missing": missing}
    for name, timing in cold.items():
        found = {"cold": timing.summary(), "cached": cached[name].summary()}
        result["contenders"][name] = found
        say(
            f"compile, {name}: cold {found['cold']['median']:.2f} s, "
            f"cached {found['cached']['median']:.2f} s"
        )
    return result


def _compile(backend: str, density: float, scratch: Path) -> float:
    environment = {**os.environ, CACHE_VARIABLE: str(scratch / "cache")}
    command = [
        *(*_NERVAC, "compile", str(REFERENCE.model_file), "-o", str(scratch / "build")),
        *("-D", f"density={density:g}", "--backend", backend),
    ]
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return seconds
