"""Arithmetic of constants: integers of 64 bits, float64, truth values, strings and lists.

Everything is bounded: no operation takes long or makes a large object, whatever its operands.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from nerva_dsl.check.terms import Constant, describe, is_number

MAX_INTEGER = 2**63 - 1
_MAX_DIGITS = 400  # more than any float64 or 64-bit integer needs


class Fault(Exception):  # noqa: N818 -- a fault of the file, which becomes a diagnostic
    """A constant operation that has no result.

    Attributes:
        code: of the diagnostic.
        message: of the diagnostic.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def number(text: str) -> int | float:
    """The value of a number as written."""
    if text.isdecimal():
        if len(text.lstrip("0")) > 19:
            raise Fault("N0301", f"{shortened(text)} does not fit in 64 bits")
        return _bounded(int(text), text)
    if len(text) > _MAX_DIGITS:
        raise Fault("N0301", "this number has too many digits")
    return _bounded(float(text), text)


def unary(symbol: str, value: Constant) -> Constant:
    """`-x` or `not x`."""
    if symbol == "not":
        if not isinstance(value, bool):
            raise Fault("N0304", f"`not` needs a truth value, not {describe(value)}")
        return not value
    if not is_number(value):
        raise Fault("N0304", f"`-` needs a number, not {describe(value)}")
    return _bounded(-value, f"-({show(value)})")  # type: ignore[operator]


def binary(symbol: str, left: Constant, right: Constant) -> Constant:
    """An infix operation, a comparison, `and` or `or`."""
    if symbol in ("and", "or"):
        for side in (left, right):
            if not isinstance(side, bool):
                raise Fault("N0304", f"`{symbol}` needs truth values, not {describe(side)}")
        return (left and right) if symbol == "and" else (left or right)
    both_numbers = is_number(left) and is_number(right)
    if symbol in ("==", "!="):
        if not both_numbers and type(left) is not type(right):
            raise Fault("N0304", f"cannot compare {describe(left)} with {describe(right)}")
        return (left == right) == (symbol == "==")
    if not both_numbers:
        wrong = left if not is_number(left) else right
        raise Fault("N0304", f"`{symbol}` needs numbers, not {describe(wrong)}")
    if symbol in _COMPARISONS:
        return bool(_COMPARISONS[symbol](left, right))
    text = f"({show(left)})" if is_number(left) and left < 0 else show(left)  # type: ignore[operator]
    text += f" {symbol} {show(right)}"
    if symbol in ("/", "//", "%") and right == 0:
        raise Fault("N0302", f"division by zero: {text}")
    if symbol == "^":
        return _power(left, right, text)  # type: ignore[arg-type]
    try:
        result = _ARITHMETIC[symbol](left, right)
        if symbol == "//":
            result = math.floor(result)
    except OverflowError:
        raise _too_large(text) from None
    return _bounded(result, text)


def call(name: str, arguments: Sequence[Constant]) -> Constant:
    """One of `FUNCTIONS`."""
    if name == "len":
        _count(name, arguments, 1)
        if not isinstance(arguments[0], tuple | str):
            raise Fault("N0304", f"`len` needs a list or a string, not {describe(arguments[0])}")
        return len(arguments[0])
    if name in ("min", "max") and len(arguments) == 1 and isinstance(arguments[0], tuple):
        arguments = arguments[0]
    for argument in arguments:
        if not is_number(argument):
            raise Fault("N0304", f"`{name}` needs numbers, not {describe(argument)}")
    if name in ("min", "max"):
        if not arguments:
            raise Fault("N0205", f"`{name}` needs at least one number")
        return min(arguments) if name == "min" else max(arguments)
    _count(name, arguments, 1)
    value: Any = arguments[0]
    text = f"{name}({show(value)})"
    try:
        return _bounded(FUNCTIONS[name](value), text)
    except OverflowError:
        raise _too_large(text) from None
    except ValueError:
        raise Fault("N0303", f"{text} is not a real number") from None


def show(value: Constant) -> str:
    """A constant as it is written in the language."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case tuple():
            items = [show(item) for item in value[:4]] + (["…"] if len(value) > 4 else [])
            return f"[{', '.join(items)}]"
        case float():
            text = f"{value:.12g}"
            return f"{text}.0" if text.lstrip("-").isdigit() else text
    return str(value)


def shortened(text: str) -> str:
    """A text that fits in a message."""
    return text if len(text) <= 40 else f"{text[:24]}…{text[-8:]}"


def _power(base: float, exponent: float, text: str) -> int | float:
    if base == 0 and exponent < 0:
        raise Fault("N0302", f"division by zero: {text}")
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        # 2 ^ 63 does not fit; a base of two or more doubles at least with every step.
        if abs(base) >= 2 and exponent * (abs(base).bit_length() - 1) > 64:
            raise Fault("N0301", f"{shortened(text)} does not fit in 64 bits")
        return _bounded(
            base ** (exponent if abs(base) > 1 else 2 - exponent % 2 if exponent else 0), text
        )
    try:
        result = float(base) ** float(exponent)
    except OverflowError:
        raise _too_large(text) from None
    if isinstance(result, complex):
        raise Fault("N0303", f"{text} is not a real number")
    return _bounded(result, text)


def _bounded(value: int | float, text: str) -> int | float:
    if isinstance(value, int):
        if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            raise Fault("N0301", f"{shortened(text)} does not fit in 64 bits")
    elif not math.isfinite(value):
        raise _too_large(text)
    return value


def _too_large(text: str) -> Fault:
    return Fault("N0301", f"{shortened(text)} is out of range")


def _count(name: str, arguments: Sequence[Constant], wanted: int) -> None:
    if len(arguments) != wanted:
        raise Fault("N0205", f"`{name}` takes {wanted} argument, not {len(arguments)}")


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "abs": abs,
    "min": min,
    "max": max,
    "floor": math.floor,
    "len": len,
}
"""The functions of constant expressions."""
