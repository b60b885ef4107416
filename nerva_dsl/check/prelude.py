"""The definitions that every file sees."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nerva_dsl import syntax
from nerva_dsl.check.definitions import define
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.report import Report
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.grammar import parser
from nerva_dsl.source import Source


@cache
def prelude() -> Scope:
    """The definitions of the prelude."""
    path = Path(parser.__file__).with_name("prelude.nerva")
    source = Source(path.name, path.read_text(encoding="utf-8"))
    report, scope = Report(), Scope(prelude=source)
    for statement in parser.parse(source).statements:
        if isinstance(statement, syntax.Definition | syntax.BlockDefinition):
            define(report, scope, statement)
    if report.errors:
        raise DiagnosticError(report.errors)
    return scope


def new_scope() -> Scope:
    """The scope of a file before its first statement."""
    library = prelude()
    return Scope(
        functions=dict(library.functions),
        losses=dict(library.losses),
        schedules=dict(library.schedules),
        optimizers=dict(library.optimizers),
        layers=dict(library.layers),
        prelude=library.prelude,
    )
