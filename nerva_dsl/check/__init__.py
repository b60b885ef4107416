"""Checking: from a `.nerva` file to a model in which every name, size and density is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nerva_dsl.check.checker import Checked, Checker
from nerva_dsl.check.reading import read_source
from nerva_dsl.check.report import Report
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.grammar.parser import parse_all
from nerva_dsl.recursion import deep_recursion
from nerva_dsl.source import Source

__all__ = ["Checked", "check", "check_source", "read_source"]


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
    with deep_recursion():
        file, problems = parse_all(source)
        if not file.statements:
            what = "has nothing in it but comments" if source.text.strip() else "is empty"
            help_ = "a file begins with `model NAME`"
            raise DiagnosticError([Diagnostic("N0112", f"{source.name} {what}", help=help_)])
        report = Report()
        for problem in problems:
            report.add(problem)
        return Checker(file, overrides or {}, report).check()
