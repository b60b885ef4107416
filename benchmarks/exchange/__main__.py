"""What it costs two threads to read what the other has written, and to write what it has read.

    python -m benchmarks.exchange [--windows N]

A step on two threads is an exchange: each writes half of every activation, and reads all of it.
What that costs depends on whether the two processors share a cache, which on a virtual machine may
change from one second to the next. Linux only.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.yardstick import machine
from benchmarks.yardstick.report import table
from nerva_dsl.runtime.toolchain import find_compiler_command

_SOURCE = Path(__file__).with_name("exchange.c")
_DEAR = 1.8  # times the cheapest window's, and the processors do not share a cache


def windows(count: int) -> list[tuple[float, ...]]:
    """Microseconds of writing half a megabyte, reading a megabyte, and reading it again.

    Args:
        count: windows of some 50 ms each.

    Raises:
        ToolchainError: there is no C compiler.
        CalledProcessError: it fails, or there are no two processors.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "exchange")
        command = (*find_compiler_command(), "-std=gnu11", "-O3", "-pthread")
        subprocess.run([*command, str(_SOURCE), "-o", program], check=True)
        done = subprocess.run([program, str(count)], check=True, capture_output=True, text=True)
    return [tuple(map(float, line.split())) for line in done.stdout.splitlines()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=200, help="windows of some 50 ms each")
    load = machine.load_average()
    measured = windows(parser.parse_args().windows)
    cheapest = min(window[0] for window in measured)
    groups: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    for window in measured:
        groups[window[0] > _DEAR * cheapest].append(window)
    rows = [
        [
            name,
            str(len(found)),
            *(f"{statistics.median(part):.0f}" for part in zip(*found, strict=True)),
        ]
        for name, found in (("near", groups[False]), ("apart", groups[True]))
        if found
    ]
    head = ["caches", "windows", "writing half a MB, µs", "reading a MB, µs", "again, µs"]
    print(f"Load average before: {load:.2f}\n")
    print(table(head, rows))


if __name__ == "__main__":
    main()
