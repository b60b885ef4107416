"""The checked model: what a `.nerva` file means, with every name, size and density resolved.

Values form a graph whose nodes are compared by identity: a node used twice is one value, computed
once. Calls of functions, losses and layers are expanded, so nothing after the checker knows which
definitions the prelude or the file has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nerva_dsl.record import Record
from nerva_dsl.scalar import Expr
from nerva_dsl.source import Source, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Precision = Literal["float32", "float64"]


class Value(Record, eq=False):
    """One value of the graph: `width` features of each sample.

    Attributes:
        width: number of features; 1 also for a loss, one number a sample.
        span: where it was written.
        name: the name it is bound to, or None for a part of a larger expression.
    """

    width: int
    span: Span
    name: str | None


class Input(Value):
    """The model's input as floating-point numbers."""


class Target(Value):
    """The target: real numbers as given, or a class label as a one-hot vector of `width`."""


class Linear(Value):
    """`W x + b` with the parameters of `layer`."""

    layer: Layer
    x: Value


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


class Normalize(Value):
    """`(x - mean) / std`; each of C constants covers width / C consecutive features."""

    x: Value
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Reduce(Value):
    """The sum or the largest of a sample's features; of width 1."""

    kind: Literal["sum", "max"]
    x: Value


class Softmax(Value):
    """`softmax(x)` over features."""

    x: Value


class LogSoftmax(Value):
    """`log_softmax(x)` over features."""

    x: Value


class Learned(Value):
    """A trained scalar of one use of a function, repeated for every feature and sample.

    Attributes:
        parameter: its full name, such as `h1.tl`.
        initial: its first value.
    """

    parameter: str
    initial: float


