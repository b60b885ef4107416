"""The formatter: the one layout of a file.

text → pieces of the parser, and comments → documents → lines

What it gives depends on the tokens, the comments with the tokens that they follow, and on where
blank lines are; not on other blanks and ends of lines. As it keeps all of these, formatting what is
formatted changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby

from nerva_dsl.collection import paused_collection
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.grammar.automaton import Automaton
from nerva_dsl.grammar.documents import INDENTATION, Comment, Printed, lay_out
from nerva_dsl.grammar.layout import CLOSING, CONTINUES, OPENING, Block, Lexeme, Piece, split
from nerva_dsl.grammar.lexer import comments, lexemes
from nerva_dsl.grammar.parser import parse_all
from nerva_dsl.grammar.printing import CommentedLexeme, Printer, Statement
from nerva_dsl.grammar.tables import tables
from nerva_dsl.record import Record
from nerva_dsl.source import Source

WIDTH = 100
"""Columns of a line."""

COMMENT_COLUMN = 37
"""Where comments behind code begin, from 0; behind longer code two blanks after it."""


def format_source(source: Source) -> str:
    """The text of a file in the canonical layout.

    Raises:
        DiagnosticError: with every syntax error; such a file has no layout.
    """
    with paused_collection():
        _, problems = parse_all(source)
        if problems:
            raise DiagnosticError(problems)
        before = _Content.of(source)
        lines = [line for run in _runs(_Reader(before).entries()) for line in _print_run(run)]
        text = "".join(f"{line}\n" for line in _with_comments(lines))
        if _Content.of(Source(source.name, text)).kept() != before.kept():
            raise RuntimeError(f"the formatter would have changed what {source.name} says")
        return text


class _Content(Record):
    """What is in a file without syntax errors: its statements and blocks, and its comments."""

    source: Source
    parts: tuple[Piece | Block, ...]
    comments: tuple[Lexeme, ...]

    @classmethod
    def of(cls, source: Source) -> _Content:
        """The content of a file."""
        return cls(source, tuple(split(lexemes(source))), tuple(comments(source)))

    def kept(self) -> tuple[list[str], list[str]]:
        """What formatting keeps: the tokens, but for those that end statements, and the comments.

        A token's text says its kind.
        """
        tokens: list[str] = []
        for part in self.parts:
            pieces = [part] if isinstance(part, Piece) else [part.header, *part.lines]
            for piece in pieces:
                tokens += map(str, piece.tokens)
                tokens.append("\n")
        return tokens, [_text(comment) for comment in self.comments]


class _Entry(Record):
    """A statement, header, line or closing brace, or a comment on a line of its own.

    Attributes:
        statement: None for a comment.
        comment: by itself, or behind the statement.
        depth: 1 in a block, else 0.
        blank: whether a blank line stands before it.
    """

    statement: Statement | None
    comment: str
    depth: int
    blank: bool


class _Reader:
    """Brings statements and comments in their order.

    Args:
        content: of the file.
    """

    def __init__(self, content: _Content) -> None:
        self._source = content.source
        self._parts = content.parts
        self._comments = content.comments
        self._starts = [comment.span.start for comment in self._comments]
        self._taken = 0
        self._end = 0
        self._opened = True  # at the beginning of the file or of a block: no blank line there

    def entries(self) -> Iterator[_Entry]:
        """All of them."""
        for part in self._parts:
            if isinstance(part, Piece):
                yield from self._piece(part, 0)
                continue
            yield from self._block(part)
        yield from self._comments_before(len(self._source.text), 0)

    def _block(self, block: Block) -> Iterator[_Entry]:
        assert block.closing is not None, "a block that is not closed is a syntax error"
        yield from self._piece(block.header, 0)
        self._opened = True
        for line in block.lines:
            yield from self._piece(line, 1)
        closing = block.closing.span
        yield from self._comments_before(closing.start, 1)
        self._opened = True
        yield self._entry(Statement("", (), "}"), 0, closing.start, closing.end)

    def _piece(self, piece: Piece, depth: int) -> Iterator[_Entry]:
        span = piece.span
        yield from self._comments_before(span.start, depth)
        inside = self._take(span.end)
        commented = [*_attach(piece.tokens, inside)] if inside else piece.tokens
        statement = _automaton(piece.start).parse(commented)
        yield self._entry(statement, depth, span.start, span.end)

    def _entry(self, statement: Statement, depth: int, start: int, end: int) -> _Entry:
        """A statement from one offset to another, with a comment behind it on its line."""
        blank = self._blank(start)
        self._end = end
        following = self._comments[self._taken : self._taken + 1]
        text = self._source.text
        behind = ""
        if following and not text[end : following[0].span.start].strip(" \t\f;"):
            (comment,) = self._take(following[0].span.end)
            behind = _text(comment)
            self._end = comment.span.end
        return _Entry(statement, behind, depth, blank)

    def _comments_before(self, offset: int, depth: int) -> Iterator[_Entry]:
        """The comments up to an offset, each of which has a line of its own."""
        for comment in self._take(offset):
            blank = self._blank(comment.span.start)
            self._end = comment.span.end
            yield _Entry(None, _text(comment), depth, blank)

    def _take(self, offset: int) -> Sequence[Lexeme]:
        """The next comments, up to an offset."""
        first, self._taken = self._taken, bisect_left(self._starts, offset)
        return self._comments[first : self._taken]

    def _blank(self, start: int) -> bool:
        """Whether a blank line stands before an offset, after what came last."""
        opened, self._opened = self._opened, False
        return not opened and self._source.text.count("\n", self._end, start) > 1


def _attach(lexemes: Sequence[Lexeme], inside: Sequence[Lexeme]) -> Iterator[Lexeme]:
    """Tokens with the comments that stand between them, or before them where no line may end."""
    remaining = deque(inside)
    waiting: list[Comment] = []
    for lexeme, following in zip(lexemes, [*lexemes[1:], None], strict=True):
        end = lexeme.span.end
        while following is not None and remaining and remaining[0].span.end <= following.span.start:
            comment = remaining.popleft()
            trailing = "\n" not in comment.span.source.text[end : comment.span.start]
            waiting.append(Comment(_text(comment), trailing))
        may_end = lexeme.type in _MAY_END or (following is not None and following.type in CLOSING)
        if waiting and may_end:
            yield CommentedLexeme(lexeme.type, lexeme.text, lexeme.span, tuple(waiting))
            waiting.clear()
        else:
            yield lexeme


_MAY_END = CONTINUES | {*OPENING, "SEMICOLON"}
"""Tokens behind which lines may end in the layout; so they may before a closing bracket."""


def _text(comment: Lexeme) -> str:
    return str(comment).rstrip()


def _runs(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    """Entries in runs whose columns are aligned: of one kind, one below the other."""
    run: list[_Entry] = []
    for entry in entries:
        if run and (entry.blank or _kind(entry) != _kind(run[-1])):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _kind(entry: _Entry) -> tuple[str, int]:
    return entry.statement.kind if entry.statement else "", entry.depth


def _print_run(run: Sequence[_Entry]) -> Iterator[Printed]:
    columns = [entry.statement.columns for entry in run if entry.statement is not None]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    for entry in run:
        if entry.blank:
            yield Printed("")
        indentation = INDENTATION * entry.depth
        if entry.statement is None:
            yield Printed("", entry.comment, indentation)
            continue
        cells = zip(entry.statement.columns, widths, strict=True)
        prefix = "".join(f"{cell:{width}} " for cell, width in cells)
        lines = lay_out(entry.statement.rest, width=WIDTH, indentation=indentation, prefix=prefix)
        lines[-1].comment = entry.comment
        yield from lines


def _with_comments(lines: Sequence[Printed]) -> Iterator[str]:
    """The texts of lines; comments behind code are aligned in neighbouring lines."""
    for behind, neighbours in groupby(lines, lambda line: bool(line.code and line.comment)):
        together = list(neighbours)
        column = max(COMMENT_COLUMN, *(len(line.code) + 2 for line in together))
        for line in together:
            if behind:
                yield f"{line.code:{column}}{line.comment}"
            else:
                yield line.code or " " * line.indentation * bool(line.comment) + line.comment


@cache
def _automaton(start: str) -> Automaton:
    return Automaton(tables(), start, Printer())
