"""`nervac fmt`."""

from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from difflib import unified_diff
from io import StringIO
from pathlib import Path

from nerva_dsl.check.reading import beside, decode, reason
from nerva_dsl.cli.failures import UsageError, describe
from nerva_dsl.faults import NervaError
from nerva_dsl.grammar.formatter import format_source

STANDARD_INPUT = Path("-")


def format_files(files: Sequence[Path], *, check: bool, diff: bool) -> int:
    """Bring files into the canonical layout; the exit status, the largest of all files.

    `-` is standard input; its layout goes to standard output. What is wrong with a file goes to
    standard error, and the file stays as it is.

    Args:
        files: their paths.
        check: write nothing, and name the files that would change.
        diff: write nothing, and show what would change.

    Raises:
        UsageError: standard input among other files.
    """
    if STANDARD_INPUT in files and len(files) > 1:
        raise UsageError("`-`, standard input, is formatted by itself")
    return max(_format(file, check=check, diff=diff) for file in files)


def _format(file: Path, *, check: bool, diff: bool) -> int:
    piped = file == STANDARD_INPUT
    name = "<stdin>" if piped else str(file)
    try:
        content = sys.stdin.buffer.read() if piped else _read(file)
        source = decode(name, content)
        formatted = format_source(source)
        changed = formatted.encode() != content
        if changed and not (check or diff or piped):
            _write(file, formatted)
    except (OSError, NervaError) as error:  # the other files are formatted still
        status, message = describe(error)
        print(message, file=sys.stderr, end="\n\n")
        return status

    if diff and changed:
        print_source(_difference(name, content.decode(), formatted))
    if check and changed:
        print(f"{name}: would be formatted", file=sys.stderr)
    if piped and not (check or diff):
        print_source(formatted)
    elif changed and not (check or diff):
        print(f"{name}: formatted")
    return int(check and changed)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        suggestion = beside(file, error)
        message = f"cannot read {file}: {reason(error)}"
        raise NervaError(f"{message}; {suggestion}" if suggestion else message) from None


def _write(file: Path, text: str) -> None:
    """Replace a file, or the one that a link leads to, in one step."""
    from nerva_dsl.runtime.replacing import replacing

    target = file.resolve()
    with replacing(target, stat.S_IMODE(target.stat().st_mode)) as new:
        new.write_bytes(text.encode())


def print_source(text: str) -> None:
    """Write a text as it would stand in a file, whatever the encoding of standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())


def _difference(name: str, before: str, after: str) -> str:
    """A unified diff, which `patch` can apply."""
    old, new = (StringIO(text, newline="\n").readlines() for text in (before, after))
    lines = unified_diff(old, new, name, f"{name} (formatted)")
    unended = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + unended for line in lines)
