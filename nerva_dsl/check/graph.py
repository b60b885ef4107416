"""The graph of values while it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nerva_dsl import model
from nerva_dsl.check.initialisers import InitialiserChoice
from nerva_dsl.check.terms import Scalar
from nerva_dsl.errors import Note
from nerva_dsl.record import Record
from nerva_dsl.scalar import Expr, Number, Var, rebuild
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.source import Span

if TYPE_CHECKING:
    from nerva_dsl.check.repeats import Repeat


class Owner(Record, eq=False):
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


class Holder(Record, eq=False):
    """What has parameters: a `linear`, a `batch_norm`, or one use of a function that learns.

    Attributes:
        owner: what it is named after.
        parts: the last parts of its parameters' names, in order.
    """

    kind: Literal["linear", "batch_norm", "function"]
    owner: Owner
    parts: tuple[str, ...]


class LayerRequest(Record, eq=False):
    """What a `linear` asks for before densities are spread.

    Attributes:
        density: its own, or None.
        density_span: where its own density is written.
        initialiser: of its weights.
        rule: its own optimizer, or None.
    """

    density: float | None
    density_span: Span
    initialiser: InitialiserChoice
    rule: model.Rule | None


class Graph:
    """Values in the order in which they are made, so that operands come before what uses them.

    While an expression is evaluated, a value is the variable `#number` of a `Scalar`.

    Attributes:
        values: all of them.
        requests: of each `linear`, what is to be decided when all are known; until then its layer
            is dense and has no name.
        holders: of each value with parameters, what they are named after.
        names: the first names that values without one of their own are bound to.
        uses: how many uses of layers have been expanded.
        folder: of the model's file: paths of patterns begin there.
        patterns: the files of patterns, by the strings that name them.
        expansions: of uses of functions, a value like which others are made, and which of the
            given values it reads.
        repeats: of uses of layers, the values like which others are made.
        overflowed: whether it has been reported that they are too many.
    """

    def __init__(self, folder: Path = Path()) -> None:
        self.folder = folder
        self.patterns: dict[str, Path] = {}
        self.values: list[model.Value] = []
        self.requests: dict[model.Value, LayerRequest] = {}
        self.holders: dict[model.Value, Holder] = {}
        self.names: dict[model.Value, str] = {}
        self.uses = 0
        self.overflowed = False
        self.expansions: dict[tuple[object, ...], tuple[model.Elementwise, tuple[int, ...]]] = {}
        self.repeats: dict[tuple[object, ...], Repeat] = {}
        self._numbers: dict[model.Value, int] = {}

    def add(self, value: model.Value, holder: Holder | None = None) -> Scalar:
        """Add a value; its operands are in the graph already."""
        self.put(value)
        if holder is not None:
            self.holders[value] = holder
        return self.scalar(value)

    def put(self, value: model.Value) -> None:
        """Add a value that has no parameters, or whose parameters are named elsewhere."""
        self._numbers[value] = len(self.values)
        self.values.append(value)

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
        places: dict[str, Expr] = {}

        def placed(node: Expr) -> Expr:
            if not isinstance(node, Var):
                return node
            return places.setdefault(node.name, Var(f"a{len(places)}"))

        expression = rebuild(term.expression, placed)
        operands = tuple(self.values[int(name[1:])] for name in places)
        made = model.Elementwise(
            term.width or 1, span, None, expression, operands, term.label or "value"
        )
        self.add(made)
        return made

    def keep(self, key: tuple[object, ...], given: Sequence[str]) -> None:
        """Keep the value that was made last, to make more like it.

        Args:
            key: what they have in common.
            given: the variables of the values that it may read, in an order that they share.
        """
        made = self.values[-1]
        assert isinstance(made, model.Elementwise)
        order = {self.values[int(name[1:])]: place for place, name in enumerate(given)}
        self.expansions[key] = made, tuple(order[operand] for operand in made.operands)

    def expand(
        self, key: tuple[object, ...], given: Sequence[str], width: int, span: Span
    ) -> model.Value:
        """One more value like the one that was kept; see there."""
        like, places = self.expansions[key]
        operands = tuple([self.values[int(given[place][1:])] for place in places])
        made = model.Elementwise(width, span, None, like.expression, operands, like.label)
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


_FIELDS: Mapping[type[model.Value], str] = {
    model.Elementwise: "operands",
    model.Concat: "parts",
    **dict.fromkeys((model.Linear, model.Normalize, model.Reduce, model.Softmax), "x"),
    **dict.fromkeys((model.LogSoftmax, model.BatchNorm, model.Dropout, model.Slice), "x"),
}
"""The field that holds what a value is computed from; the others are computed from nothing."""

_MANY = ("operands", "parts")


def operands(value: model.Value) -> tuple[model.Value, ...]:
    """The values that a value is computed from."""
    field = _FIELDS.get(type(value))
    if field is None:
        return ()
    held = getattr(value, field)
    return held if field in _MANY else (held,)


def operand_field(value: model.Value) -> str | None:
    """The field of a value that holds its operands, if it has one."""
    return _FIELDS.get(type(value))


def operand_fields(value: model.Value, new: tuple[model.Value, ...]) -> dict[str, Any]:
    """The fields of a value that hold operands, with these in the places of its own."""
    field = _FIELDS.get(type(value))
    if field is None:
        return {}
    return {field: new if field in _MANY else new[0]}


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
