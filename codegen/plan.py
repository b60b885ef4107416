"""The kernel plan: everything the templates need, as plain data.

A `Kernel` is one C function; a `Call` is one use of it. Kernels that would have the same text are
one kernel, so the file grows with distinct kernels and not with layers. A new family of kernels
slots in with a template, a function in `kernels.py` that makes its `Kernel` and `Call` from a
group, and its name in the pass that chooses kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nerva_dsl.codegen.schedules import ProductFunction
from nerva_dsl.codegen.shuffles import Shuffles
from nerva_dsl.codegen.vector_math import Functions
from nerva_dsl.tiling import Tiling

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


@dataclass(frozen=True)
class Entry:
    """The phases of one graph.

    Attributes:
        name: the graph's.
        before: phases up to the one that computes the loss; all, where there is none.
        after: the others.
        totals: places in the arena of what is summed over the samples, in order.
        counts: of the confusion matrices.
        masks: what is copied for the caller from the arena.
    """

    name: str
    before: tuple[tuple[Call, ...], ...]
    after: tuple[tuple[Call, ...], ...]
    totals: tuple[int, ...]
    counts: tuple[Count, ...] = ()
    masks: tuple[Mask, ...] = ()


@dataclass(frozen=True)
class Count:
    """Samples are counted in cells of a table.

    Attributes:
        offset: place in the arena of the number of each sample's cell.
        first: place of the first cell in the caller's array.
    """

    offset: int
    first: int


@dataclass(frozen=True)
class Mask:
    """A mask that the caller wants.

    Attributes:
        offset: its place in the arena.
        rows: features of an activation's mask; 0 for a weight's.
        array: the weight's enumerator; empty for an activation's.
    """

    offset: int
    rows: int
    array: str


@dataclass(frozen=True)
class Array:
    """A parameter of the model.

    Attributes:
        name: as users know it.
        constant: its enumerator in C.
        rows, columns: of the weight; one column for a vector.
        numbers: how many are stored.
        sparse: whether it has a pattern.
        mirrored: whether a transposed copy is kept, for the product with the transpose.
        states: how many arrays of optimizer state lie beside it.
    """

    name: str
    constant: str
    rows: int
    columns: int
    numbers: int
    sparse: bool
    mirrored: bool
    states: int


@dataclass(frozen=True)
class UpdateFunction:
    """An optimizer's rule as a C function of one weight.

    Attributes:
        name: in C.
        comment: the optimizer's name.
        states: names of the state variables.
        lines: declarations of locals, then the assignments in order.
        rated: whether it reads what is computed once a step.
    """

    name: str
    comment: str
    states: tuple[str, ...]
    lines: tuple[str, ...]
    rated: bool


@dataclass(frozen=True)
class Table:
    """A constant column: its numbers, each for `repeat` rows."""

    name: str
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class GrowingWeight:
    """A weight whose pattern changes.

    Attributes:
        array, average: enumerators of its array, and of the average of its gradient or empty.
        layer: its number among the layers.
        normal: whether new weights are normal, with mean `first` and standard deviation `second`,
            or uniform between the two.
        first, second: C expressions.
        states: initial values of the optimizer's state, as C expressions, as many as a parameter
            has at most.
    """

    array: str
    average: str
    layer: int
    normal: bool
    first: str
    second: str
    states: tuple[str, ...]


@dataclass(frozen=True)
class RegrowPlan:
    """How patterns change.

    Attributes:
        unit, every: how often.
        until: the fraction of the training after which they stay, a C expression.
        prune, grow: the file's choices, as enumerators.
        amount: of which weights go, over `epoch`, `epochs` and `step`, in double precision.
        weights: those that change.
        pruners, growers: all choices.
        vectors: of rows whose gradients are computed together.
        columns: whose gradients are computed together.
    """

    unit: str
    every: int
    until: str
    prune: str
    grow: str
    amount: str
    weights: tuple[GrowingWeight, ...]
    pruners: tuple[str, ...]
    growers: tuple[str, ...]
    vectors: int
    columns: int

    @property
    def averages(self) -> bool:
        """Whether averages of gradients are kept."""
        return any(weight.average for weight in self.weights)


@dataclass(frozen=True)
class Watch:
    """A stored activation that is searched when the loss is not finite."""

    layer: int
    offset: int
    size: int


@dataclass(frozen=True)
class Plan:
    """A whole C file.

    Attributes:
        name: the model's.
        real, precision: the type of all numbers, in C and in the language.
        index: C type of a row or column of a sparse weight.
        batch: most samples in a step.
        tiling: how a row of an activation is cut.
        shuffles: of the target's vectors.
        turned: C types of the data arrays that are turned by vectors.
        vector_bytes: width of a vector.
        sparse_tiles: widths of the tiles of sparse products, in vectors.
        panel_tiles: the same of those that go through panels.
        dense_tiles: widths of those of dense products.
        dots: functions that gradients at the non-zeros call.
        cuts: sizes of blocks, strips and stripes, by their names in C.
        arena: numbers in the arena.
        state_arrays: most optimizer state arrays beside a parameter.
        arrays: the parameters.
        readers: enumerators of the sparse weights for whose non-zeros a batch is gathered.
        read_blocks: blocks of features of that batch.
        block: features of one of them.
        tables: constant columns.
        updates: the optimizers.
        kernels: each once.
        entries: the graphs.
        helpers: small functions that the model's expressions call; single-precision ones end in f.
        functions: mathematical functions that they call.
        templates: the templates in use.
        schedule: the learning rate, over `epoch`, `epochs` and `step`, in double precision.
        schedule_reads_step: whether it changes within an epoch.
        products: the functions that it and `regrow` call.
        rates: names and C expressions of what the optimizers compute once a step, over `lr` and
            `step`, in double precision.
        regrow: how patterns change; None if they stay.
        watches: what is searched when the loss is not finite.
        queues: most kernels of a phase that have one.
        groups: of the training step.
        measured: whether the step tells how long each of them takes.
        output_offset: place of the output in the arena after `predict`.
        one_output_offset: the same after `predict_one`.
        few: samples that are predicted one by one.
        outputs: features of the output.
    """

    name: str
    real: str
    precision: str
    index: str
    batch: int
    tiling: Tiling
    shuffles: Shuffles
    turned: tuple[str, ...]
    vector_bytes: int
    sparse_tiles: tuple[int, ...]
    panel_tiles: tuple[int, ...]
    dense_tiles: tuple[int, ...]
    dots: tuple[Dots, ...]
    cuts: Mapping[str, int]
    arena: int
    state_arrays: int
    arrays: tuple[Array, ...]
    readers: tuple[str, ...]
    read_blocks: int
    block: int
    tables: tuple[Table, ...]
    updates: tuple[UpdateFunction, ...]
    kernels: tuple[Kernel, ...]
    entries: tuple[Entry, ...]
    helpers: tuple[str, ...]
    functions: tuple[Functions, ...]
    templates: frozenset[str]
    schedule: str
    schedule_reads_step: bool
    products: tuple[ProductFunction, ...]
    rates: tuple[tuple[str, str], ...]
    regrow: RegrowPlan | None
    watches: tuple[Watch, ...]
    queues: int
    groups: int
    measured: bool
    output_offset: int
    one_output_offset: int
    few: int
    outputs: int
