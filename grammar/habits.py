"""Habits from other languages: what is written there, and what it is here.

A message of the parser says what was expected. Where what stands there is how Python, C, YAML or
PyTorch write the same thing, these say how it is written here.
"""

from __future__ import annotations

from collections.abc import Set

from nerva_dsl.errors import Diagnostic
from nerva_dsl.grammar.layout import OPERATORS, Lexeme, Piece

_CONDITION = "write `if condition then a else b`"
_COMMENT = "a comment starts with `#`"

_WORDS = {
    **dict.fromkeys(("def", "func", "fn", "fun", "lambda", "activation"), "function"),
    **dict.fromkeys(("class", "module", "block"), "layer"),
    **dict.fromkeys(("const", "val", "var", "auto"), "let"),
    **dict.fromkeys(("parameter", "hyperparameter"), "param"),
    **dict.fromkeys(("include", "use", "from", "require"), "import"),
    **dict.fromkeys(("network", "net"), "model"),
    **dict.fromkeys(("inputs", "in_"), "input"),
    **dict.fromkeys(("targets", "labels"), "target"),
}
"""First words of statements elsewhere, and ours."""

_MODULES = frozenset(("nn", "torch", "np", "numpy", "tf", "keras", "math", "optim", "F"))


def another_word(piece: Piece) -> str:
    """Our word for what a statement begins with in another language; empty if it is none."""
    first, *rest = piece.tokens
    follows = rest[0].type if rest else ""
    return _WORDS.get(str(first), "") if follows in ("NAME", "STRING") else ""


def foreign(piece: Piece, token: Lexeme) -> Diagnostic | None:
    """What is wrong with a piece, if that is another token than the one that is not expected."""
    first, at = piece.tokens[0], _index(piece, token)
    word = another_word(piece)
    if word and at == 1:
        rest = f"{_text(piece, 1, 2)}(x) {{ … }}" if word == "layer" else _text(piece, 1)
        return Diagnostic(
            "N0101",
            f"`{first}` begins no statement",
            first.span,
            help=f"write `{word} {rest}`",
        )
    before = [other.type for other in piece.tokens[max(at - 2, 0) : at]]
    if before in (["INTEGER", "PERCENT"], ["REAL", "PERCENT"]):
        number, percent = piece.tokens[at - 2 : at]
        return Diagnostic(
            "N0101",
            "`%` needs a number on its right: it is the remainder of a division",
            number.span.to(percent.span),
            help=f"for {number} % write {float(number.text) / 100:.12g}",
        )
    return None


def advice(piece: Piece, token: Lexeme, expected: Set[str]) -> str:
    """How what was meant with an unexpected token is written here; empty if that is not known."""
    kinds, at = [other.type for other in piece.tokens], _index(piece, token)
    first, text = piece.tokens[0], str(token)
    following = kinds[at + 1] if at + 1 < len(kinds) else ""
    if kinds[at] == "STRANGER":
        return _CONDITION if text == "?" else _dotted(piece, at) if text == "." else ""
    match kinds[at]:
        case "DOUBLE_SLASH" if at == 0:
            return _COMMENT
        case "STRING" if at == 1 and expected == {"NAME"}:
            return f"a name has no quotes: write `{first} {text[1:-1]}`"
        case "NAME" if kinds[:at] == ["IMPORT"]:
            return f'write `import "{_text(piece, 1)}"`'
        case "IF" if "IF" not in expected:
            return _CONDITION
        case "COLON" if "THEN" in expected or "ELSE" in expected:
            return _CONDITION
        case "COLON" if expected == {"EQUALS"}:
            return f"write `{_text(piece, 0, at)} = {_text(piece, at + 1)}`"
        case "COMMA" if piece.start == "setting" and "NAME" not in expected:
            return "a setting stands on a line of its own, with no comma after it"
        case "EQUAL" if expected == {"EQUALS"}:
            return "`=` defines; `==` compares"
        case "EQUALS" if expected == {"LBRACE"} and first.type in ("LAYER", "OPTIMIZER"):
            return _body(piece, at)
        case "EQUALS" if kinds[0] in ("FUNCTION", "LOSS", "SCHEDULE", "OPTIMIZER", "LAYER"):
            if expected >= {"RPAR", "SEMICOLON"}:
                before, after = _text(piece, 0, at - 1).rstrip(" ,"), _text(piece, at - 1, at + 2)
                return f"options stand after a `;`: `{before}; {after}, …)`"
    if first.type in ("INPUT", "TARGET"):
        return _declaration(piece, at)
    if expected == {"LBRACE"} and first.type in ("TRAIN", "REGROW"):
        return f"write `{first} {{`, a setting on each line, and `}}`"
    if expected == {"EQUALS"} and kinds[at] in OPERATORS and following == "EQUALS":
        return f"a name is defined once: write another, as in `{first}2 = {first} {text} …`"
    if expected == {"EQUALS"} and kinds[:2] == ["NAME", "LPAR"] and at == 1:
        return "a statement gives a value a name: `h = …`"
    return ""


def advice_at_end(piece: Piece, expected: Set[str]) -> str:
    """As `advice`, of a piece that ends too early."""
    first = piece.tokens[0]
    if first.type in ("INPUT", "TARGET"):
        return _declaration(piece, len(piece.tokens))
    if expected == {"EQUALS"} and len(piece.tokens) == 1:
        return f"a statement gives a value a name: `{first} = …`"
    return ""


def at_the_beginning(token: Lexeme) -> str:
    """What else may have been meant with an operator at the beginning of a line."""
    return _COMMENT if token.type == "DOUBLE_SLASH" else ""


def _declaration(piece: Piece, at: int) -> str:
    """How an input or target is declared that is wrong from a token on."""
    if at < 2:
        return ""
    rest = [token for token in piece.tokens[2:] if token.type not in ("COLON", "EQUALS")]
    words = [str(token) for token in rest if token.type == "NAME"]
    sizes = [str(token) for token in rest if token.type == "INTEGER"]
    kind = "class" if piece.tokens[0].type == "TARGET" else "float32"
    kind, size = (words or [kind])[0], (sizes or ["10" if kind == "class" else "64"])[0]
    return f"write `{piece.tokens[0]} {piece.tokens[1]} : {kind}[{size}]`"


def _body(piece: Piece, at: int) -> str:
    """The lines of a layer or optimizer that is written as a function is."""
    line = "return …" if piece.tokens[0].type == "LAYER" else "w = …"
    return f"its lines stand in braces: `{_text(piece, 0, at)} {{`, `{line}`, `}}`"


def _dotted(piece: Piece, at: int) -> str:
    """A method or a module's function, as it is written here."""
    around = [token.type for token in piece.tokens[max(at - 1, 0) : at + 3]]
    if around != ["NAME", "STRANGER", "NAME", "LPAR"]:
        return ""
    owner, _, called = (str(token) for token in piece.tokens[at - 1 : at + 2])
    if owner in _MODULES:
        return f"there are no modules: write `{called}(…)`"
    return f"a value has no methods: write `{called}({owner}, …)`"


def _index(piece: Piece, token: Lexeme) -> int:
    return next(index for index, other in enumerate(piece.tokens) if other is token)


def _text(piece: Piece, begin: int, end: int | None = None) -> str:
    """What is written from a token up to another, on one line."""
    tokens = piece.tokens[begin:end]
    if not tokens:
        return "…"
    text = tokens[0].span.to(tokens[-1].span).text
    return " ".join(text.split()) if len(text) < 60 else f"{text[:50].split(chr(10))[0]} …"
