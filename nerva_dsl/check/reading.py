"""Reading source files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nerva_dsl.check.report import closest
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.source import Source, Span

Reader = Callable[[Path], Source]
"""Reads a file; as `read_source`."""


def read_source(path: Path) -> Source:
    """Read a file: UTF-8, with or without a byte order mark, with any line ends.

    Raises:
        DiagnosticError: it cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        problem = Diagnostic(
            "N0110", f"cannot read {path}: {reason(error)}", help=beside(path, error)
        )
        raise DiagnosticError([problem]) from None
    return decode(str(path), content)


def decode(name: str, content: bytes) -> Source:
    """The source of a file's bytes; see `read_source`.

    Raises:
        DiagnosticError: they are not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = _lines(content[: error.start].decode("utf-8", "replace").removeprefix("\ufeff"))
        source = Source(name, _lines(content.decode("utf-8-sig", "replace")))
        problem = Diagnostic(
            "N0111",
            f"this is not UTF-8: byte 0x{content[error.start]:02X}",
            Span(source, len(before), len(before) + 1),
            help="save the file as UTF-8",
        )
        raise DiagnosticError([problem]) from None
    return Source(name, _lines(text))


def reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, for messages."""
    reasons: dict[type[Exception], str] = {
        FileNotFoundError: "there is no such file",
        PermissionError: "permission denied",
        IsADirectoryError: "it is a directory",
        ValueError: "no file can have that name",
    }
    known = reasons.get(type(error))
    return known or getattr(error, "strerror", None) or "it cannot be opened"


def beside(path: Path, error: OSError | ValueError) -> str:
    """A help line with the model file that lies where another was looked for."""
    if not isinstance(error, FileNotFoundError):
        return ""
    match = closest(path.stem, (file.stem for file in path.parent.glob("*.nerva")))
    return f"did you mean `{match}.nerva`?" if match else ""


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
