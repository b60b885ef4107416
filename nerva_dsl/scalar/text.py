"""Scalar expressions as text, in the notation of the `.nerva` language."""

from __future__ import annotations

from nerva_dsl.scalar.nodes import OPERATORS, Apply, Expr, Number, Var

# Binding strength, weakest first; a call or a name binds strongest.
_STRENGTH = {
    "select": 0,
    "or": 1,
    "and": 2,
    "not": 3,
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), 4),
    "add": 5,
    "sub": 5,
    "mul": 6,
    "div": 6,
    "neg": 7,
    "pow": 8,
}
_ATOM = 9


def to_text(expression: Expr) -> str:
    """The expression as it would be written; parsing it gives the same tree back."""
    return _text(expression)[0]


def number_text(value: float) -> str:
    """A number in its shortest form that reads back to the same double."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def _text(expression: Expr) -> tuple[str, int]:
    match expression:
        case Number(value):
            negative = value < 0 or str(value).startswith("-")
            return number_text(value), _STRENGTH["neg"] if negative else _ATOM
        case Var(name):
            return name, _ATOM
        case Apply("select", (condition, then, otherwise)):
            parts = [_enclosed(part, 1) for part in (condition, then)]
            return f"if {parts[0]} then {parts[1]} else {_text(otherwise)[0]}", 0
        case Apply("neg", (Number() as argument,)):
            return f"-({_text(argument)[0]})", _STRENGTH["neg"]
        case Apply(operator, (argument,)) if OPERATORS[operator].symbol:
            symbol = OPERATORS[operator].symbol + (" " if operator == "not" else "")
            strength = _STRENGTH[operator]
            return f"{symbol}{_enclosed(argument, strength)}", strength
        case Apply(operator, (left, right)) if OPERATORS[operator].symbol:
            strength = _STRENGTH[operator]
            # `^` groups to the right, everything else to the left; comparisons do not chain.
            left_needs = strength + (operator == "pow" or strength == _STRENGTH["lt"])
            right_needs = strength + (operator != "pow")
            symbol = OPERATORS[operator].symbol
            return (
                f"{_enclosed(left, left_needs)} {symbol} {_enclosed(right, right_needs)}",
                strength,
            )
        case Apply(operator, arguments):
            return f"{operator}({', '.join(_text(a)[0] for a in arguments)})", _ATOM
    raise TypeError(f"not a scalar expression: {expression!r}")


def _enclosed(expression: Expr, strength: int) -> str:
    text, own = _text(expression)
    return text if own >= strength else f"({text})"
