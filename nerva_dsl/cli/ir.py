"""`nervac ir`: the program after a stage, as text or as a drawing, and what a stage changes."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nerva_dsl import driver
from nerva_dsl.cli.failures import UsageError
from nerva_dsl.recursion import deep_recursion

if TYPE_CHECKING:
    from nerva_dsl.ir.program import Program

COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}
PLAIN = "\x1b[0m"


def print_stage(
    file: Path,
    after: str | None,
    overrides: Mapping[str, object],
    *,
    as_dot: bool,
    backend: str,
    target: str,
) -> None:
    """Print the program after a stage, after the last if none is named, as text or for `dot`.

    Raises:
        UsageError: there is no such stage; the message lists them.
    """
    stages = driver.programs(file, overrides, backend=backend, target=target)
    (program,) = _after("--after", (after,), stages)
    print((_drawing(program) if as_dot else driver.program_text(program)).rstrip("\n"))


def print_difference(
    file: Path,
    names: tuple[str, str],
    overrides: Mapping[str, object],
    *,
    backend: str,
    target: str,
) -> None:
    """Print how the text of the program differs between two stages; in colours on a terminal.

    Raises:
        UsageError: there is no such stage; the message lists them.
    """
    stages = driver.programs(file, overrides, backend=backend, target=target)
    texts = (driver.program_text(program) for program in _after("--diff", names, stages))
    old, new = (text.splitlines() for text in texts)
    for line in difflib.unified_diff(old, new, *names, lineterm=""):
        print(_coloured(line) if sys.stdout.isatty() else line)


def _after(
    option: str, wanted: Sequence[str | None], stages: Iterator[tuple[str, Program]]
) -> list[Program]:
    """The program after each stage that an option names; None names the last."""
    programs: dict[str | None, Program] = {}
    for name, program in stages:
        programs[name] = programs[None] = program
        if None not in wanted and set(wanted) <= set(programs):
            break
    for stage in wanted:
        if stage not in programs:
            listed = ", ".join(name for name in programs if name is not None)
            raise UsageError(f"{option} {stage}: the stages are {listed}")
    return [programs[stage] for stage in wanted]


def _drawing(program: Program) -> str:
    from nerva_dsl.ir.dot import print_dot

    with deep_recursion():
        return print_dot(program)


def _coloured(line: str) -> str:
    colour = COLOURS.get(line[:1])
    return f"{colour}{line}{PLAIN}" if colour else line
