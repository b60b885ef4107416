"""Operations of the graph IR. All are frozen; a rewrite builds new ones.

Every operation defines the values in `results`, reads the values among its other fields, and
carries the places in the source that it came from. Adding one means: a class here, its meaning in
`interpret.py`, its types in `verify.py`, its text in `text.py` and `ir.lark`, its adjoint in
`differentiate.py`, and a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Literal, Self

from nerva_dsl.ir.types import Place, Value
from nerva_dsl.record import Record
from nerva_dsl.scalar import Expr


class Operation(Record, dict=True):
    """Base of all operations.

    Attributes:
        results: the values it defines.
        origin: where it was written; fused operations keep all places.
    """

    results: tuple[Value, ...]
    origin: tuple[Place, ...]

    @cached_property
    def operands(self) -> tuple[Value, ...]:
        """The values it reads, in the order of its fields."""
        return tuple(self._read())

    def _read(self) -> Iterator[Value]:
        for name in self.__struct_fields__:
            content = getattr(self, name)
            if name in ("results", "origin"):
                continue
            if isinstance(content, Value):
                yield content
            elif isinstance(content, tuple):
                yield from (item for item in content if isinstance(item, Value))

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value

    def map_values(self, change: Callable[[Value], Value]) -> Self:
        """The same operation on other values; results included."""

        def convert(content: object) -> object:
            match content:
                case Value():
                    return change(content)
                case Operation():
                    return content.map_values(change)
                case tuple() if not isinstance(content, Place):
                    return tuple(convert(item) for item in content)
            return content

        fields: dict[str, Any] = {
            name: content if name == "origin" else convert(content)
            for name in self.__struct_fields__
            for content in (getattr(self, name),)
        }
        return type(self)(**fields)


class Load(Operation):
    """Take this batch's samples from a data array and turn them: `[B, n]` becomes `[n, B]`."""

    array: Value


class Map(Operation):
    """A scalar expression at every element; operands of one row or column are repeated.

    If the result is a sparse weight's, it is at its non-zeros: an operand has the same pattern or
    is a single number.

    Attributes:
        expression: over `a0`, `a1`, … (the operands) and the supplied `count` and `feature`.
        inputs: the operands.
        label: what it computes, in a word, such as `relu`.
    """

    expression: Expr
    inputs: tuple[Value, ...]
    label: str


class Product(Operation):
    """`Y = W X`."""

    weight: Value
    x: Value


class TransposedProduct(Operation):
    """`dX = Wᵀ dZ`."""

    weight: Value
    dz: Value


class WeightGradient(Operation):
    """`dW = dZ Xᵀ`, at the non-zeros of `weight` only."""

    weight: Value
    dz: Value
    x: Value


class DenseGradient(Operation):
    """`dZ Xᵀ` at all positions of `weight`, a dense matrix: where new weights could grow.

    No kernel stores it whole: it is streamed, and the largest are kept.
    """

    weight: Value
    dz: Value
    x: Value


class RowSquares(Operation):
    """The sum of the squares of each row of a weight's gradient: `[outputs, 1]`."""

    x: Value


class Reduce(Operation):
    """Sum or largest over the features (one row is left), or sum over the batch (one column)."""

    kind: Literal["sum", "max"]
    axis: Literal["features", "batch"]
    x: Value


class Softmax(Operation):
    """`softmax` over the features, stable."""

    x: Value


class LogSoftmax(Operation):
    """`log_softmax` over the features, stable."""

    x: Value


class Standardize(Operation):
    """`(x - mean) / sqrt(variance + epsilon)`.

    Mean and variance are those of x over the batch, and its gradient sees them as such.
    """

    x: Value
    mean: Value
    variance: Value
    epsilon: float


class Bernoulli(Operation):
    """A dropout mask: 1 / keep with probability `keep`, else 0; fresh for every step.

    The random numbers are Philox's, a function of seed, stream, step and position; see
    `runtime/masks.py`, which has them in NumPy.

    Attributes:
        keep: in (0, 1).
        stream: which of the model's masks it is.
        like: the weight at whose non-zeros the mask is; None for an activation's.
    """

    keep: float
    stream: int
    like: Value | None


class Concat(Operation):
    """The rows of several values, one after the other."""

    parts: tuple[Value, ...]


class Slice(Operation):
    """As many rows of x as the result has, from row `begin` on."""

    x: Value
    begin: int


class Update(Operation):
    """Give a parameter and its optimizer state new values; nothing may read them afterwards.

    Attributes:
        parameter: what is updated.
        gradient: of the loss by the parameter, of the parameter's shape.
        rule: name of the program's rule.
    """

    parameter: Value
    gradient: Value
    rule: str


class Group(Operation):
    """Operations that one kernel computes; only `results` are stored.

    Attributes:
        body: in order.
        kernel: name of the kernel family, once chosen.
        reason: why that one.
        phase: when it runs, once scheduled; groups of one phase do not depend on each other.
    """

    body: tuple[Operation, ...]
    kernel: str = ""
    reason: str = ""
    phase: int = -1

    @property
    def head(self) -> Operation:
        """What decides the kind of its kernel: a product, or else the first operation."""
        products = (Product, TransposedProduct, WeightGradient)
        return next((part for part in self.body if isinstance(part, products)), self.body[0])

    @property
    def elementwise(self) -> tuple[Map, ...]:
        """The elementwise operations, without those whose results the head reads."""
        parts = self.body[self.body.index(self.head) :]
        return tuple(part for part in parts if isinstance(part, Map))

    def _read(self) -> Iterator[Value]:
        defined = {value for operation in self.body for value in operation.results}
        read = (value for operation in self.body for value in operation.operands)
        yield from dict.fromkeys(value for value in read if value not in defined)


def each_operation(operations: tuple[Operation, ...]) -> Iterator[Operation]:
    """The operations, those inside groups in the place of these."""
    for operation in operations:
        if isinstance(operation, Group):
            yield from operation.body
        else:
            yield operation
