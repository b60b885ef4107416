"""Emitting operations of one graph: what every part of lowering has in common."""

from __future__ import annotations

from typing import Literal

from nerva_dsl.ir.operations import Bernoulli, Load, Map, Operation, Reduce, Update
from nerva_dsl.ir.program import Graph
from nerva_dsl.ir.types import Dim, Place, Type, Value
from nerva_dsl.lower.parameters import Parameters
from nerva_dsl.naming import fresh_name
from nerva_dsl.scalar import Expr
from nerva_dsl.source import Span


def place(span: Span) -> Place:
    """A span as the IR keeps it."""
    return Place(span.source.name, span.line, span.column)


class Emitter:
    """The operations of one graph.

    Attributes:
        parameters: what all graphs of a program have in common.
        training: whether the graph is of a training step: batch normalisation then takes the
            statistics of the batch, and dropout drops.
        operations: in order.
        masks: of dropout, by the names under which they are exported.
    """

    def __init__(self, parameters: Parameters, *, training: bool = False) -> None:
        self.parameters = parameters
        self.training = training
        self.operations: list[Operation] = []
        self.masks: dict[str, Value] = {}
        self._masked: list[Operation] = []  # before all others, since masks depend on nothing
        self._running: list[Operation] = []  # after all others
        self._names = {value.name for value in parameters.inputs} | {*parameters.model.parameters}
        self._loaded: dict[str, Value] = {}

    def graph(self, name: str, results: list[tuple[str, Value]]) -> Graph:
        """The graph with these results."""
        operations = (*self._masked, *self.operations, *self._running)
        return Graph(name, operations, tuple(results))

    def load(self, array: Value) -> Value:
        """This batch's samples of a data array; loaded before anything is computed."""
        if array.name not in self._loaded:
            spec = self.parameters.model.input
            target = self.parameters.model.target
            if target is not None and array.name == target.name:
                origin = place(target.span)
            else:
                origin = place(spec.span)
            name, rows = f"{array.name}.batch", array.type.columns
            self._loaded[array.name] = self.emit(Load, name, rows, (origin,), array)
        return self._loaded[array.name]

    def bernoulli(
        self, mask: Value, rate: float, like: Value | None, origin: tuple[Place, ...]
    ) -> Value:
        """A mask that drops at a rate, before everything else."""
        self._masked.append(Bernoulli((mask,), origin, 1 - rate, len(self._masked), like))
        return mask

    def follow(self, parameter: Value, value: Value, origin: tuple[Place, ...]) -> None:
        """A running statistic follows a value, after everything else."""
        rule = self.parameters.by_name[parameter.name].rule
        self._running.append(Update((), origin, parameter, value, rule))

    def map(
        self,
        expression: Expr,
        inputs: tuple[Value, ...],
        shape: int | tuple[Dim, Dim],
        origin: tuple[Place, ...],
        label: str,
        name: str,
    ) -> Value:
        """A scalar expression at every element; a number of rows stands for `[rows, B]`."""
        result = self.fresh(name, shape)
        self.operations.append(Map((result,), origin, expression, inputs, label))
        return result

    def reduce(
        self,
        kind: Literal["sum", "max"],
        x: Value,
        origin: tuple[Place, ...],
        name: str,
        axis: Literal["features", "batch"] = "features",
    ) -> Value:
        """The sum or largest over the features, or the sum over the batch."""
        result = self.fresh(name, 1 if axis == "features" else (x.type.rows, 1))
        self.operations.append(Reduce((result,), origin, kind, axis, x))
        return result

    def emit(
        self,
        operation: type[Operation],
        name: str,
        rows: int,
        origin: tuple[Place, ...],
        *operands: Value,
    ) -> Value:
        """An operation that has operands only, with a result of `[rows, B]`."""
        result = self.fresh(name, rows)
        self.operations.append(operation((result,), origin, *operands))
        return result

    def fresh(self, name: str, shape: int | tuple[Dim, Dim]) -> Value:
        """A value of a name of its own; a number of rows stands for `[rows, B]`."""
        unique = fresh_name(name, self._names)
        self._names.add(unique)
        shape = (shape, "B") if isinstance(shape, int) else shape
        return Value(unique, Type(self.parameters.model.precision, shape))
