"""The checked model: what a `.nerva` file means, with every name, size and density resolved.

Values form a graph whose nodes are compared by identity: a node used twice is one value, computed
once. Calls of functions and losses are expanded into `Elementwise`, `Reduce` and softmax nodes, so
nothing after the checker knows which functions the prelude has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nerva_dsl.scalar import Expr
from nerva_dsl.source import Source, Span

Precision = Literal["float32", "float64"]


@dataclass(frozen=True, eq=False)
class Value:
    """One value of the graph: `width` features of each sample.

    Attributes:
        width: number of features; 1 also for a loss, one number a sample.
        span: where it was written.
        name: the name it is bound to, or None for a part of a larger expression.
    """

    width: int
    span: Span
    name: str | None


@dataclass(frozen=True, eq=False)
class Input(Value):
    """The model's input as floating-point numbers."""


@dataclass(frozen=True, eq=False)
class Target(Value):
    """The target: real numbers as given, or a class label as a one-hot vector of `width`."""


@dataclass(frozen=True, eq=False)
class Linear(Value):
    """`W x + b` with the parameters of `layer`."""

    layer: Layer
    x: Value


@dataclass(frozen=True, eq=False)
class Elementwise(Value):
    """A scalar expression at each feature of each sample.

    Attributes:
        expression: over the variables `a0`, `a1`, … (the operands).
        operands: each of this value's width, or of width 1 and repeated.
        label: the function or operation it came from, such as `relu` or `add`: an identifier.
    """

    expression: Expr
    operands: tuple[Value, ...]
    label: str


@dataclass(frozen=True, eq=False)
class Normalize(Value):
    """`(x - mean) / std`; each of C constants covers width / C consecutive features."""

    x: Value
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Reduce(Value):
    """The sum or the largest of a sample's features; of width 1."""

    kind: Literal["sum", "max"]
    x: Value


@dataclass(frozen=True, eq=False)
class Softmax(Value):
    """`softmax(x)` over features."""

    x: Value


@dataclass(frozen=True, eq=False)
class LogSoftmax(Value):
    """`log_softmax(x)` over features."""

    x: Value


@dataclass(frozen=True)
class Initialiser:
    """Distribution of initial weights, its parameters resolved for one layer.

    `uniform`: between `first` and `second`. `normal`: mean `first`, standard deviation `second`.
    """

    distribution: Literal["uniform", "normal"]
    first: float
    second: float


@dataclass(frozen=True)
class Layer:
    """The parameters of one `linear`.

    Attributes:
        name: prefix of its parameters' names, such as `h1` or `h1.2`.
        inputs, outputs: the weight is `[outputs, inputs]`.
        nnz: number of non-zeros.
        bias: whether there is one.
        initialiser: distribution of the initial weights; biases start at 0.
        span: the call of `linear`.
    """

    name: str
    inputs: int
    outputs: int
    nnz: int
    bias: bool
    initialiser: Initialiser
    span: Span

    @property
    def density(self) -> float:
        """Fraction of the weights that are non-zeros, after rounding to whole non-zeros."""
        return self.nnz / (self.inputs * self.outputs)

    @property
    def sparse(self) -> bool:
        """Whether the weight is stored as CSR, in the interface and by default in memory."""
        return self.nnz < self.inputs * self.outputs


@dataclass(frozen=True)
class InputSpec:
    """The declared input: `features` numbers a sample."""

    name: str
    element: Literal["float32", "uint8"]
    features: int
    span: Span


@dataclass(frozen=True)
class TargetSpec:
    """The declared target: labels 0 … size − 1, or `size` real numbers."""

    name: str
    kind: Literal["class", "real"]
    size: int
    span: Span


@dataclass(frozen=True)
class Rule:
    """An optimizer's update of one weight, as assignments executed in order.

    Attributes:
        label: the optimizer's name.
        states: names and initial values of what is kept beside each weight.
        assignments: targets and expressions. Variables: `w` the weight, `g` its gradient, the
            states, names assigned before, `lr` and `step`. `w` and states keep their last
            value.
        span: where the optimizer was chosen.
    """

    label: str
    states: tuple[tuple[str, float], ...]
    assignments: tuple[tuple[str, Expr], ...]
    span: Span


@dataclass(frozen=True)
class CheckedModel:
    """A whole model.

    Attributes:
        name: also the Python module's.
        source: the file.
        params: values of the `param`s, overrides applied, in order.
        target: None for a model without one.
        values: the named values in order of definition.
        layers: in order of evaluation.
        output: the value that `predict` returns.
        loss: of width 1; its mean over the batch is minimised.
        rule: the optimizer.
        schedule: learning rate, over the variables `epoch`, `epochs` and `step`.
        batch: most samples in a step.
        epochs: how many `fit` trains by default.
        seed: of patterns, weights and shuffling.
        shuffle: whether each epoch visits the samples in an order of its own.
        precision: of everything that is computed.
    """

    name: str
    source: Source
    params: tuple[tuple[str, int | float | bool | str], ...]
    input: InputSpec
    target: TargetSpec | None
    values: tuple[Value, ...]
    layers: tuple[Layer, ...]
    output: Value
    loss: Value
    rule: Rule
    schedule: Expr
    batch: int
    epochs: int
    seed: int
    shuffle: bool
    precision: Precision
