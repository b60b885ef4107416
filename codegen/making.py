"""What the makers of kernels share: where values lie, epilogues, updates, and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nerva_dsl.codegen.bodies import Body, Memory, results_of
from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.featurewise import UpdateLine
from nerva_dsl.codegen.kernel_plan import Argument, Call, Epilogue, Features, Input, Kernel, Store
from nerva_dsl.codegen.names import RESERVED, Names
from nerva_dsl.codegen.tiles import Cutter
from nerva_dsl.ir.operations import (
    DenseGradient,
    Group,
    Load,
    Map,
    Operation,
    Product,
    Reduce,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.types import Value

ELEMENTS = {"uint8": "uint8_t", "int32": "int32_t", "float32": "real", "float64": "real"}
"""C types of the elements of data arrays."""

ROW_NAMES = RESERVED | {"row", "column", "lane", "start", "live", "count", "samples", "sum"}
"""What a row of the epilogue may use without declaring it."""

COUNT = Argument("int", "count")


@dataclass(frozen=True)
class Context:
    """What kernels of one graph need to know of the program.

    Attributes:
        precision: of all numbers.
        memory: where values lie.
        data: the data arrays' members of a job, by name: `x` or `t`.
        updates: names of the update functions, by rule.
        rated: the rules that read what is computed once a step.
        states: names of the optimizer's states, by rule.
        mirrored: names of the weights that keep a transposed copy.
        cutter: cuts the samples for the products.
        numbers: how many each weight stores, by its enumerator.
        by_columns: where the numbers by columns of a stored weight begin behind those by rows, by
            name.
        growing: numbers of the weights whose patterns change, by name.
        sparsely_read: names of what is gathered only where a weight reads it.
    """

    precision: str
    memory: Memory
    data: Mapping[str, str]
    updates: Mapping[str, str]
    rated: frozenset[str]
    states: Mapping[str, tuple[str, ...]]
    mirrored: frozenset[str]
    cutter: Cutter
    numbers: Mapping[str, int]
    by_columns: Mapping[str, int]
    growing: Mapping[str, int]
    sparsely_read: frozenset[str]


Made = tuple[Kernel, tuple[Call, ...]]
"""A kernel without a name yet, and its calls."""


def finish(
    template: str,
    group: Group,
    head: list[tuple[Argument, str]],
    body: Body | None = None,
    **details: object,
) -> Made:
    """A kernel of a group and its call.

    Args:
        template: that lays it out.
        group: that it computes.
        head: its first arguments, with what they are called with.
        body: what is computed, with further arguments.
        details: other attributes of the kernel.
    """
    arguments = [argument for argument, _ in head] + (body.arguments if body else [])
    actual = [text for _, text in head] + (body.actual if body else [])
    kernel = Kernel("", template, _describe(group), tuple(arguments), **details)  # type: ignore[arg-type]
    if body is not None and (kernel.epilogue or kernel.loops or _counts(kernel)):
        kernel = replace(kernel, arguments=(*kernel.arguments, COUNT))
        actual.append("count")
    outcome = ", ".join(value.name for value in group.results) or ", ".join(
        part.parameter.name for part in group.body if isinstance(part, Update)
    )
    return kernel, (Call("", tuple(actual), outcome),)


def _counts(kernel: Kernel) -> bool:
    """Whether a kernel needs to know how many samples there are."""
    features = kernel.features or Features((), ())
    inner = (line for sweep in features.sweeps for line in (*sweep.lines, *sweep.after))
    outer = (*kernel.lines, *kernel.declarations, *features.row_lines)
    return any("count" in line for line in (*outer, *inner))


def with_epilogue(
    group: Group,
    context: Context,
    head: Value | None,
    text: str,
    taken: frozenset[str] = frozenset(),
    segment: int = 0,
) -> tuple[Body, Epilogue]:
    """The elementwise operations that ride on a kernel, and what is stored.

    Args:
        group: with what the kernel computes at its head.
        context: of its graph.
        head: what the kernel computes itself; None if it computes nothing else.
        text: the C expression of a number of it.
        taken: names in use around the epilogue.
        segment: see `Body`.
    """
    statements = Statements(context.precision, Names(ROW_NAMES | taken))
    body = Body(context.memory, statements, "column", segment=segment)
    labels = {}
    if head is not None:
        body.define(head, text)
        labels[head.name] = "sum"
    for operation in group.elementwise:
        body.compute(operation)
        labels[operation.result.name] = operation.label
    stored = results_of(group)
    stores = tuple(
        Store(body.target(value, labels[value.name]), body.read(value))
        for operation in group.body
        for value in operation.results
        if value.name in stored
    )
    return body, Epilogue(tuple(body.row_lines), tuple(body.statements.lines()), stores)


def read_input(load: Load, context: Context, segment: int = 0) -> tuple[Input, str]:
    """What a kernel reads of a data array, and the member of a job that is that array.

    Args:
        load: that the kernel begins with.
        context: of its graph.
        segment: see `Input`.
    """
    source = context.data[load.array.name]
    element = ELEMENTS[load.array.type.element]
    checked = element == "real" and source == "x"
    skips = load.result.name in context.sparsely_read
    return Input(element, load.array.type.columns, checked, segment, skips), f"job->{source}"


def read_flags(read: Input) -> list[tuple[Argument, str]]:
    """What tells a gather which blocks of features a weight reads."""
    return (
        [(Argument("const uint8_t *", "blocks_read"), "model->blocks_read")] if read.skips else []
    )


def rates(group: Group, context: Context) -> list[tuple[Argument, str]]:
    """What updates are given."""
    rules = [operation.rule for operation in group.body if isinstance(operation, Update)]
    given = [(Argument("real", name), f"run->{name}") for name in ("lr", "step") if rules]
    if context.rated.intersection(rules):
        given.append((Argument("Rates", "rates"), "run->rates"))
    return given


def update_lines(context: Context) -> UpdateLine:
    """Updates of parameters that are arguments of the kernel."""

    def lines(update: Update, gradient: str, index: str, body: Body) -> list[str]:
        return applied(context, update, body.parameter(update.parameter), index, gradient)

    return lines


def applied(context: Context, update: Update, array: str, index: str, gradient: str) -> list[str]:
    """The statements that apply a rule to one number."""
    states = range(len(context.states[update.rule]))
    places = [f"&{array}->value[{index}]", gradient]
    places += [f"&{array}->state[{state}][{index}]" for state in states]
    places += ["lr", "step", *["rates"] * (update.rule in context.rated)]
    return [f"{context.updates[update.rule]}({', '.join(places)});"]


def mirrored(context: Context, update: Update, array: str, index: str) -> list[str]:
    """The copy of a new value for the transposed product."""
    if update.parameter.name not in context.mirrored:
        return []
    return [f"{array}->transposed[{array}->position[{index}]] = {array}->value[{index}];"]


def label(group: Group) -> str:
    """A few words on what a group is for: the end of its kernel's name."""
    stored = results_of(group)
    words = [op.label for op in group.body if isinstance(op, Map) and op.result.name in stored]
    words += [op.rule for op in group.body if isinstance(op, Update)]
    return "_".join(list(dict.fromkeys(words))[:3]) or "store"


def _describe(group: Group) -> str:
    """What a group computes, in a line."""
    words = [_word(operation) for operation in group.body]
    return ", ".join(dict.fromkeys(word for word in words if word))


def _word(operation: Operation) -> str:
    match operation:
        case Load():
            return "the batch's samples, turned to feature-major"
        case Product():
            return "W x"
        case TransposedProduct():
            return "transposed W times dz"
        case WeightGradient():
            return "dz times transposed x at the non-zeros of W"
        case DenseGradient():
            return "dz times transposed x at all positions of W, of which the largest are kept"
        case Reduce(kind=kind, axis=axis):
            return f"{kind} over the {axis}"
        case Map(label=label):
            return label
        case Update(rule=rule):
            return f"update by {rule}"
    return ""
