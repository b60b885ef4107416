"""The files that are open in an editor, as they are there, and what is known of each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nerva_dsl import syntax
from nerva_dsl.check import Attempt, Checked, attempt
from nerva_dsl.check.prelude import prelude
from nerva_dsl.check.reading import decode, read_source
from nerva_dsl.errors import Diagnostic
from nerva_dsl.grammar import parser
from nerva_dsl.source import Source, Span


@dataclass
class OpenFile:
    """A file in an editor.

    Attributes:
        source: its text there.
        attempt: what is known of it; None if it has changed since.
        checked: the model of its last text without errors.
    """

    source: Source
    attempt: Attempt | None = None
    checked: Checked | None = None


class Desk:
    """All open files, by their names."""

    def __init__(self) -> None:
        self._files: dict[str, OpenFile] = {}

    def put(self, name: str, text: str) -> None:
        """A file was opened, or has another text. Whatever imports it may mean something else."""
        checked = self._files[name].checked if name in self._files else None
        self._files[name] = OpenFile(decode(name, text.encode("utf-8", "replace")), None, checked)
        for file in self._files.values():
            file.attempt = None

    def remove(self, name: str) -> None:
        """A file was closed; what imports it sees the one on the disk."""
        self._files.pop(name, None)
        for file in self._files.values():
            file.attempt = None

    def names(self) -> tuple[str, ...]:
        """The open files, in the order in which they were opened."""
        return tuple(self._files)

    def source(self, name: str) -> Source:
        """The text of an open file."""
        return self._files[name].source

    def known(self, name: str) -> tuple[Attempt, Checked | None]:
        """What is known of an open file, and its last model without errors."""
        file = self._files[name]
        if file.attempt is None:
            file.attempt = attempt(file.source, self._read)
            file.checked = file.attempt.checked or file.checked
        return file.attempt, file.checked

    def diagnostics(self) -> Mapping[str, list[Diagnostic]]:
        """What is wrong, by the name of the file in which it is; open files without errors too."""
        found: dict[str, list[Diagnostic]] = {name: [] for name in self._files}
        for name in self._files:
            for diagnostic in _said(self.known(name)[0]):
                span = diagnostic.span or Span(self.source(name), 0, 0)
                place = found.setdefault(self._name_of(span.source), [])
                if all(_key(diagnostic) != _key(other) for other in place):
                    place.append(diagnostic)
        return found

    def _name_of(self, source: Source) -> str:
        """The name under which a file is open, or else its path."""
        real = path_of(source)
        return next((name for name in self._files if os.path.realpath(name) == real), real)

    def _read(self, path: Path) -> Source:
        """A file that is imported, as it is in the editor if it is open there."""
        real = os.path.realpath(path)
        for name, file in self._files.items():
            if os.path.realpath(name) == real:
                return Source(str(path), file.source.text)
        return read_source(path)


def path_of(source: Source) -> str:
    """The path of a file, that of the prelude included."""
    if source is prelude().prelude:
        return str(Path(parser.__file__).with_name(source.name).resolve())
    return os.path.realpath(source.name)


def _said(known: Attempt) -> Iterator[Diagnostic]:
    """The diagnostics of a file; a library lacks no model, nor does an empty file."""
    whole = any(isinstance(each, _OF_MODELS) for each in known.file.statements)
    for diagnostic in known.diagnostics:
        if whole or diagnostic.code != "N0211":
            yield diagnostic


_OF_MODELS = (
    syntax.ModelName,
    syntax.Declaration,
    syntax.Binding,
    syntax.Role,
    syntax.Metric,
    syntax.Settings,
)
"""Statements that are of no use in a library."""


def _key(diagnostic: Diagnostic) -> tuple[str, str, int]:
    start = diagnostic.span.start if diagnostic.span is not None else 0
    return diagnostic.code, diagnostic.message, start
