"""The kernel plan: everything the templates need, as plain data.

The kernels themselves, and their uses, are in `kernel_plan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nerva_dsl.codegen.kernel_plan import Call, Dots, Kernel
from nerva_dsl.codegen.schedules import ProductFunction
from nerva_dsl.codegen.shuffles import Shuffles
from nerva_dsl.codegen.vector_math import Functions
from nerva_dsl.tiling import Tiling


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
