"""The graph of values while it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from nerva_dsl import model
from nerva_dsl.check.initialisers import InitialiserChoice
from nerva_dsl.check.terms import Scalar
from nerva_dsl.scalar import Expr, Number, Var, substitute, variables
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.source import Span


@dataclass(frozen=True, eq=False)
class Owner:
    """What parameters are named after: a binding, or one use of a layer.

    Attributes:
        name: of the binding; empty for the use of a layer.
        parent: of a use, the binding or use in which it stands; of a binding in a layer, the use;
            None for a binding of the file.
    """

    name: str
    parent: Owner | None = None


@dataclass(frozen=True, eq=False)
class Holder:
    """What has parameters: a `linear`, a `batch_norm`, or one use of a function that learns.

    Attributes:
        owner: what it is named after.
        parts: the last parts of its parameters' names, in order.
    """

    kind: Literal["linear", "batch_norm", "function"]
    owner: Owner
    parts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LayerRequest:
    """A `linear` before densities are spread.

    Attributes:
        layer: with the sizes; dense as long as nothing else is known.
        density: its own, or None.
        density_span: where its own density is written.
        initialiser: of its weights.
        rule: its own optimizer, or None.
    """

    layer: model.Layer
    density: float | None
    density_span: Span
    initialiser: InitialiserChoice
    rule: model.Rule | None


class Graph:
    """Values in the order in which they are made, so that operands come before what uses them.

    While an expression is evaluated, a value is the variable `#number` of a `Scalar`.

    Attributes:
        values: all of them.
        requests: of each layer, what is to be decided when all are known.
        holders: of each value with parameters, what they are named after.
    """

    def __init__(self) -> None:
        self.values: list[model.Value] = []
        self.requests: dict[model.Layer, LayerRequest] = {}
        self.holders: dict[model.Value, Holder] = {}
        self._numbers: dict[model.Value, int] = {}

    def add(self, value: model.Value, holder: Holder | None = None) -> Scalar:
        """Add a value; its operands are in the graph already."""
        self._numbers[value] = len(self.values)
        self.values.append(value)
        if holder is not None:
            self.holders[value] = holder
        return self.scalar(value)

    def scalar(self, value: model.Value) -> Scalar:
        """A value of the graph as a term."""
        return Scalar(Var(f"#{self._numbers[value]}"), value.width)

    def existing(self, term: Scalar) -> model.Value | None:
        """The value that a term is, if it is one as it stands."""
        if isinstance(term.expression, Var) and term.expression.name.startswith("#"):
            return self.values[int(term.expression.name[1:])]
        return None

    def value(self, term: Scalar, span: Span) -> model.Value:
        """A term as a value: the one it is, or a new `Elementwise`."""
        value = self.existing(term)
        if value is not None:
            return value
        names = variables(term.expression)
        operands = tuple(self.values[int(name[1:])] for name in names)
        replacements: dict[str, Expr] = {name: Var(f"a{place}") for place, name in enumerate(names)}
        expression = substitute(term.expression, replacements)
        made = model.Elementwise(
            term.width or 1, span, None, expression, operands, term.label or "value"
        )
        self.add(made)
        return made

    def rename(self, value: model.Value, name: str) -> model.Value:
        """Name the value that was made last, which nothing uses yet."""
        number = self._numbers.pop(value)
        named = replace(value, name=name)
        self.values[number] = named
        self._numbers[named] = number
        if value in self.holders:
            self.holders[named] = self.holders.pop(value)
        return named


def operands(value: model.Value) -> tuple[model.Value, ...]:
    """The values that a value is computed from."""
    match value:
        case model.Elementwise():
            return value.operands
        case model.Concat():
            return value.parts
        case model.Linear() | model.Normalize() | model.Reduce() | model.Softmax():
            return (value.x,)
        case model.LogSoftmax() | model.BatchNorm() | model.Dropout() | model.Slice():
            return (value.x,)
    return ()


def with_operands(value: model.Value, done: dict[model.Value, model.Value]) -> model.Value:
    """The same value computed from other ones; itself if they are the same."""
    old = operands(value)
    new = tuple(done[operand] for operand in old)
    if all(a is b for a, b in zip(old, new, strict=True)):
        return value
    match value:
        case model.Elementwise():
            changes: dict[str, Any] = {"operands": new}
        case model.Concat():
            changes = {"parts": new}
        case _:
            changes = {"x": new[0]}
    return replace(value, **changes)


def with_slope(value: model.Value) -> tuple[model.Value, ...]:
    """The values whose small changes change a value."""
    if not isinstance(value, model.Elementwise):
        return operands(value)
    return tuple(
        operand
        for place, operand in enumerate(value.operands)
        if derivative(value.expression, f"a{place}") != Number(0.0)
    )


def reachable(
    roots: list[model.Value],
    read: Callable[[model.Value], tuple[model.Value, ...]] = operands,
) -> set[model.Value]:
    """The values that some values are computed from, these included."""
    found: set[model.Value] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value not in found:
            found.add(value)
            stack.extend(read(value))
    return found
