"""`nervac check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nerva_dsl import driver
from nerva_dsl.check import Checked
from nerva_dsl.cli.failures import describe
from nerva_dsl.collection import paused_collection
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.faults import NervaError
from nerva_dsl.source import Span


def check_files(files: Sequence[Path], overrides: Mapping[str, object], *, as_json: bool) -> bool:
    """Report the diagnostics of all files; whether none of them has an error.

    As text they go to standard error, as everywhere; as JSON, one object a line, to standard
    output, since there they are what was asked for.
    """
    with paused_collection():  # also after a check: its model is about to be dropped
        correct = [_check_file(file, overrides, as_json=as_json) for file in files]
    return all(correct)


def print_warnings(file: Path, overrides: Mapping[str, object]) -> Checked:
    """Check a file and print its warnings, for a command that goes on with it.

    Raises:
        DiagnosticError: the file is wrong.
    """
    checked = driver.check(file, overrides)
    for warning in checked.warnings:
        print(warning.render(), file=sys.stderr, end="\n\n")
    return checked


def _check_file(file: Path, overrides: Mapping[str, object], *, as_json: bool) -> bool:
    diagnostics: Sequence[Diagnostic]
    try:
        diagnostics = driver.check(file, overrides).warnings
        correct = True
    except DiagnosticError as error:
        diagnostics, correct = error.diagnostics, False
    except (OSError, NervaError) as error:  # a file that is not there; the others are checked still
        message = describe(error)[1].removeprefix("error: ")
        diagnostics, correct = [Diagnostic("", message)], False

    for diagnostic in diagnostics:
        if as_json:
            print(json.dumps(as_object(diagnostic, file), ensure_ascii=False))
        elif diagnostic.code:
            print(diagnostic.render(), file=sys.stderr, end="\n\n")
        else:
            print(f"error: {diagnostic.message}", file=sys.stderr, end="\n\n")
    if correct and not as_json:
        print(f"{file}: no errors")
    return correct


def as_object(diagnostic: Diagnostic, file: Path) -> dict[str, Any]:
    """A diagnostic as JSON; lines and columns from 1, the end behind the last character."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_range(diagnostic.span, str(file)),
        "label": diagnostic.label,
        "help": diagnostic.help,
        "notes": [
            {"message": note.text, **_range(note.span, str(file))} for note in diagnostic.notes
        ],
    }


def _range(span: Span | None, file: str) -> dict[str, Any]:
    if span is None:
        return dict.fromkeys(("file", "line", "column", "end_line", "end_column")) | {"file": file}
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": end_line,
        "end_column": end_column,
    }
