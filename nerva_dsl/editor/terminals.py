"""What each terminal of the grammar is to a reader, for all that highlights the language."""

from __future__ import annotations

from enum import Enum, auto

from nerva_dsl.grammar.layout import COMPARISONS, kinds
from nerva_dsl.grammar.lexer import terminals


class Role(Enum):
    """What is highlighted alike."""

    KEYWORD = auto()
    CONTROL = auto()
    WORD_OPERATOR = auto()
    TRUTH = auto()
    NAME = auto()
    NUMBER = auto()
    STRING = auto()
    OPERATOR = auto()
    PUNCTUATION = auto()
    COMMENT = auto()
    BLANK = auto()
    ERROR = auto()


_MEMBERS = {
    Role.CONTROL: kinds("IF THEN ELSE"),
    Role.WORD_OPERATOR: kinds("AND OR NOT IN"),
    Role.TRUTH: kinds("TRUE FALSE"),
    Role.NAME: kinds("NAME"),
    Role.NUMBER: kinds("INTEGER REAL"),
    Role.STRING: kinds("STRING"),
    Role.OPERATOR: COMPARISONS
    | kinds("EQUALS PLUS MINUS STAR SLASH DOUBLE_SLASH PERCENT CARET DOTS"),
    Role.PUNCTUATION: kinds("COLON COMMA SEMICOLON LPAR RPAR LSQB RSQB LBRACE RBRACE"),
    Role.COMMENT: kinds("COMMENT"),
    Role.BLANK: kinds("BLANK NEWLINE"),
    Role.ERROR: kinds("BAD_NUMBER BAD_NAME OPEN_STRING STRANGER"),
}
"""All but the keywords, which are the words that are left."""

DEFINING = ("FUNCTION", "LOSS", "SCHEDULE", "OPTIMIZER", "LAYER")
"""Keywords before the name of a definition."""


def role(terminal: str) -> Role:
    """What a terminal is."""
    return next((role for role, members in _MEMBERS.items() if terminal in members), Role.KEYWORD)


def words(*roles: Role) -> list[str]:
    """The words of the language that have one of some roles."""
    return [text for name, text in terminals().items() if role(name) in roles and text.isalpha()]
