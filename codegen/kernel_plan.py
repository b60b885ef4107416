"""One C function of a model and its uses, as plain data for the templates.

Kernels that would have the same text are one kernel, so the file grows with distinct kernels and
not with layers. A new family of kernels slots in with a template, a function in `kernels.py` that
makes its `Kernel` and `Call` from a group, and its name in the pass that chooses kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

# Templates of kernels whose work threads take from queues.
_QUEUED = frozenset(
    ("gather", "gather_bytes", "spmm", "spmm_bytes", "spmm_transposed", "sddmm", "sddmm_bytes")
)


@dataclass(frozen=True)
class Argument:
    """A parameter of a kernel: its C type and name."""

    type: str
    name: str

    @property
    def declaration(self) -> str:
        """As it stands in the function's head."""
        space = "" if self.type.endswith("*") else " "
        return f"{self.type}{space}{self.name}"


@dataclass(frozen=True)
class Store:
    """`target[column] = value`, with zero in the padding."""

    target: str
    value: str


@dataclass(frozen=True)
class Epilogue:
    """What happens to each number of a row once it is computed.

    Attributes:
        row_lines: declarations once a row: scalars and the places of rows.
        lines: declarations once a number; `column` is its index in the row.
        stores: what is kept.
    """

    row_lines: tuple[str, ...]
    lines: tuple[str, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Sweep:
    """A loop over a feature's samples, and what follows it.

    Attributes:
        sums: names of what the loop sums up.
        lines: once a sample, at `column`; without any there is no loop.
        after: once a feature.
    """

    sums: tuple[str, ...]
    lines: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """What is done with each feature's samples, in sweeps over its row.

    Attributes:
        row_lines: declarations once a feature.
        sweeps: in order.
    """

    row_lines: tuple[str, ...]
    sweeps: tuple[Sweep, ...]


@dataclass(frozen=True)
class Loop:
    """Part of a samplewise kernel: a pass over the features of a tile of samples.

    Attributes:
        features: rows of the loop; 0 for work done once a sample.
        start: declarations before the loop: the reductions' start values.
        row_lines: once a feature: places of rows.
        lines: once a number; `lane` is the sample within the tile, `column` within the row.
    """

    features: int
    start: tuple[str, ...]
    row_lines: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Input:
    """What a gather reads.

    Attributes:
        type: C type of the data array's elements.
        features: numbers of a sample.
        checked: whether numbers that are not finite are looked for.
        segment: features that follow each other and have the same constants; 0 in a batch.
        skips: whether blocks of features that no weight reads are left out.
    """

    type: str
    features: int
    checked: bool
    segment: int = 0
    skips: bool = False


@dataclass(frozen=True)
class Conversion:
    """What a product makes of a byte: `scale * byte + offset`.

    Attributes:
        scale, offset: C expressions over `feature`, the byte's.
        shifted: whether there is an offset.
    """

    scale: str
    offset: str
    shifted: bool


@dataclass(frozen=True)
class Piece:
    """Tiles of one width that a row is cut into.

    Attributes:
        first: number of the first tile.
        start: the vector at which it begins.
        vectors: in a tile.
        count: how many such tiles follow each other.
        parts: the tiles that each is cut into in turn.
    """

    first: int
    start: int
    vectors: int
    count: int
    parts: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Dots:
    """A function for the dot products of a row with those that its non-zeros read.

    Attributes:
        vectors: of samples.
        bytes: whether those are stored as bytes.
        block: whether it computes a block of them at once, or one after the other.
    """

    vectors: int
    bytes: bool
    block: bool

    @property
    def name(self) -> str:
        """In C."""
        return f"{'byte_' * self.bytes}{'block' if self.block else 'dots'}_{self.vectors}"


@dataclass(frozen=True)
class Kernel:
    """One C function.

    Attributes:
        name: in C.
        template: the file that lays it out.
        comment: what it computes.
        arguments: of the function.
        input: what a gather reads; None for other kernels.
        epilogue: what follows for each number; None for kernels of another shape.
        lines: once a weight, at `q`, or, of a scalar kernel, all that it does.
        moves: once a weight too, but not to contiguous places.
        touched: members of the weight that the lines and moves read or write at `q`.
        declarations: of a kernel that works on each weight: what is the same for all of them.
        features: what is done with each feature, or with the rows of a gradient's dz; None for
            others.
        loops: of a samplewise kernel; empty for others.
        pieces: of a product, or of a gradient at the non-zeros: how the samples are cut.
        panels: whether it goes through its operand in panels.
        conversion: what a product makes of its operand's bytes; None where they are numbers.
        label: what it is for, as the end of its name.
        product: the argument that MKL writes a product to, where the epilogue finds it.
        implements: the source lines of all its uses.
    """

    name: str
    template: str
    comment: str
    arguments: tuple[Argument, ...]
    input: Input | None = None
    epilogue: Epilogue | None = None
    lines: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    declarations: tuple[str, ...] = ()
    features: Features | None = None
    loops: tuple[Loop, ...] = ()
    pieces: tuple[Piece, ...] = ()
    panels: bool = False
    conversion: Conversion | None = None
    label: str = ""
    product: str = ""
    implements: tuple[str, ...] = ()

    @property
    def queued(self) -> bool:
        """Whether threads take its work from a queue, its first argument."""
        return self.template in _QUEUED

    @property
    def tiles(self) -> int:
        """How many tiles a row is cut into."""
        return sum(piece.count for piece in self.pieces)

    def dots(self, piece: Piece, *, block: bool) -> Dots:
        """The function that a gradient at the non-zeros calls for a tile."""
        return Dots(piece.vectors, self.conversion is not None, block)


@dataclass(frozen=True)
class Call:
    """One use of a kernel.

    Attributes:
        kernel: its name.
        arguments: what it is called with.
        comment: the values that it gives.
        group: number of the group among the graph's, whose part it is.
        queue: number of the queue among the phase's; None if threads share its work otherwise.
    """

    kernel: str
    arguments: tuple[str, ...]
    comment: str
    group: int = 0
    queue: int | None = None
