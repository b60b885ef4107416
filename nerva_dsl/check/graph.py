"""The graph of values while it is built."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nerva_dsl import model
from nerva_dsl.check.initialisers import InitialiserChoice
from nerva_dsl.check.terms import Scalar
from nerva_dsl.errors import Note
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
        use: of a use, its place.
    """

    name: str
    parent: Owner | None = None
    use: Span | None = None


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
        owner: what it is named after.
        density: its own, or None.
        density_span: where its own density is written.
        initialiser: of its weights.
        rule: its own optimizer, or None.
    """

    layer: model.Layer
    owner: Owner
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
        names: the first names that values without one of their own are bound to.
        uses: how many uses of layers have been expanded.
        folder: of the model's file: paths of patterns begin there.
        patterns: the files of patterns, by the strings that name them.
        overflowed: whether it has been reported that they are too many.
    """

    def __init__(self, folder: Path = Path()) -> None:
        self.folder = folder
        self.patterns: dict[str, Path] = {}
        self.values: list[model.Value] = []
        self.requests: dict[model.Layer, LayerRequest] = {}
        self.holders: dict[model.Value, Holder] = {}
        self.names: dict[model.Value, str] = {}
        self.uses = 0
        self.overflowed = False
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

    def name(self, value: model.Value, name: str) -> bool:
        """Bind a name to a value; whether it is the value's first."""
        if value.name is not None or value in self.names:
            return False
        self.names[value] = name
        return True


def uses(owner: Owner | None) -> list[Note]:
    """The uses of layers in which something stands, the innermost first."""
    notes: list[Note] = []
    while owner is not None:
        if owner.use is not None:
            notes.append(Note(owner.use, "in this use"))
        owner = owner.parent
    return notes


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
    if all(map(operator.is_, old, new)):
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
    return set(reaching(roots, read))


def reaching(
    roots: list[model.Value],
    read: Callable[[model.Value], tuple[model.Value, ...]] = operands,
) -> Iterator[model.Value]:
    """The same one after the other, for those who may not need all."""
    found: set[model.Value] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value not in found:
            found.add(value)
            yield value
            stack.extend(read(value))
