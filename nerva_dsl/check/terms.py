"""What an expression can stand for while it is checked."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

from nerva_dsl.record import Record
from nerva_dsl.scalar import Apply, Expr, is_truth, walk
from nerva_dsl.source import Span

Constant = int | float | bool | str | tuple["Constant", ...]
"""A constant of the language; lists are tuples."""


class Unknown(Enum):
    """The meaning of what is already known to be wrong; it causes no further messages."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


class Scalar(Record):
    """A scalar expression at each feature.

    Attributes:
        expression: over the inputs and options of a definition, or over the values of a graph.
        width: number of features, or None if no value of a graph is in it.
        label: the function or operator at its root, as an identifier.
    """

    expression: Expr
    width: int | None = None
    label: str = ""

    @property
    def truth(self) -> bool:
        """Whether it is a truth value."""
        return is_truth(self.expression)


Term = Constant | Scalar | Unknown


class Symbol(Record):
    """What a name of the file stands for, and where it was defined."""

    kind: Literal["param", "let", "input", "target", "value"]
    term: Term
    span: Span


def is_constant(term: Term) -> bool:
    """Whether a term is a constant."""
    return not isinstance(term, Scalar | Unknown)


def is_number(term: object) -> bool:
    """Whether a term is a constant number."""
    return isinstance(term, int | float) and not isinstance(term, bool)


def describe(term: Term) -> str:
    """The type of a term, for messages."""
    match term:
        case bool():
            return "a truth value"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case tuple():
            return "a list"
        case Scalar(width=None):
            return "a truth value" if term.truth else "a number"
        case Scalar():
            return "a value"
    return "unknown"


def measure(expression: Expr) -> tuple[int, int]:
    """Size, counting shared parts every time they are used, and depth of an expression.

    A stated derivative is not counted: it is no part of the value.
    """
    if not isinstance(expression, Apply):
        return 1, 1
    measures: dict[int, tuple[int, int]] = {}
    for node in walk(expression):
        size, depth = 1, 0
        if isinstance(node, Apply):
            counted = node.arguments[:1] if node.operator == "stated" else node.arguments
            for part in counted:
                inner_size, inner_depth = measures[id(part)]
                size += inner_size
                depth = max(depth, inner_depth)
        measures[id(node)] = (size, depth + 1)
    return measures[id(expression)]
