"""Scalar expressions as C."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nerva_dsl.codegen.names import Names
from nerva_dsl.scalar import Apply, Expr, Number, Var, is_truth, walk

_INFIX = {
    "add": ("+", 5),
    "sub": ("-", 5),
    "mul": ("*", 6),
    "div": ("/", 6),
    "lt": ("<", 4),
    "le": ("<=", 4),
    "gt": (">", 4),
    "ge": (">=", 4),
    "eq": ("==", 3),
    "ne": ("!=", 3),
    "and": ("&&", 2),
    "or": ("||", 1),
}
_PREFIX = {"neg": "-", "not": "!"}
# The C library's. Most are single instructions, or two, on the processors that matter; pow, sin and
# cos are not.
_LIBRARY = {
    "pow": "pow",
    "abs": "fabs",
    "floor": "floor",
    "sqrt": "sqrt",
    "sin": "sin",
    "cos": "cos",
}
# Our own, of which a compiler can make vectors, see templates/functions.c.j2.
VECTORIZED = ("exp", "expm1", "log", "log1p", "tanh", "erf")
_TYPES = {"float32": "float", "float64": "double"}
# Written once in the file where they are used, see templates/helpers.c.j2.
_HELPERS = {"min": "minimum", "max": "maximum", "sign": "signum"}
_UNARY, _ATOM = 7, 9


def number(value: float, precision: str) -> str:
    """A constant with the fewest digits that give the number of that precision."""
    rounded = _single(value) if precision == "float32" else float(value)
    if not math.isfinite(rounded):
        return "INFINITY" if rounded > 0 else "-INFINITY"
    if precision == "float64":
        return repr(rounded)
    for digits in range(1, 10):
        text = f"{rounded:.{digits}g}"
        if _single(float(text)) == rounded:
            break
    return f"{float(text)!r}f"


def _single(value: float) -> float:
    """The float32 nearest to a number; infinite beyond its range."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def c_expression(expression: Expr, precision: str) -> str:
    """An expression over C names."""
    return _c(expression, precision)[0]


def _c(expression: Expr, precision: str) -> tuple[str, int]:
    match expression:
        case Number(value):
            return number(value, precision), _UNARY if value < 0 else _ATOM
        case Var(name):
            return name, _ATOM
        case Apply("select", (condition, then, otherwise)):
            texts = [_within(part, 1, precision) for part in (condition, then, otherwise)]
            return f"{texts[0]} ? {texts[1]} : {texts[2]}", 0
        case Apply(operator, (argument,)) if operator in _PREFIX:
            inner, strength = _c(argument, precision)
            bare = strength >= _UNARY and not inner.startswith("-")
            return f"{_PREFIX[operator]}{inner if bare else f'({inner})'}", _UNARY
        case Apply(operator, (left, right)) if operator in _INFIX:
            symbol, strength = _INFIX[operator]
            # What mixes && and ||, or compares comparisons, is enclosed for the reader.
            left_needs = strength if strength > 4 else 5
            texts = [
                _within(left, left_needs, precision),
                _within(right, max(strength + 1, 5), precision),
            ]
            return f"{texts[0]} {symbol} {texts[1]}", strength
        case Apply(operator, arguments):
            name = _function(operator, precision)
            return f"{name}({', '.join(_c(a, precision)[0] for a in arguments)})", _ATOM
    raise TypeError(f"no C for {expression!r}")


def _function(operator: str, precision: str) -> str:
    """The C function of an operator: one of C's, which end in f in single precision, or our own."""
    if operator in VECTORIZED:
        return f"{operator}_{_TYPES[precision]}"
    name = _HELPERS.get(operator) or _LIBRARY[operator]
    return name + ("f" if precision == "float32" else "")


def helpers(expressions: Iterable[Expr], precision: str) -> tuple[str, ...]:
    """The functions that expressions call and that C does not have, in a fixed order."""
    used = _operators(expressions)
    return tuple(_function(operator, precision) for operator in _HELPERS if operator in used)


def vectorized(expressions: Iterable[Expr]) -> frozenset[str]:
    """The operators among `VECTORIZED` that expressions apply."""
    return frozenset(_operators(expressions).intersection(VECTORIZED))


def _operators(expressions: Iterable[Expr]) -> set[str]:
    return {node.operator for e in expressions for node in walk(e) if isinstance(node, Apply)}


def _within(expression: Expr, strength: int, precision: str) -> str:
    text, own = _c(expression, precision)
    return text if own >= strength else f"({text})"


@dataclass
class Statements:
    """Declarations of scalar values, in order; what occurs in several is computed once.

    Attributes:
        precision: of all numbers.
        names: gives each its own.
    """

    precision: str
    names: Names
    _values: list[tuple[str, Expr]] = field(default_factory=list)

    def add(self, name: str, expression: Expr) -> str:
        """Declare a value computed from C names; returns the name it got."""
        name = self.fresh(name)
        self._values.append((name, expression))
        return name

    def fresh(self, name: str) -> str:
        """A C name not yet taken."""
        return self.names.fresh(name)

    def lines(self) -> list[str]:
        """The declarations, with those of shared parts where they are first needed."""
        names: dict[Expr, str] = {}
        shared = _shared(expression for _, expression in self._values)
        lines: list[str] = []
        for name, expression in self._values:
            for node in walk(expression):
                if isinstance(node, Apply) and node in shared and node not in names:
                    if node == expression:
                        continue  # it gets the name it was added with
                    part = self.fresh(f"{node.operator}_1")
                    lines.append(self._line(part, _with_names(node, names)))
                    names[node] = part
            lines.append(self._line(name, _with_names(expression, names)))
            if isinstance(expression, Apply):
                names.setdefault(expression, name)
        return lines

    def _line(self, name: str, expression: Expr) -> str:
        return f"const real {name} = {c_expression(expression, self.precision)};"


def _with_names(expression: Expr, names: Mapping[Expr, str]) -> Expr:
    """The expression with the names of its largest named parts."""
    if expression in names:
        return Var(names[expression])
    if isinstance(expression, Apply):
        return Apply(
            expression.operator, tuple(_with_names(part, names) for part in expression.arguments)
        )
    return expression


def _shared(expressions: Iterable[Expr]) -> set[Expr]:
    """Parts with several distinct users, apart from those as cheap as a name."""
    users: Counter[Expr] = Counter()
    seen: set[Expr] = set()
    for expression in expressions:
        users[expression] += 1
        for node in walk(expression):
            if node not in seen:
                seen.add(node)
                users.update(argument for argument in getattr(node, "arguments", ()))
    return {
        node
        for node, count in users.items()
        if count > 1 and isinstance(node, Apply) and not is_truth(node) and node.operator != "neg"
    }
