"""A TextMate grammar of the language, for VS Code, GitHub and others, from the same terminals.

    python -m nerva_dsl.editor.textmate FILE      # writes it

TextMate's regular expressions see one line and have no parser behind them: a name is a function if
a bracket follows, and a type if a colon comes before it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nerva_dsl.editor.terminals import DEFINING, Role, role, words
from nerva_dsl.grammar.lexer import terminals

_SCOPES = {
    Role.CONTROL: "keyword.control.nerva",
    Role.WORD_OPERATOR: "keyword.operator.word.nerva",
    Role.TRUTH: "constant.language.nerva",
    Role.KEYWORD: "keyword.other.nerva",
}
"""Scopes of words, in the order in which they are tried."""


def textmate_grammar() -> str:
    """The grammar as JSON."""
    every = terminals()
    name = f"(?:{every['NAME']})"
    defining = "|".join(every[word] for word in DEFINING)
    operators = sorted(
        (text for terminal, text in every.items() if role(terminal) is Role.OPERATOR),
        key=len,
        reverse=True,
    )
    patterns = [
        _pattern("comment.line.number-sign.nerva", every["COMMENT"]),
        _pattern("string.quoted.double.nerva", every["STRING"]),
        _pattern("invalid.illegal.nerva", every["OPEN_STRING"]),
        _captures(
            rf"\b({defining})\b\s+({name})\s*(?=\()",
            "storage.type.nerva",
            "entity.name.function.nerva",
        ),
        _captures(rf"\b({every['MODEL']})\b\s+({name})", "storage.type.nerva", "entity.name.nerva"),
        _captures(rf"(:)\s*({name})", "punctuation.separator.nerva", "support.type.nerva"),
        *(_pattern(scope, rf"\b(?:{'|'.join(words(of))})\b") for of, scope in _SCOPES.items()),
        _pattern("support.function.nerva", rf"\b{name}(?=\s*\()"),
        _captures(
            rf"(?<=[(,;])\s*({name})\s*(?=\=(?!\=))",
            "variable.parameter.nerva",
        ),
        _pattern("constant.numeric.nerva", rf"{every['REAL']}|{every['INTEGER']}"),
        _pattern("variable.other.nerva", rf"\b{name}"),
        _pattern("invalid.illegal.nerva", rf"{every['BAD_NUMBER']}|{every['BAD_NAME']}"),
        _pattern("keyword.operator.nerva", "|".join(operators)),
    ]
    grammar = {
        "name": "Nerva",
        "scopeName": "source.nerva",
        "fileTypes": ["nerva"],
        "patterns": patterns,
    }
    return json.dumps(grammar, indent=2) + "\n"


def _pattern(scope: str, expression: str) -> dict[str, object]:
    return {"name": scope, "match": expression}


def _captures(expression: str, *scopes: str) -> dict[str, object]:
    """A pattern whose groups have scopes of their own."""
    captures = {str(number): {"name": scope} for number, scope in enumerate(scopes, 1)}
    return {"match": expression, "captures": captures}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(textmate_grammar(), encoding="utf-8")
