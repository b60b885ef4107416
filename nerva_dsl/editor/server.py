"""`nervac lsp`: a language server over standard input and output.

Language Server Protocol 3.17; pygls speaks it. What is said about a file comes from the compiler:
the checker's diagnostics, its names and sizes, and the formatter.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from difflib import SequenceMatcher

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from nerva_dsl import __version__
from nerva_dsl.collection import paused_collection
from nerva_dsl.editor.completion import Kind, Proposal, proposals
from nerva_dsl.editor.desk import Desk, path_of
from nerva_dsl.editor.lookup import Meaning, meaning_at
from nerva_dsl.editor.positions import Place, Positions
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.source import Source, Span

PAUSE = 0.05
"""Seconds without typing after which a file is checked."""

_KINDS = {
    Kind.KEYWORD: types.CompletionItemKind.Keyword,
    Kind.VALUE: types.CompletionItemKind.Variable,
    Kind.CONSTANT: types.CompletionItemKind.Constant,
    Kind.FUNCTION: types.CompletionItemKind.Function,
    Kind.OPTION: types.CompletionItemKind.Property,
    Kind.TYPE: types.CompletionItemKind.Class,
}


class NervaServer(LanguageServer):
    """The server of one editor.

    Attributes:
        desk: the files that are open in it.
    """

    def __init__(self) -> None:
        # Texts come as a whole: they are small, and pygls and editors disagree on what ends a line.
        super().__init__(
            "nervac", __version__, text_document_sync_kind=types.TextDocumentSyncKind.Full
        )
        self.desk = Desk()
        self._shown: set[str] = set()
        self._waiting: asyncio.TimerHandle | None = None

    def positions(self, source: Source) -> Positions:
        """Places in a file, in the encoding that the editor and the server agreed on."""
        return Positions(source, str(self.workspace.position_encoding or "utf-16"))

    def changed(self, uri: str, text: str) -> None:
        """A file has another text: check it as soon as there is a pause."""
        self.desk.put(_name(uri), text)
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = asyncio.get_running_loop().call_later(PAUSE, self.publish)

    def closed(self, uri: str) -> None:
        """A file is no longer open."""
        self.desk.remove(_name(uri))
        self.publish()

    def publish(self) -> None:
        """Show what is wrong with every open file and with what these import."""
        found = self.desk.diagnostics()
        for name in self._shown - set(found):
            self._send(name, [])
        for name, diagnostics in found.items():
            self._send(name, [self._diagnostic(each) for each in diagnostics])
        self._shown = set(found)

    def _send(self, name: str, diagnostics: list[types.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri=_uri(name), diagnostics=diagnostics)
        )

    def _diagnostic(self, diagnostic: Diagnostic) -> types.Diagnostic:
        warning = diagnostic.severity == "warning"
        start = types.Position(0, 0)
        span = diagnostic.span
        help_ = f"\nhelp: {diagnostic.help}" if diagnostic.help else ""
        return types.Diagnostic(
            range=self.range(span) if span is not None else types.Range(start, start),
            message=diagnostic.message + help_,
            severity=types.DiagnosticSeverity.Warning
            if warning
            else types.DiagnosticSeverity.Error,
            code=diagnostic.code,
            source="nervac",
            related_information=[
                types.DiagnosticRelatedInformation(self.location(note.span), note.text)
                for note in diagnostic.notes
            ],
        )

    def range(self, span: Span) -> types.Range:
        """A place as the editor counts."""
        positions = self.positions(span.source)
        start, end = positions.place(span.start), positions.place(span.end)
        return types.Range(types.Position(*start), types.Position(*end))

    def location(self, span: Span) -> types.Location:
        """A place with its file."""
        return types.Location(_uri(path_of(span.source)), self.range(span))

    def meaning(self, uri: str, position: types.Position) -> Meaning | None:
        """What stands at a place."""
        attempt, checked = self.desk.known(_name(uri))
        with paused_collection():
            return meaning_at(attempt, checked, self.offset(attempt.file.source, position))

    def proposals(self, uri: str, position: types.Position) -> list[Proposal]:
        """What can stand at a place."""
        attempt, _ = self.desk.known(_name(uri))
        with paused_collection():
            return proposals(attempt, self.offset(attempt.file.source, position))

    def offset(self, source: Source, position: types.Position) -> int:
        """A place of the editor in a file."""
        return self.positions(source).offset(Place(position.line, position.character))

    def edits(self, source: Source) -> Iterator[types.TextEdit]:
        """What brings a file into its layout, line by line, so that the cursor stays."""
        before = _lines(source.text)
        after = _lines(format_source(source))
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        starts = [types.Position(number, 0) for number in range(len(before))]
        starts.append(types.Position(*self.positions(source).place(len(source.text))))
        for tag, first, last, new_first, new_last in matcher.get_opcodes():
            if tag != "equal":
                text = "".join(after[new_first:new_last])
                yield types.TextEdit(types.Range(starts[first], starts[last]), text)


def _lines(text: str) -> list[str]:
    """The lines of a text with their ends; the last one may have none."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _name(uri: str) -> str:
    """The path of a file, or what the editor calls one that is not saved."""
    return to_fs_path(uri) or uri


