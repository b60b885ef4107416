"""How long checking and compiling take, for a user at a terminal.

    python -m benchmarks.front_end [-o FILE.md] [--repeats N]

Each command is run as a process of its own, start of Python included; tables give medians. Modules
are compiled to bytecode in the first run and not again, as in an installed package, whatever the
environment says. A loop of plain Python, timed in turns with them, says how fast the machine was
meanwhile.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.front_end.files import KINDS, deep_network, long_file
from benchmarks.yardstick import machine as machines
from benchmarks.yardstick.report import table
from nerva_dsl import driver
from nerva_dsl.codegen.planner import make_plan
from nerva_dsl.codegen.render import generate
from nerva_dsl.runtime.cache import CACHE_VARIABLE
from nerva_dsl.runtime.target import resolve_target

LINES = 10_000
DEPTHS = (50, 200)
_ROOT = Path(__file__).parent.parent.parent
_REFERENCE = _ROOT / "models" / "cifar10.nerva"
_NERVAC = (sys.executable, "-c", "from nerva_dsl.cli import main; main()")
_ADDITIONS = 20_000_000


class Time(NamedTuple):
    """Seconds of a process."""

    wall: float
    processor: float


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.front_end")
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file; printed if not given")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = measured(Path(scratch), arguments.repeats)
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text + "\n", encoding="utf-8")


def measured(scratch: Path, repeats: int, lines: int = LINES) -> str:
    """The tables, in Markdown.

    Args:
        scratch: a directory for files, caches and modules.
        repeats: runs of each command.
        lines: of each long file.
    """
    load = machines.load_average()
    timed = partial(run, bytecode=scratch / "bytecode")
    files: dict[str, Path] = {}
    for kind in KINDS:
        files[kind] = scratch / f"{kind}.nerva"
        files[kind].write_text(long_file(kind, lines), encoding="utf-8")
    for depth in DEPTHS:
        files[str(depth)] = scratch / f"deep{depth}.nerva"
        files[str(depth)].write_text(deep_network(depth), encoding="utf-8")
    commands = {
        "help": ("--help",),
        "short": ("check", str(_REFERENCE)),
        **{kind: ("check", str(files[kind])) for kind in KINDS},
    }
    timed(scratch, *commands["short"])  # fills the cache with the tables of the grammar
    timed(scratch, "compile", str(_REFERENCE), "-o", str(scratch / "modules"))
    commands["cached"] = ("compile", str(_REFERENCE), "-o", str(scratch / "modules"))
    times: dict[str, list[Time]] = {name: [] for name in (*commands, *map(str, DEPTHS), "cold")}
    loops: list[float] = []
    for turn in range(repeats):
        loops.append(_loop())
        for name, command in commands.items():
            times[name].append(timed(scratch, *command))
        for name, file in (*((str(d), files[str(d)]) for d in DEPTHS), ("cold", _REFERENCE)):
            empty = scratch / f"cold-{name}-{turn}"
            times[name].append(timed(empty, "compile", str(file), "-o", str(empty / "modules")))
    medians = {name: _median(found) for name, found in times.items()}
    checks = {
        "`nervac --help`": "help",
        "`nervac check models/cifar10.nerva`": "short",
        **{f"`nervac check`, {lines:,} lines, {kind}": kind for kind in KINDS},
        "`nervac compile models/cifar10.nerva`, in the cache": "cached",
        "the same into an empty cache": "cold",
    }
    header = ["", "seconds", "of the processor"]
    rows = [[title, *_shown(medians[name])] for title, name in checks.items()]
    deep = []
    for depth in map(str, DEPTHS):
        of_c, kernels = size(files[depth])
        deep.append([depth, *_shown(medians[depth]), f"{of_c:,}", str(kernels)])
    described = machines.describe(threads=1, removed=())
    return "\n".join(
        [
            f"{described['date']}, {described['cpu']} ({described['cpu_model']}), "
            f"Python {described['python']}, {described['compiler']}; medians of {repeats}; load "
            f"average before {load:.1f}, after {machines.load_average():.1f}; a Python loop of "
            f"{_ADDITIONS:,} additions took {statistics.median(loops):.2f} s meanwhile.",
            "",
            table(header, rows),
            "",
            table(["layers", "seconds", "of the processor", "lines of C", "kernels"], deep),
        ]
    )


def run(cache: Path, *arguments: str, bytecode: Path) -> Time:
    """The time that one command takes.

    Args:
        cache: the cache's directory.
        arguments: of `nervac`.
        bytecode: a directory for that of the modules.

    Raises:
        RuntimeError: the command fails.
    """
    environment = {**os.environ, CACHE_VARIABLE: str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(
        [*_NERVAC, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"nervac {' '.join(arguments)}: {done.stderr.strip()}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Time(wall, used)


def size(file: Path) -> tuple[int, int]:
    """Lines of the C that a file becomes, and how many different kernels are in it."""
    model = driver.check(file).model
    machine = resolve_target("native").machine
    program = driver.optimize(model, backend="native", machine=machine)
    kernels = make_plan(program, machine=machine, source_lines={}).kernels
    generated = generate(model, program, backend="native", target="native", machine=machine)
    return generated.c_source.count("\n"), len(kernels)


def _loop() -> float:
    """Processor seconds of a fixed piece of Python."""
    begin = time.process_time()
    total = 0
    for number in range(_ADDITIONS):
        total += number
    return time.process_time() - begin


def _median(times: list[Time]) -> Time:
    return Time(*(statistics.median(column) for column in zip(*times, strict=True)))


def _shown(time_: Time) -> list[str]:
    return [f"{time_.wall:.2f}", f"{time_.processor:.2f}"]


if __name__ == "__main__":
    main()
