"""What a parser expected, and what it got instead, in words."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Set

from nerva_dsl.errors import Diagnostic, Note
from nerva_dsl.grammar import habits
from nerva_dsl.grammar.layout import COMPARISONS, OPERATORS, Lexeme, Piece, kinds
from nerva_dsl.record import replace

_EXPRESSION = kinds("NAME INTEGER REAL STRING TRUE FALSE LPAR LSQB MINUS NOT IF")
_STATEMENT = kinds("MODEL PARAM LET INPUT TARGET")

_STRUCTURAL = kinds("IF THEN ELSE AND OR IN")

_DESCRIPTIONS = {
    "NAME": "a name",
    "INTEGER": "a number",
    "REAL": "a number",
    "STRING": "a string",
    "$END": "the end of the line",
}

_LOOKALIKES = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00d7": "*", "\u00b7": "*", "\u00f7": "/",
    "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "'": '"', "!": "not", "&": "and", "|": "or", "\u00a0": "an ordinary space",
}  # fmt: skip


def describe(expected: Set[str], symbols: Mapping[str, str]) -> str:
    """What was expected, such as "an operator, `)` or the end of the line".

    Args:
        expected: names of terminals.
        symbols: the text of each terminal that has one text only.
    """
    rest = set(expected)
    phrases: list[str] = []
    if rest >= _STATEMENT:
        return "a statement, such as `h = relu(x)`"
    if rest >= {"NAME", "INTEGER", "LPAR"}:
        phrases.append("an expression")
        rest -= _EXPRESSION
        if "OPTIMIZER" in rest:  # named arguments
            rest -= {"OPTIMIZER", "REGROW"}
    if rest >= {"NAME", "OPTIMIZER"}:
        phrases.append("a name")
        rest -= {"NAME", "OPTIMIZER", "REGROW"}
    if rest >= {"PLUS", "MINUS"}:
        phrases.append("an operator")
        rest -= OPERATORS | {"LPAR"}
    named = {_DESCRIPTIONS[kind] for kind in rest if kind in _DESCRIPTIONS}
    quoted = {f"`{symbols[kind]}`" for kind in rest if kind not in _DESCRIPTIONS}
    phrases += sorted(quoted) + sorted(named)
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " or " + phrases[-1]


def at_end(piece: Piece, expected: Set[str], symbols: Mapping[str, str]) -> Diagnostic:
    """The piece ends too early."""
    opening = unclosed(piece)
    if opening is not None:
        closing = {"(": ")", "[": "]"}[str(opening)]
        return Diagnostic(
            "N0105",
            f"`{opening}` is never closed",
            opening.span,
            help=f"put a `{closing}` where it ends",
        )
    help_ = ""
    if expected & OPERATORS == set() and "LBRACE" in expected:
        help_ = "put the `{` on this line"
    elif "ELSE" in expected:
        help_ = "every `if` has an `else`; break a long line after `then` or `else`, not before"
    help_ = help_ or habits.advice_at_end(piece, expected)
    return Diagnostic(
        "N0101",
        f"the line ends too early: expected {describe(expected, symbols)}",
        piece.end,
        help=help_,
    )


def unexpected(
    piece: Piece, token: Lexeme, expected: Set[str], symbols: Mapping[str, str]
) -> Diagnostic:
    """A token that may not stand where it stands."""
    text = str(token)
    match token.type:
        case "STRANGER":
            problem = _stranger(token)
            help_ = habits.advice(piece, token, expected)
            return replace(problem, help=help_) if help_ else problem
        case "BAD_NUMBER":
            return Diagnostic(
                "N0103",
                f"`{text}` is not a number",
                token.span,
                help="numbers look like 12, 0.5 or 1e-5; a name starts with a letter",
            )
        case "BAD_NAME":
            return Diagnostic(
                "N0102",
                f"`{text}` cannot be a name",
                token.span,
                help="names are made of the letters a to z, A to Z, digits and _",
            )
        case "OPEN_STRING":
            return Diagnostic(
                "N0104",
                "this string is never closed",
                token.span,
                help='a string ends with " on the line on which it starts',
            )
    elsewhere = habits.foreign(piece, token)
    if elsewhere is not None:
        return elsewhere
    help_ = ""
    first = token is piece.tokens[0]
    is_word = text.isalpha() and token.type in symbols
    if "NAME" in expected and is_word and token.type not in _STRUCTURAL and not first:
        return Diagnostic(
            "N0106",
            f"`{text}` is a keyword of the language and cannot be a name",
            token.span,
            help=f"choose another name, such as `{text}_`",
        )
    if token.type in COMPARISONS and "PLUS" in expected:
        help_ = "comparisons do not chain: write `a < b and b < c`"
    elif token.type == "EQUALS" and "EQUAL" in expected:
        help_ = "`=` defines; `==` compares"
    elif token.type == "LBRACE":
        help_ = "only `train` and definitions of optimizers have a body in braces"
    elif text == "*" and _follows(piece, token) == "*":
        help_ = "a power is written `x ^ y`"
    help_ = habits.advice(piece, token, expected) or help_
    notes: tuple[Note, ...] = ()
    opening = unclosed(piece, before=token)
    if opening is not None and {text, str(opening)} in ({"(", "]"}, {"[", ")"}):
        notes = (Note(opening.span, "to close this"),)
    return Diagnostic(
        "N0101",
        f"unexpected `{text}`: expected {describe(expected, symbols)}",
        token.span,
        notes=notes,
        help=help_,
    )


def misplaced(token: Lexeme) -> Diagnostic:
    """A line that begins with what should end the line before."""
    help_ = f"put the `{token}` at the end of the line before: then the line goes on"
    meant = habits.at_the_beginning(token)
    return Diagnostic(
        "N0101",
        f"a line cannot begin with `{token}`",
        token.span,
        help=f"{meant}; or {help_}" if meant else help_,
    )


def unclosed(piece: Piece, before: Lexeme | None = None) -> Lexeme | None:
    """The innermost bracket that is still open, before a token or at the end."""
    stack: list[Lexeme] = []
    for token in piece.tokens:
        if token is before:
            break
        if token.type in ("LPAR", "LSQB"):
            stack.append(token)
        elif token.type in ("RPAR", "RSQB") and stack:
            stack.pop()
    return stack[-1] if stack else None


def _follows(piece: Piece, token: Lexeme) -> str:
    """The text of the token before one."""
    at = next(index for index, other in enumerate(piece.tokens) if other is token)
    return str(piece.tokens[at - 1]) if at else ""


def _stranger(token: Lexeme) -> Diagnostic:
    character = str(token)
    shown = f"`{character}`" if character.isprintable() and character != "\u00a0" else "character"
    if not character.isascii() or not character.isprintable():
        name = unicodedata.name(character, "")
        shown += f" (U+{ord(character):04X}{' ' + name if name else ''})"
    instead = _LOOKALIKES.get(character)
    if instead is None:
        help_ = "only comments and strings may have any character"
    else:
        help_ = f"write `{instead}`" if instead[0] != "a" or instead == "and" else f"use {instead}"
    return Diagnostic("N0102", f"unexpected {shown}", token.span, help=help_)