def _uri(name: str) -> str:
    return from_fs_path(name) or name if name.startswith("/") else name


def create_server() -> NervaServer:
    """A server that answers."""
    server = NervaServer()
    _follow(server)
    _answer(server)
    return server


def _follow(server: NervaServer) -> None:
    """What an editor tells of its files."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(_: NervaServer, params: types.DidOpenTextDocumentParams) -> None:
        server.changed(params.text_document.uri, params.text_document.text)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(_: NervaServer, params: types.DidChangeTextDocumentParams) -> None:
        server.changed(params.text_document.uri, params.content_changes[-1].text)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(_: NervaServer, params: types.DidCloseTextDocumentParams) -> None:
        server.closed(params.text_document.uri)


def _answer(server: NervaServer) -> None:
    """What an editor asks."""

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(_: NervaServer, params: types.HoverParams) -> types.Hover | None:
        meaning = server.meaning(params.text_document.uri, params.position)
        if meaning is None:
            return None
        text = types.MarkupContent(types.MarkupKind.Markdown, meaning.text)
        return types.Hover(text, server.range(meaning.span))

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    def definition(_: NervaServer, params: types.DefinitionParams) -> types.Location | None:
        meaning = server.meaning(params.text_document.uri, params.position)
        if meaning is None or meaning.defined is None:
            return None
        return server.location(meaning.defined)

    @server.feature(
        types.TEXT_DOCUMENT_COMPLETION,
        types.CompletionOptions(trigger_characters=["(", ",", "="]),
    )
    def completion(_: NervaServer, params: types.CompletionParams) -> types.CompletionList:
        found = server.proposals(params.text_document.uri, params.position)
        items = [
            types.CompletionItem(
                proposal.text.removesuffix(" = "),
                kind=_KINDS[proposal.kind],
                detail=proposal.detail or None,
                documentation=proposal.documentation or None,
                insert_text=proposal.text,
                sort_text=f"{number:04}",
            )
            for number, proposal in enumerate(found)
        ]
        return types.CompletionList(is_incomplete=False, items=items)

    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    def formatting(
        _: NervaServer, params: types.DocumentFormattingParams
    ) -> list[types.TextEdit] | None:
        try:
            return list(server.edits(server.desk.source(_name(params.text_document.uri))))
        except DiagnosticError:  # they are shown already
            return None


def serve() -> None:
    """Serve the editor at the other ends of standard input and output, until it says exit."""
    # pygls closes what it writes to, and standard output is flushed when the process ends.
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as received:
        create_server().start_io(received, os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
