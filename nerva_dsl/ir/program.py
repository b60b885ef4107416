"""Whole programs of the graph IR: parameters and the graphs that use them."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from nerva_dsl.ir.operations import Group, Operation, Product, each_operation
from nerva_dsl.ir.types import Value
from nerva_dsl.record import Record
from nerva_dsl.scalar import Expr

# Rows or columns whose numbers fit two bytes.
_MOST_SHORT = 1 << 16


class Parameter(Record):
    """An array of the model's state: trained, or kept beside (running statistics).

    Attributes:
        value: its name and type: a weight `[outputs, inputs]`, or `[n, 1]`.
        nnz: numbers that are stored.
        rule: name of the rule that updates it.
        initial: distribution of the initial values and its two parameters, see
            `model.Initialiser`.
    """

    value: Value
    nnz: int
    rule: str
    initial: tuple[Literal["uniform", "normal"], float, float]


class Constant(Record):
    """A column `[n, 1]` known when compiling; each of its C values covers n / C rows."""

    value: Value
    numbers: tuple[float, ...]


class Rule(Record):
    """An optimizer; see `model.Rule`."""

    name: str
    states: tuple[tuple[str, float], ...]
    assignments: tuple[tuple[str, Expr], ...]


class Growing(Record):
    """A sparse weight whose pattern changes.

    Attributes:
        weight: its name.
        initial: distribution of new weights and its two parameters, as of `Parameter`.
        average: name of the parameter that holds an average of the gradient at sampled empty
            positions; empty unless new weights grow by it.
    """

    weight: str
    initial: tuple[Literal["uniform", "normal"], float, float]
    average: str = ""


class Regrow(Record):
    """How the patterns change; see `model.Regrow`.

    Attributes:
        amount: over `epoch`, `epochs` and `step`: the fraction that is removed, or for `threshold`
            the absolute value up to which weights go.
        weights: those that change, in order of evaluation.
    """

    every: int
    unit: Literal["epochs", "steps"]
    prune: Literal["magnitude", "set", "threshold"]
    amount: Expr
    grow: Literal["random", "gradient", "momentum"]
    until: float
    weights: tuple[Growing, ...]


class Buffer(Record):
    """Where a value lies in the arena, in elements."""

    value: Value
    offset: int
    size: int


class Graph(Record):
    """One entry of the compiled model.

    Attributes:
        name: `step`, `gradients`, `evaluate`, `predict`, and `predict_one`, for one sample;
            `masks`, those of the next step, of a model that has some; `growth`, the gradients at
            all positions, of one that regrows.
        operations: each reads only what is defined before it.
        results: what the caller gets, by name.
        buffers: where stored values lie, once planned.
    """

    name: str
    operations: tuple[Operation, ...]
    results: tuple[tuple[str, Value], ...]
    buffers: tuple[Buffer, ...] = ()


class Program(Record, dict=True):
    """A model as graphs over shared parameters.

    Attributes:
        name: the model's.
        precision: element type of everything that is computed.
        batch: most samples that a graph takes at once.
        inputs: the data arrays: the input, and the target if there is one.
        parameters: in order of evaluation.
        constants: columns known when compiling.
        rules: the optimizers in use.
        schedule: learning rate, over `epoch`, `epochs`, `step`.
        graphs: the entries.
        clip_norm: largest norm of all gradients of a step together; None for any.
        confusions: results of `evaluate` that are cells of a confusion matrix, with the number of
            classes; samples are counted in them.
        regrow: how patterns change; None if they stay.
        arena: elements of the arena, once planned.
    """

    name: str
    precision: Literal["float32", "float64"]
    batch: int
    inputs: tuple[Value, ...]
    parameters: tuple[Parameter, ...]
    constants: tuple[Constant, ...]
    rules: tuple[Rule, ...]
    schedule: Expr
    graphs: tuple[Graph, ...]
    clip_norm: float | None = None
    confusions: tuple[tuple[str, int], ...] = ()
    regrow: Regrow | None = None
    arena: int = 0

    def graph(self, name: str) -> Graph:
        """The graph of a name."""
        return next(graph for graph in self.graphs if graph.name == name)

    def rule(self, name: str) -> Rule:
        """The rule of a name."""
        return next(rule for rule in self.rules if rule.name == name)

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """The parameters that products multiply, one a linear layer, in order of evaluation."""
        multiplied = {
            operation.weight.name
            for graph in self.graphs
            for operation in each_operation(graph.operations)
            if isinstance(operation, Product)
        }
        names = (parameter.value.name for parameter in self.parameters)
        return tuple(name for name in names if name in multiplied)

    @cached_property
    def index_bytes(self) -> int:
        """Size of the number of a row or column: MKL's take four bytes, else two may be enough."""
        kernels = {
            op.kernel for graph in self.graphs for op in graph.operations if isinstance(op, Group)
        }
        sides = [
            side
            for parameter in self.parameters
            if parameter.value.type.format == "csr"
            for side in (parameter.value.type.rows, parameter.value.type.columns)
        ]
        small = max(sides, default=0) <= _MOST_SHORT
        return 2 if small and not any(name.startswith("mkl_spmm") for name in kernels) else 4

    def is_vector(self, parameter: Parameter) -> bool:
        """Whether users see `[n]`: a bias, but not the weight of a layer with one input."""
        matrix = parameter.value.name in self.weights or parameter.value.type.format == "csr"
        return parameter.value.type.columns == 1 and not matrix

    @property
    def outer(self) -> tuple[Value, ...]:
        """The values that every graph may read: data, parameters and constants."""
        return (
            *self.inputs,
            *(parameter.value for parameter in self.parameters),
            *(constant.value for constant in self.constants),
        )
