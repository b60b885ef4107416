"""Where it was measured, and whether anything else was busy there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TELLING_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "sve",
)
_PACKAGES = ("nervac", "numpy", "scipy", "torch", "onnxruntime", "mkl")
LOAD_LIMIT = 0.5  # of a core
NEIGHBOURS_LIMIT = 0.1  # of a core


def describe(threads: int, removed: Sequence[str]) -> dict[str, Any]:
    """The machine and the software.

    Args:
        threads: that every contender computes with.
        removed: environment variables that were unset.
    """
    cpuinfo = _cpuinfo()
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    return {
        "cpu": cpuinfo.get("model name") or platform.processor() or platform.machine(),
        "cpu_model": "family {} model {}".format(
            cpuinfo.get("cpu family", "?"), cpuinfo.get("model", "?")
        ),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in _TELLING_FLAGS if flag in flags],
        "caches": _caches(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "compiler": _compiler(),
        "threads": threads,
        "unset": list(removed),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def load_average() -> float:
    """Of the last minute, in cores."""
    return os.getloadavg()[0]


@dataclass(frozen=True)
class Usage:
    """Processor time so far: of the whole machine and of this process with its children."""

    wall: float
    busy: float
    own: float
    stolen: float

    @classmethod
    def now(cls) -> Usage:
        """Read the counters."""
        # user nice system idle iowait irq softirq steal, in ticks (man 5 proc_stat)
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        ticks = [int(text) / os.sysconf("SC_CLK_TCK") for text in fields]
        times = os.times()
        return cls(
            time.monotonic(),
            sum(ticks[:3]) + sum(ticks[5:7]),
            times.user + times.system + times.children_user + times.children_system,
            ticks[7] if len(ticks) > 7 else 0.0,
        )

    def others_since(self, before: Usage) -> float:
        """How many cores others kept busy since then; time stolen by the hypervisor counts."""
        wall = max(self.wall - before.wall, 1e-9)
        foreign = (self.busy - before.busy) - (self.own - before.own)
        return round(max(0.0, foreign + self.stolen - before.stolen) / wall, 2)


def warnings(load_before: float, others: dict[str, float]) -> list[str]:
    """Sentences on what makes the numbers doubtful.

    Args:
        load_before: load average before the run.
        others: cores that others kept busy, by part of the run.
    """
    found = []
    if load_before > LOAD_LIMIT:
        found.append(
            f"The load average before the run was {load_before:.2f}: the machine was not idle."
        )
    worst = max(others, key=lambda name: others[name], default=None)
    if worst is not None and others[worst] > NEIGHBOURS_LIMIT:
        found.append(
            f"Other processes kept up to {others[worst]:.2f} cores busy during the run "
            f"(most in: {worst}): these numbers are not to be relied on."
        )
    return found


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / part).read_text(encoding="ascii").strip()
                for part in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compiler() -> str:
    command = os.environ.get("CC") or "gcc"
    try:
        done = subprocess.run(
            [*command.split(), "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return f"{command}: not found"
    return (done.stdout.splitlines() or [command])[0]
