"""`nervac ir`: the program after a stage, as text or as a drawing, and what a stage changes."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
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
    from nerva_dsl.ir.dot import print_dot
    from nerva_dsl.ir.text import print_program

    stages = driver.programs(file, overrides, backend=backend, target=target)
    program = _after({"--after": after}, stages)["--after"]
    with deep_recursion():
        text = print_dot(program) if as_dot else print_program(program)
    print(text.rstrip("\n"))


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
    from nerva_dsl.ir.text import print_program

    stages = driver.programs(file, overrides, backend=backend, target=target)
    found = _after({"--diff": names[0], "--diff ": names[1]}, stages)
    with deep_recursion():
        old, new = (print_program(program).splitlines() for program in found.values())
    for line in difflib.unified_diff(old, new, *names, lineterm=""):
        print(_coloured(line) if sys.stdout.isatty() else line)


def _after(
    wanted: Mapping[str, str | None], stages: Iterator[tuple[str, Program]]
) -> dict[str, Program]:
    """The program after each stage that an option names; None names the last."""
    programs: dict[str | None, Program] = {}
    for name, program in stages:
        programs[name] = programs[None] = program
        if None not in wanted.values() and set(wanted.values()) <= set(programs):
            break
    for option, stage in wanted.items():
        if stage not in programs:
            listed = ", ".join(name for name in programs if name is not None)
            raise UsageError(f"{option.strip()} {stage}: the stages are {listed}")
    return {option: programs[name] for option, name in wanted.items()}


def _coloured(line: str) -> str:
    colour = COLOURS.get(line[:1])
    return f"{colour}{line}{PLAIN}" if colour else line
