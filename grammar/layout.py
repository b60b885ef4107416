"""Layout: from the tokens of a file to the pieces that are parsed by themselves.

A newline or a `;` ends a statement, except inside `(` and `[` and after `=`, `,`, an infix
operator, `then` and `else`. A mistake should stay inside its statement, so brackets and braces that
are never closed end where the next statement evidently begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nerva_dsl.record import Record
from nerva_dsl.source import Span

MAX_NESTING = 256


def kinds(names: str) -> frozenset[str]:
    """A set of terminals, from their names with blanks between."""
    return frozenset(names.split())


COMPARISONS = kinds("LESS AT_MOST GREATER AT_LEAST EQUAL UNEQUAL")
OPERATORS = COMPARISONS | kinds("PLUS MINUS STAR SLASH DOUBLE_SLASH PERCENT CARET AND OR")
CONTINUES = OPERATORS | kinds("EQUALS COMMA THEN ELSE")
"""After these a line goes on."""

_BLOCK_LINES = {"TRAIN": "setting", "REGROW": "setting", "OPTIMIZER": "update", "LAYER": "step"}
"""First word of a block, and the start rule of its lines."""

_NOTABLE = kinds("NEWLINE SEMICOLON LBRACE RBRACE LPAR RPAR LSQB RSQB")
"""What ends a statement, or may keep it open."""

OPENING = {"LPAR": "RPAR", "LSQB": "RSQB"}
CLOSING = frozenset(OPENING.values())

_FILE_ONLY = kinds(
    "MODEL PARAM LET INPUT TARGET SPARSITY OUTPUT METRIC IMPORT FUNCTION SCHEDULE LAYER TRAIN"
)
"""Words that begin a statement of a file and stand nowhere else."""

_STARTS = _FILE_ONLY | {"LOSS", "STATE", "RETURN"}


class Lexeme(Record):
    """A token: the terminal that it is, its text and its place."""

    type: str
    text: str
    span: Span

    def __str__(self) -> str:
        """The text."""
        return self.text


class Piece(Record):
    """The tokens of one statement, header or line.

    Attributes:
        start: the grammar's start rule for it.
        tokens: at least one; no newlines among them.
        end: the place after the last token.
        too_deep: the bracket that nests too deeply, if one does; such a piece is not parsed.
        misplaced: the token at the beginning of a line that belongs at the end of the line before,
            if there is one; such a piece is not parsed either.
    """

    start: str
    tokens: tuple[Lexeme, ...]
    end: Span
    too_deep: Lexeme | None = None
    misplaced: Lexeme | None = None

    @property
    def span(self) -> Span:
        """All of it."""
        return self.tokens[0].span.to(self.tokens[-1].span)


class Block(Record):
    """A header, the lines after it, and the closing brace, or None if it is missing."""

    header: Piece
    lines: tuple[Piece, ...]
    closing: Lexeme | None


class _Reader:
    """Reads pieces from a list of tokens."""

    def __init__(self, tokens: Iterable[Lexeme]) -> None:
        self._tokens = list(tokens)
        self._at = 0

    def pieces(self) -> Iterator[Piece | Block]:
        while (token := self._skip_ends()) is not None:
            piece = self._piece("header" if token.type in _BLOCK_LINES else "statement")
            if token.type in _BLOCK_LINES and piece.tokens[-1].type == "COLON":
                yield Block(piece, self._indented(_BLOCK_LINES[token.type]), None)
            elif piece.tokens[-1].type == "LBRACE" or (
                token.type in _BLOCK_LINES and self._brace_is_missing()
            ):
                lines, closing = self._body(_BLOCK_LINES.get(token.type, "update"))
                yield Block(piece, lines, closing)
            else:
                yield piece

    def _brace_is_missing(self) -> bool:
        """Whether a body follows a header without its brace; a brace on the next line is skipped.

        The header is wrong then, but its lines should not be taken for statements.
        """
        self._skip_ends()
        if self._kind() == "LBRACE":
            self._at += 1
            return True
        return self._next_brace() == "RBRACE"

    def _indented(self, start: str) -> tuple[Piece, ...]:
        """The lines of a body that has no braces, as in Python: up to one that is not indented.

        The header is wrong then, too.
        """
        lines: list[Piece] = []
        while (token := self._skip_ends()) is not None and token.span.column > 1:
            if token.type == "RBRACE":  # it closes what was never opened
                self._at += 1
                break
            lines.append(self._piece(start))
        return tuple(lines)

    def _next_brace(self) -> str:
        """The kind of the next brace, if there is one."""
        ahead = (self._tokens[at].type for at in range(self._at, len(self._tokens)))
        return next((kind for kind in ahead if kind in ("LBRACE", "RBRACE")), "")

    def _skip_ends(self) -> Lexeme | None:
        """Skip empty statements; the next token, or None at the end."""
        while (token := self._peek()) is not None and token.type in ("NEWLINE", "SEMICOLON"):
            self._at += 1
        return token

    def _peek(self, ahead: int = 0) -> Lexeme | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def _kind(self, ahead: int = 0) -> str:
        token = self._peek(ahead)
        return token.type if token is not None else ""

    def _piece(self, start: str) -> Piece:
        tokens: list[Lexeme] = []
        open_brackets: list[str] = []
        too_deep: Lexeme | None = None
        misplaced: Lexeme | None = None
        everything = self._tokens
        while self._at < len(everything):
            begin = at = self._at
            while at < len(everything) and everything[at].type not in _NOTABLE:
                at += 1
            if at > begin:
                tokens += everything[begin:at]
                self._at = at
                continue
            token = everything[at]
            kind = token.type
            if kind == "NEWLINE":
                while self._kind() == "NEWLINE":
                    self._at += 1
                if not (open_brackets or tokens[-1].type in CONTINUES):
                    if self._kind() not in CONTINUES:
                        break
                    misplaced = misplaced or self._peek()
                if self._is_start(after=tokens[-1].type, inside=bool(open_brackets)):
                    break
                continue
            if kind == "SEMICOLON" and not open_brackets:
                break
            if kind == "RBRACE" and (tokens or start != "statement"):
                break
            self._at += 1
            tokens.append(token)
            if kind in OPENING:
                open_brackets.append(OPENING[kind])
                if len(open_brackets) > MAX_NESTING and too_deep is None:
                    too_deep = token
            elif kind in CLOSING and open_brackets and open_brackets[-1] == kind:
                open_brackets.pop()
            elif kind == "RBRACE" or (kind == "LBRACE" and not open_brackets):
                break
        last = tokens[-1].span
        return Piece(
            start, tuple(tokens), Span(last.source, last.end, last.end), too_deep, misplaced
        )

    def _is_start(self, after: str, inside: bool) -> bool:
        """Whether a line that could go on evidently begins a statement instead."""
        kind, following = self._kind(), self._kind(1)
        if kind in _STARTS or (kind == "OPTIMIZER" and following == "NAME"):
            return True
        if kind in ("NAME", "OPTIMIZER", "REGROW") and following == "EQUALS":
            return not inside or after not in ("COMMA", "LPAR", "SEMICOLON")
        return False

    def _body(self, start: str) -> tuple[tuple[Piece, ...], Lexeme | None]:
        """The lines up to the closing brace, and that brace."""
        brace = self._next_brace()
        lines: list[Piece] = []
        while (token := self._skip_ends()) is not None:
            if token.type == "RBRACE":
                self._at += 1
                return tuple(lines), token
            definition = token.type in ("OPTIMIZER", "LOSS", "REGROW") and self._kind(1) != "EQUALS"
            if brace != "RBRACE" and (token.type in _FILE_ONLY or definition):
                break
            lines.append(self._piece(start))
        return tuple(lines), None


def split(tokens: Iterable[Lexeme]) -> Iterator[Piece | Block]:
    """Split the tokens of a file into statements and blocks."""
    return _Reader(tokens).pieces()
