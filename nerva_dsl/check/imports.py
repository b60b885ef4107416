"""`import "file"`: the definitions of another file.

A file is read once, whatever the number and the spelling of the paths to it. Of what it holds,
constants and definitions are looked at; its model, if it has one, is not.
"""

from __future__ import annotations

import os
from pathlib import Path

from nerva_dsl import syntax
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.definitions import article, define
from nerva_dsl.check.environment import Defined, Scope
from nerva_dsl.check.prelude import new_scope, prelude
from nerva_dsl.check.reading import Reader, read_source
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import UNKNOWN, Symbol
from nerva_dsl.errors import DiagnosticError, Note
from nerva_dsl.grammar.parser import parse_all
from nerva_dsl.record import Record
from nerva_dsl.source import Source


class Imported(Record):
    """An `import`, and the file that it names.

    Attributes:
        path: the string as it is written, with its place.
        source: the file.
    """

    path: syntax.TextLiteral
    source: Source


class Imports:
    """The files that a file imports, and those that they import.

    Args:
        main: the file.
        read: reads the files that it imports.

    Attributes:
        found: every `import` whose file could be read.
    """

    def __init__(self, main: Source, read: Reader = read_source) -> None:
        self._read_source = read
        self.found: list[Imported] = []
        self._scopes: dict[str, Scope] = {}
        self._sources: dict[str, Source] = {}
        self._open = [_identity(Path(main.name))]

    @property
    def sources(self) -> tuple[Source, ...]:
        """The imported files, in the order in which they were read."""
        return tuple(self._sources.values())

    def bring(self, report: Report, scope: Scope, node: syntax.Import) -> None:
        """Add the definitions of a file to those of the one that imports it."""
        importing = node.span.source
        path = Path(importing.name).parent / node.path.text
        identity = _identity(path)
        if identity in self._open:
            itself = identity == self._open[-1]
            report.error(
                "N0113",
                "a file cannot import itself"
                if itself
                else f"`{node.path.text}` imports, by way of others, this file",
                node.span,
                help="put what both need in a file that imports neither" if not itself else "",
            )
            scope.incomplete = True
            return
        if identity not in self._scopes:
            self._read(report, path, identity, node)
        if identity in self._sources:
            self.found.append(Imported(node.path, self._sources[identity]))
        _merge(report, scope, self._scopes[identity], node)

    def _read(self, report: Report, path: Path, identity: str, node: syntax.Import) -> None:
        """Read a file for the first time, and check its definitions."""
        scope = self._scopes[identity] = new_scope()
        inner = Report()
        try:
            source = self._read_source(path)
        except DiagnosticError as error:
            scope.incomplete = True
            for problem in error.diagnostics:
                if problem.span is None:
                    report.error(problem.code, problem.message, node.path.span, help=problem.help)
                else:
                    inner.add(problem)
        else:
            self._sources[identity] = source
            self._open.append(identity)
            file, problems = parse_all(source)
            for problem in problems:
                inner.add(problem)
            for statement in file.statements:
                self._statement(inner, scope, statement)
            self._open.pop()
        report.adopt(inner.diagnostics, Note(node.span, "imported here"))

    def _statement(self, report: Report, scope: Scope, node: syntax.Statement) -> None:
        """A statement of an imported file."""
        match node:
            case syntax.Definition() | syntax.BlockDefinition():
                define(report, scope, node)
            case syntax.Import():
                self.bring(report, scope, node)
            case syntax.Constant():
                value = ConstantEvaluator(report, scope).constant(node.value)
                bind(report, scope, node.name, Symbol(node.kind, value, node.name.span))
            case syntax.Binding() | syntax.Declaration():
                # Part of its model: known only to say so where a definition reads it.
                name = node.name.text
                scope.symbols.setdefault(name, Symbol("value", UNKNOWN, node.name.span))
            case syntax.Broken() if node.name is not None:
                scope.poisoned.add(node.name.text)


def bind(report: Report, scope: Scope, name: syntax.Name, symbol: Symbol) -> bool:
    """Add a name to the namespace of values and constants, unless it is there already."""
    earlier = scope.symbols.get(name.text)
    if earlier is not None:
        report.error(
            "N0202",
            f"`{name.text}` is defined twice",
            name.span,
            notes=[Note(earlier.span, "defined here first")],
            help="every name has one meaning; choose another",
        )
        return False
    scope.symbols[name.text] = symbol
    return True


def _merge(report: Report, scope: Scope, imported: Scope, node: syntax.Import) -> None:
    """Add the definitions of an imported file, its own and those that it imports."""
    library = prelude()
    scope.poisoned |= imported.poisoned
    scope.incomplete |= imported.incomplete
    mine, theirs, common = scope.tables(), imported.tables(), library.tables()
    for kind, table in theirs.items():
        for name, definition in table.items():
            if common[kind].get(name) is definition or mine[kind].get(name) is definition:
                continue
            earlier = mine[kind].get(name) or _called(mine, kind, name)
            if earlier is None:
                mine[kind][name] = definition
                continue
            report.error(
                "N0202",
                f"{article(earlier.kind)} `{name}` exists already",
                node.span,
                notes=[
                    Note(definition.span, "what would be imported"),
                    Note(earlier.span, "defined here first"),
                ],
                help="give one of them another name",
            )


def _called(tables: dict[str, dict[str, Defined]], kind: str, name: str) -> Defined | None:
    """What is called in the same places as a function or layer, and has its name."""
    other = {"function": "layer", "layer": "function"}.get(kind)
    return None if other is None else tables[other].get(name)


def _identity(path: Path) -> str:
    """What is the same for all paths to one file."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a path with a NUL, which is reported when it is read
        return str(path)
