"""The language for Pygments: `pygmentize -l nerva`, and the blocks of these pages.

The tokens are those of the compiler's own scanner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pygments.lexer import Lexer
from pygments.token import (
    Comment,
    Error,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Whitespace,
    _TokenType,
)

from nerva_dsl.editor.terminals import DEFINING, Role, role
from nerva_dsl.grammar.layout import Lexeme
from nerva_dsl.grammar.lexer import whole
from nerva_dsl.source import Source

_TYPES = {
    Role.KEYWORD: Keyword.Declaration,
    Role.CONTROL: Keyword,
    Role.WORD_OPERATOR: Operator.Word,
    Role.TRUTH: Keyword.Constant,
    Role.NAME: Name,
    Role.STRING: String,
    Role.OPERATOR: Operator,
    Role.PUNCTUATION: Punctuation,
    Role.COMMENT: Comment.Single,
    Role.BLANK: Whitespace,
    Role.ERROR: Error,
}


class NervaLexer(Lexer):
    """A lexer of the `.nerva` language."""

    name = "Nerva"
    # All but the first are the documentation's: what is tested of a block is in its name.
    aliases: ClassVar[list[str]] = ["nerva", "nerva-fragment", "nerva-as-written", "nerva-wrong"]
    filenames: ClassVar[list[str]] = ["*.nerva"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Offset, type and text of every token, blanks included."""
        lexemes = list(whole(Source("", text)))
        meant = [lexeme for lexeme in lexemes if role(lexeme.type) is not Role.BLANK]
        names = {
            lexeme.span.start: _name(meant, at)
            for at, lexeme in enumerate(meant)
            if lexeme.type == "NAME"
        }
        for lexeme in lexemes:
            start = lexeme.span.start
            kind = names.get(start) or _TYPES.get(role(lexeme.type)) or _number(lexeme)
            yield start, kind, str(lexeme)


def _number(lexeme: Lexeme) -> _TokenType:
    return Number.Integer if lexeme.type == "INTEGER" else Number.Float


def _name(lexemes: Sequence[Lexeme], at: int) -> _TokenType:
    """What a name is, by its neighbours."""
    before = lexemes[at - 1].type if at else ""
    after = lexemes[at + 1].type if at + 1 < len(lexemes) else ""
    if before == "COLON":
        return Keyword.Type
    if after == "LPAR":
        return Name.Function if before in DEFINING else Name.Builtin
    if after == "EQUALS" and before in ("LPAR", "COMMA", "SEMICOLON", "LEARN"):
        return Name.Attribute
    return Name.Namespace if before == "MODEL" else Name.Variable
