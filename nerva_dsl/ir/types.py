"""Types and values of the graph IR.

Activations are `[features, B]`: the batch is the symbolic dimension `B`, and comes last because
the generated code keeps it contiguous. The data set's arrays are `[B, features]`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from nerva_dsl.record import Record

Element = Literal["float32", "float64", "uint8", "int32"]
Dim = int | Literal["B"]


class Layout(Record):
    """How an array of activations lies in memory.

    Attributes:
        order: `feature_major`, samples contiguous; `sample_major`, features contiguous.
        stride: elements from one feature (or sample) to the next.
    """

    order: Literal["feature_major", "sample_major"]
    stride: int

    def __str__(self) -> str:
        return f"{self.order}/{self.stride}"


class Type(Record):
    """Element type, shape, format, and, once chosen, layout of a value.

    Attributes:
        element: type of one number.
        shape: `[features, B]`, `[1, B]` (a number a sample), `[features, 1]` (one a feature),
            `[1, 1]`, `[B, features]` (data), or `[outputs, inputs]` (a weight).
        format: `csr` holds only its non-zeros.
        layout: None before the layout pass, and for what does not depend on the batch.
    """

    element: Element
    shape: tuple[Dim, Dim]
    format: Literal["dense", "csr"] = "dense"
    layout: Layout | None = None

    def __str__(self) -> str:
        text = f"{self.element}[{self.shape[0]}, {self.shape[1]}]"
        if self.format != "dense":
            text += f" {self.format}"
        return text if self.layout is None else f"{text} {self.layout}"

    @property
    def batched(self) -> bool:
        """Whether there is one column a sample."""
        return self.shape[1] == "B"

    @property
    def rows(self) -> int:
        """The first dimension, of anything but a data array.

        Raises:
            TypeError: the first dimension is the batch; a fault of the compiler.
        """
        if not isinstance(self.shape[0], int):
            raise TypeError(f"{self} has no fixed number of rows")
        return self.shape[0]

    @property
    def columns(self) -> int:
        """The second dimension, of a weight or a data array.

        Raises:
            TypeError: the second dimension is the batch; a fault of the compiler.
        """
        if not isinstance(self.shape[1], int):
            raise TypeError(f"{self} has no fixed number of columns")
        return self.shape[1]


class Value(Record):
    """A value in single-assignment form; its name is unique in its graph."""

    name: str
    type: Type

    def __str__(self) -> str:
        return f"%{self.name}"


class Place(NamedTuple):
    """A place in a source file that an operation came from."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"
