"""What was written: the syntax nodes of a `.nerva` file, each with its place.

There is one expression syntax for constants, values and the bodies of definitions; what a name or
a call means is the checker's to say. Nodes are frozen and say nothing that the text does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from nerva_dsl.record import Record
from nerva_dsl.source import Source, Span


class Name(Record):
    """A name, where it is defined or where it is used."""

    span: Span
    text: str


class NumberLiteral(Record):
    """A number as written; an integer if its text is all digits."""

    span: Span
    text: str


class TextLiteral(Record):
    """A string, without its quotes."""

    span: Span
    text: str


class Truth(Record):
    """`true` or `false`."""

    span: Span
    value: bool


class ListLiteral(Record):
    """`[a, b, …]`."""

    span: Span
    items: tuple[Expression, ...]


class Unary(Record):
    """`-x` or `not x`."""

    span: Span
    operator: str
    operand: Expression


class Binary(Record):
    """`x + y` and the other infix operators, comparisons and `and`, `or` included."""

    span: Span
    operator: str
    left: Expression
    right: Expression


class Conditional(Record):
    """`if condition then chosen else otherwise`."""

    span: Span
    condition: Expression
    chosen: Expression
    otherwise: Expression


class Range(Record):
    """`i in first .. last`, an argument of `product`."""

    span: Span
    name: Name
    first: Expression
    last: Expression


class Argument(Record):
    """One argument of a call, by position if it has no name."""

    span: Span
    name: Name | None
    value: Expression | Range


class Call(Record):
    """`name(arguments)`."""

    span: Span
    name: Name
    arguments: tuple[Argument, ...]


Expression = (
    Name | NumberLiteral | TextLiteral | Truth | ListLiteral | Unary | Binary | Conditional | Call
)


class ModelName(Record):
    """`model NAME`."""

    span: Span
    name: Name


class Constant(Record):
    """`param NAME = value` or `let NAME = value`."""

    span: Span
    kind: Literal["param", "let"]
    name: Name
    value: Expression


class Type(Record):
    """`uint8[3072]`."""

    span: Span
    name: Name
    size: Expression


class Declaration(Record):
    """`input NAME : type` or `target NAME : type`."""

    span: Span
    kind: Literal["input", "target"]
    name: Name
    type: Type


class Binding(Record):
    """`NAME = value`: a value of the graph, or an assignment in a block."""

    span: Span
    name: Name
    value: Expression


class Role(Record):
    """`sparsity = …`, `output = …` or `loss = …`."""

    span: Span
    kind: Literal["sparsity", "output", "loss"]
    keyword: Span
    value: Expression


class Metric(Record):
    """`metric NAME = value`."""

    span: Span
    name: Name
    value: Expression


class Import(Record):
    """`import "path"`."""

    span: Span
    path: TextLiteral


class Option(Record):
    """An option of a definition: after the `;` of its signature.

    Attributes:
        learn: the place of the word `learn`, if it stands there.
    """

    span: Span
    name: Name
    default: Expression | None
    learn: Span | None


class Signature(Record):
    """`(inputs; options)`: what the compiler supplies, and what the user may give."""

    span: Span
    inputs: tuple[Name, ...]
    options: tuple[Option, ...]


class Definition(Record):
    """A `function`, `loss` or `schedule`: a name, a signature and one expression.

    Attributes:
        derivative: what stands after `derivative`, if that is given.
    """

    span: Span
    kind: Literal["function", "loss", "schedule"]
    name: Name
    signature: Signature
    body: Expression
    derivative: Expression | None = None


class State(Record):
    """`state NAME = value` in an optimizer."""

    span: Span
    name: Name
    value: Expression


class Return(Record):
    """`return value` in a layer."""

    span: Span
    value: Expression


class BlockDefinition(Record):
    """An `optimizer` or a `layer`: a name, a signature and lines in braces."""

    span: Span
    kind: Literal["optimizer", "layer"]
    name: Name
    signature: Signature
    lines: tuple[Binding | State | Return | Broken, ...]


class Settings(Record):
    """`train { key = value … }` or `regrow { … }`."""

    span: Span
    kind: Literal["train", "regrow"]
    keyword: Span
    lines: tuple[Binding | Broken, ...]


class Broken(Record):
    """A statement with a syntax error: what can still be said of it.

    It keeps the checker from complaining of the absence of what was meant here.

    Attributes:
        keyword: the word that it starts with, such as `input` or `loss`; empty for a name.
        name: the name that it seems to define, if any.
    """

    span: Span
    keyword: str
    name: Name | None


Statement = (
    ModelName
    | Constant
    | Declaration
    | Binding
    | Role
    | Metric
    | Import
    | Definition
    | BlockDefinition
    | Settings
    | Broken
)


class File(Record):
    """A whole file."""

    source: Source
    statements: tuple[Statement, ...]


Part = Expression | Range | Argument

_PARTS: Mapping[type[Part], Callable[[Any], Sequence[Part]]] = {
    ListLiteral: lambda node: node.items,
    Unary: lambda node: (node.operand,),
    Binary: lambda node: (node.left, node.right),
    Conditional: lambda node: (node.condition, node.chosen, node.otherwise),
    Call: lambda node: node.arguments,
    Argument: lambda node: (node.value,),
    Range: lambda node: (node.first, node.last),
}
"""What reads the parts of each node; those that are missing have none."""


def children(node: Part) -> Sequence[Part]:
    """The parts of an expression, in the order in which they are written."""
    parts = _PARTS.get(type(node))
    return () if parts is None else parts(node)
