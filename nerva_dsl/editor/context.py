"""Where in a file an offset is: its statement, its block, its brackets, and what it is assigned to.

It is found from the tokens, so that it is known of half a statement too.
"""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl.grammar.layout import (
    CLOSING,
    CONTINUES,
    OPENING,
    Block,
    Lexeme,
    Piece,
    split,
)
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.record import Record
from nerva_dsl.source import Source


class Context(Record):
    """What comes before an offset.

    Attributes:
        start: the grammar's start rule for the statement.
        before: the tokens of the statement before the offset.
        header: those of the header of the block around it; none if there is no block.
    """

    start: str
    before: tuple[Lexeme, ...]
    header: tuple[Lexeme, ...]

    @property
    def block(self) -> str:
        """The first word of the block, such as `train`; empty outside."""
        return str(self.header[0]) if self.header else ""

    @property
    def callee(self) -> str:
        """What is called in the innermost open brackets; empty if nothing is."""
        opening = _innermost(self.before)
        if opening is None or opening < 1 or self.before[opening].type != "LPAR":
            return ""
        name = self.before[opening - 1]
        return str(name) if name.type == "NAME" else ""

    @property
    def argument(self) -> tuple[Lexeme, ...]:
        """The tokens of the argument, from its comma or bracket on; outside, all of them."""
        depth = 0
        for at in range(len(self.before) - 1, -1, -1):
            kind = self.before[at].type
            depth += (kind in CLOSING) - (kind in OPENING)
            if depth < 0 or (depth == 0 and kind in ("COMMA", "SEMICOLON")):
                return self.before[at + 1 :]
        return self.before

    @property
    def key(self) -> str:
        """What is assigned to, in the innermost argument or else around it, such as `weights`."""
        depth, passed = 0, False
        for at in range(len(self.before) - 1, 0, -1):
            kind = self.before[at].type
            if kind in CLOSING:
                depth += 1
            elif kind in OPENING and depth:
                depth -= 1
            elif kind in OPENING:
                passed = False
            elif kind in ("COMMA", "SEMICOLON") and not depth:
                passed = True
            elif kind == "EQUALS" and not depth and not passed:
                return str(self.before[at - 1])
        return ""


_START = {"train": "setting", "regrow": "setting", "optimizer": "update", "layer": "step"}


def context_at(source: Source, offset: int) -> Context:
    """The context of an offset; a name that ends there is not part of it."""
    text = source.text[:offset]
    end = len(text.rstrip(_NAME_CHARACTERS))
    before = Source(source.name, text[:end])
    parts = list(split(lexemes(before)))
    if not parts:
        return Context("statement", (), ())
    last = parts[-1]
    if isinstance(last, Block):
        if last.closing is not None:
            return Context("statement", (), ())
        header = last.header.tokens
        start = _START.get(str(header[0]), "update")
        return Context(start, _open(last.lines[-1:], text[:end]), header)
    if last.start == "header":
        return Context("header", _open([last], text[:end]), ())
    return Context("statement", _open([last], text[:end]), ())


_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


def _open(pieces: Sequence[Piece], text: str) -> tuple[Lexeme, ...]:
    """The tokens of the last piece, if what follows still belongs to it."""
    if not pieces:
        return ()
    tokens = pieces[-1].tokens
    rest = text[tokens[-1].span.end :]
    inside = _innermost(tokens) is not None
    goes_on = inside or tokens[-1].type in CONTINUES
    ended = ";" in rest if goes_on and not inside else ("\n" in rest or ";" in rest)
    if inside or not ended:
        return tokens
    return ()


def _innermost(tokens: Sequence[Lexeme]) -> int | None:
    """The position of the innermost bracket that is open."""
    stack: list[int] = []
    for at, token in enumerate(tokens):
        if token.type in OPENING:
            stack.append(at)
        elif token.type in CLOSING and stack:
            stack.pop()
    return stack[-1] if stack else None
