"""The lexer: from the text of a source to its tokens.

There is a terminal for every character, so that this cannot fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate

from nerva_dsl.grammar.layout import Lexeme
from nerva_dsl.grammar.tables import tables
from nerva_dsl.source import Source, Span


def lexemes(source: Source) -> list[Lexeme]:
    """The tokens of a source.

    They are those of Lark's own lexer, which takes ten times as long: it counts lines, and makes a
    token that does not know its source.
    """
    ignored = frozenset(tables().ignored)
    return [
        Lexeme(kind, text, Span(source, end - len(text), end))
        for kind, text, end in _scanned(source)
        if kind not in ignored
    ]


def comments(source: Source) -> list[Lexeme]:
    """The comments of a source, which `lexemes` leaves out."""
    return [lexeme for lexeme in whole(source) if lexeme.type == "COMMENT"]


def whole(source: Source) -> Iterator[Lexeme]:
    """The tokens of a source with blanks and comments: all of its text."""
    for kind, text, end in _scanned(source):
        yield Lexeme(kind, text, Span(source, end - len(text), end))


def terminals() -> dict[str, str]:
    """The regular expression of every terminal of the grammar."""
    return tables().terminals


def _scanned(source: Source) -> Iterator[tuple[str, str, int]]:
    """The terminal of each token, its text, and the offset of its end."""
    texts: list[str] = _scanner().findall(source.text)
    return zip(map(_Kinds().__getitem__, texts), texts, accumulate(map(len, texts)), strict=True)


class _Kinds(dict[str, str]):
    """The terminals of texts. Each text is looked at once: it says of which terminal it is."""

    def __missing__(self, text: str) -> str:
        match = _classifier().fullmatch(text)
        assert match is not None  # it has been found with the same expressions
        kind = self[text] = _words().get(text) or str(match.lastgroup)
        return kind


@cache
def _words() -> dict[str, str]:
    """The words that are no names, with the terminal of each."""
    return {text: name for name, text in tables().symbols.items() if text.isidentifier()}


def _tried() -> dict[str, str]:
    """The expressions of all terminals in the order in which they are tried, words being names."""
    known, words = tables(), frozenset(_words().values())
    return {name: known.terminals[name] for name in known.tried if name not in words}


@cache
def _scanner() -> re.Pattern[str]:
    """What finds the texts. It has no groups, which take longer than all else that it does."""
    return re.compile("|".join(f"(?:{text})" for text in _tried().values()))


@cache
def _classifier() -> re.Pattern[str]:
    """What has a group for each terminal."""
    return re.compile("|".join(f"(?P<{name}>{text})" for name, text in _tried().items()))
