"""The command line: measures every source in turns and prints Markdown tables."""

from __future__ import annotations

import argparse
import datetime
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.vector_math.accuracy import errors, samples
from benchmarks.vector_math.library import DTYPES, Repeated
from benchmarks.vector_math.sources import Source, sources
from nerva_dsl.codegen.c_expression import VECTORIZED
from nerva_dsl.runtime.target import processor_name
from nerva_dsl.runtime.toolchain import compiler_version, find_compiler_command

ROW = 112  # a batch of 100 in float32, padded
SIZES = (ROW, 1024 * ROW)
NUMBERS = 1_000_000  # that one reading computes
ROUNDS = 9
_ARGUMENTS = {"exp": (-10.0, 0.0), "log": (0.01, 10.0), "log1p": (0.0, 10.0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vector_math")
    parser.add_argument(
        "--samples", type=int, default=20_000, help="arguments to find the largest error among"
    )
    count: int = parser.parse_args().samples
    print(f"{processor_name()}, {compiler_version(find_compiler_command())}, -march=native,")
    print(f"one thread, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}; {count:,} arguments.")
    with tempfile.TemporaryDirectory() as directory:
        found = list(sources(Path(directory)))
        for precision in DTYPES:
            print(f"\n{precision}:\n")
            print("| function | " + " | ".join(source.name for source in found) + " |")
            print("| --- |" + " --- |" * len(found))
            for name in VECTORIZED:
                print(f"| {name} | " + " | ".join(_cells(found, name, precision, count)) + " |")


def _cells(found: list[Source], name: str, precision: str, count: int) -> list[str]:
    """For each source: nanoseconds a number for both sizes, and the largest error."""
    dtype = DTYPES[precision]
    loops = [source.loops[name, precision] for source in found]
    x = samples(name, dtype, count)
    worst = []
    for loop in loops:
        y = np.empty_like(x)
        loop(x, y, 1)
        worst.append(errors(name, x, y).max())
    times = [_times(loops, name, dtype, size) for size in SIZES]
    return [
        f"{row:.2f} / {many:.2f}, {error:.2f} ulp"
        for row, many, error in zip(*times, worst, strict=True)
    ]


def _times(loops: list[Repeated], name: str, dtype: type, size: int) -> list[float]:
    """Medians over rounds in which every loop has its turn."""
    x = np.random.default_rng(1).uniform(*_ARGUMENTS.get(name, (-3.0, 3.0)), size).astype(dtype)
    y = np.empty_like(x)
    repeats = max(1, NUMBERS // size)
    readings: list[list[float]] = [[] for _ in loops]
    for _ in range(ROUNDS):
        for loop, own in zip(loops, readings, strict=True):
            loop(x, y, 1)
            start = time.perf_counter()
            loop(x, y, repeats)
            own.append((time.perf_counter() - start) / (repeats * size) * 1e9)
    return [statistics.median(own) for own in readings]


if __name__ == "__main__":
    main()
