"""Checking: from a `.nerva` file to a model in which every name, size and density is known."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nerva_dsl import syntax
from nerva_dsl.check.checked import Checked
from nerva_dsl.check.checker import Checker
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.imports import Imported
from nerva_dsl.check.reading import Reader, read_source
from nerva_dsl.check.report import Report
from nerva_dsl.collection import paused_collection
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.grammar.parser import parse_all
from nerva_dsl.record import Record
from nerva_dsl.recursion import deep_recursion
from nerva_dsl.source import Source

__all__ = ["Attempt", "Checked", "attempt", "check", "check_source", "read_source"]


def check(path: Path, overrides: Mapping[str, object]) -> Checked:
    """Read, parse and check a file.

    Args:
        path: the file.
        overrides: other values for its `param`s: Python's, or text that is a constant of the
            language.

    Raises:
        DiagnosticError: with every error that was found.
    """
    return check_source(read_source(path), overrides)


def check_source(source: Source, overrides: Mapping[str, object] | None = None) -> Checked:
    """Parse and check a text; as `check`."""
    with deep_recursion(), paused_collection():
        file, problems = parse_all(source)
        if not file.statements:
            what = "has nothing in it but comments" if source.text.strip() else "is empty"
            help_ = "a file begins with `model NAME`"
            raise DiagnosticError([Diagnostic("N0112", f"{source.name} {what}", help=help_)])
        report = Report()
        for problem in problems:
            report.add(problem)
        return Checker(file, overrides or {}, report).check()


class Attempt(Record):
    """What is known of a file that may be wrong.

    Attributes:
        file: its syntax.
        scope: what it defines, as far as that is sound.
        diagnostics: errors and warnings, those of imported files included.
        imports: every `import` whose file could be read.
        checked: None if there are errors.
    """

    file: syntax.File
    scope: Scope
    diagnostics: tuple[Diagnostic, ...]
    imports: tuple[Imported, ...]
    checked: Checked | None


def attempt(source: Source, read: Reader = read_source) -> Attempt:
    """Parse and check a text as far as that is possible.

    Args:
        source: the text.
        read: reads the files that it imports.
    """
    with deep_recursion(), paused_collection():
        file, problems = parse_all(source)
        report = Report()
        for problem in problems:
            report.add(problem)
        checker = Checker(file, {}, report, read)
        checked: Checked | None = None
        with suppress(DiagnosticError):  # its diagnostics are in the report
            checked = checker.check()
        diagnostics = (*report.errors, *report.warnings)
        found = tuple(checker.imports.found)
        return Attempt(file, checker.scope, diagnostics, found, checked)
