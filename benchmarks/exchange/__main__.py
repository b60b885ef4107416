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
_TIMED = ("writing half a MB", "reading a MB, half of it the other's", "reading it again")


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
    parser.add_argument("--windows", type=int, default=200, help="how often, some 50 ms each")
    load = machine.load_average()
    measured = windows(parser.parse_args().windows)
    rows = [
        [name, *(f"{time:.0f}" for time in statistics.quantiles(part, method="inclusive"))]
        for name, part in zip(_TIMED, zip(*measured, strict=True), strict=True)
    ]
    head = ["microseconds", "lower quartile", "median", "upper quartile"]
    print(f"Load average before: {load:.2f}\n")
    print(table(head, rows))


if __name__ == "__main__":
    main()