class BatchNorm(Value):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`, each feature by itself.

    In training, mean and variance are the batch's; otherwise the running ones.

    Attributes:
        prefix: of its parameters `gamma`, `beta`, `running_mean` and `running_var`, such as `h1`.
        momentum: the weight of a new batch in the running statistics.
        epsilon: added to the variance.
    """

    x: Value
    prefix: str
    momentum: float
    epsilon: float


class Dropout(Value):
    """In training, `x m / (1 - rate)` with m Bernoulli(1 - rate); otherwise x."""

    x: Value
    rate: float


class Concat(Value):
    """The features of several values, one after the other."""

    parts: tuple[Value, ...]


class Slice(Value):
    """`width` features of x, from feature `begin` on."""

    x: Value
    begin: int


class Initialiser(Record):
    """Distribution of initial weights, its parameters resolved for one layer.

    `uniform`: between `first` and `second`. `normal`: mean `first`, standard deviation `second`.
    """

    distribution: Literal["uniform", "normal"]
    first: float
    second: float


class Pattern(Record, eq=False):
    """The positions of a sparse weight that a file gives.

    Attributes:
        row_start: int64 `[outputs + 1]`, where each row starts in `column`.
        column: int32 `[nnz]`, ascending in each row.
        path: the file they were read from.
    """

    row_start: NDArray[np.int64]
    column: NDArray[np.int32]
    path: Path


class Layer(Record, eq=False):
    """The parameters of one `linear`.

    Attributes:
        name: prefix of its parameters' names, such as `h1` or `h1.2`.
        inputs, outputs: the weight is `[outputs, inputs]`.
        nnz: number of non-zeros.
        bias: whether there is one.
        initialiser: distribution of the initial weights; biases start at 0.
        span: the call of `linear`.
        drop_connect: the rate at which weights are left out of a training step; 0: never.
        rule: name of the rule, of `CheckedModel.rules`, that updates weight and bias.
        pattern: the positions of the non-zeros; None: drawn when a model is made.
        regrow: whether dynamic sparse training may change its pattern.
    """

    name: str
    inputs: int
    outputs: int
    nnz: int
    bias: bool
    initialiser: Initialiser
    span: Span
    drop_connect: float = 0.0
    rule: str = ""
    pattern: Pattern | None = None
    regrow: bool = True

    @property
    def density(self) -> float:
        """Fraction of the weights that are non-zeros, after rounding to whole non-zeros."""
        return self.nnz / (self.inputs * self.outputs)

    @property
    def sparse(self) -> bool:
        """Whether the weight is stored as CSR, in the interface and by default in memory."""
        return self.nnz < self.inputs * self.outputs


class InputSpec(Record):
    """The declared input: `features` numbers a sample."""

    name: str
    element: Literal["float32", "uint8"]
    features: int
    span: Span


class TargetSpec(Record):
    """The declared target: labels 0 … size − 1, or `size` real numbers."""

    name: str
    kind: Literal["class", "real"]
    size: int
    span: Span


class Rule(Record):
    """An optimizer's update of one weight, as assignments executed in order.

    Attributes:
        label: the optimizer's name, with a number if others of that name have other options.
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


class Metric(Record):
    """What `evaluate` measures beside the loss.

    Attributes:
        name: its key in the result of `evaluate`.
        kind: `mean`: the mean over the samples of `value`, of width 1. `top_k`: the fraction of
            samples whose label is among the `k` largest features of `value`, the lower of equal
            ones first. `confusion_matrix`: how many samples of each label (row) have their largest
            feature of `value`, the lowest of equal ones, at each class (column).
        value: see `kind`.
        k: of `top_k`.
        span: where it was written.
    """

    name: str
    kind: Literal["mean", "top_k", "confusion_matrix"]
    value: Value
    k: int
    span: Span


class Regrow(Record):
    """Dynamic sparse training: how the patterns change.

    Attributes:
        every: how often, in `unit`s.
        prune: which weights are removed.
        fraction: the share of them, over `epoch`, `epochs` and `step`; for `threshold`, the
            absolute value up to which they go.
        grow: where new weights appear.
        weights: name of the initialiser of new weights, see `InitialiserChoice` of the checker,
            resolved for each layer by name.
        until: the fraction of the training after which the patterns stay.
        span: the block.
    """

    every: int
    unit: Literal["epochs", "steps"]
    prune: Literal["magnitude", "set", "threshold"]
    fraction: Expr
    grow: Literal["random", "gradient", "momentum"]
    weights: tuple[tuple[str, Initialiser], ...]
    until: float
    span: Span


class CheckedModel(Record):
    """A whole model.

    Attributes:
        name: also the Python module's.
        source: the file.
        params: values of the `param`s, overrides applied, in order.
        target: None for a model without one.
        values: the named values in order of definition.
        layers: in order of evaluation.
        parameters: the names of all parameters, in order of evaluation.
        output: the value that `predict` returns.
        loss: of width 1; its mean over the batch is minimised.
        metrics: in the order of the file.
        rules: the optimizers in use; the first one is of all parameters whose layer has none of its
            own.
        schedule: learning rate, over the variables `epoch`, `epochs` and `step`.
        weight_decay: added to the gradients of the weights of linear layers, times the weight.
        clip_norm: the largest norm of all gradients together, or None for any.
        regrow: dynamic sparse training, or None.
        batch: most samples in a step.
        epochs: how many `fit` trains by default.
        seed: of patterns, weights and shuffling.
        shuffle: whether each epoch visits the samples in an order of its own.
        precision: of everything that is computed.
        imports: the files whose definitions it uses, in order of their reading.
    """

    name: str
    source: Source
    params: tuple[tuple[str, int | float | bool | str], ...]
    input: InputSpec
    target: TargetSpec | None
    values: tuple[Value, ...]
    layers: tuple[Layer, ...]
    parameters: tuple[str, ...]
    output: Value
    loss: Value
    metrics: tuple[Metric, ...]
    rules: tuple[Rule, ...]
    schedule: Expr
    weight_decay: float
    clip_norm: float | None
    regrow: Regrow | None
    batch: int
    epochs: int
    seed: int
    shuffle: bool
    precision: Precision
    imports: tuple[Source, ...] = ()
