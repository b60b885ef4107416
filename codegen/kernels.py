"""From a group of the IR to the kernel that computes it and the call of that kernel.

Each family has one function here, named in `FAMILIES` as in the pass that chooses kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from nerva_dsl.codegen.bodies import Body, Memory, results_of
from nerva_dsl.codegen.c_expression import Statements, number
from nerva_dsl.codegen.featurewise import UpdateLine, featurewise_sweeps
from nerva_dsl.codegen.names import RESERVED, Names
from nerva_dsl.codegen.plan import (
    Argument,
    Call,
    Epilogue,
    Input,
    Kernel,
    Piece,
    Store,
)
from nerva_dsl.codegen.samplewise import samplewise_loops
from nerva_dsl.codegen.shuffles import shuffles
from nerva_dsl.codegen.tiles import Cutter
from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
    DenseGradient,
    Group,
    Load,
    Map,
    Operation,
    Product,
    Reduce,
    RowSquares,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.types import Value
from nerva_dsl.passes.choose_kernels import MKL_PREFIX

_ELEMENTS = {"uint8": "uint8_t", "int32": "int32_t", "float32": "real", "float64": "real"}

# What a row of the epilogue may use without declaring it.
_ROW_NAMES = RESERVED | {"row", "column", "lane", "start", "live", "count", "samples", "sum"}

# The same for what is done with a weight.
_WEIGHT_NAMES = frozenset(
    [
        "g",
        "q",
        "dz",
        "x",
        "weight",
        "lr",
        "step",
        "rates",
        "tile",
        "panel",
        "mine",
        "first",
        "last",
        "next",
        "limit",
        "here",
        "begin",
        "end",
        "gradient",
        "i",
        "strip",
        "width",
    ]
)

_COUNT = Argument("int", "count")


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


Made = tuple[Kernel, tuple[Call, ...]]
"""A kernel without a name yet, and its calls."""


def make_kernel(group: Group, context: Context) -> Made | None:
    """The kernel of a group; None if there is nothing to compute."""
    return FAMILIES[group.kernel](group, context)


def _finish(
    template: str,
    group: Group,
    head: list[tuple[Argument, str]],
    body: Body | None = None,
    **details: object,
) -> Made:
    arguments = [argument for argument, _ in head] + (body.arguments if body else [])
    actual = [text for _, text in head] + (body.actual if body else [])
    kernel = Kernel("", template, _describe(group), tuple(arguments), **details)  # type: ignore[arg-type]
    if body is not None and (kernel.epilogue or kernel.loops or _counts(kernel)):
        kernel = replace(kernel, arguments=(*kernel.arguments, _COUNT))
        actual.append("count")
    outcome = ", ".join(value.name for value in group.results) or ", ".join(
        part.parameter.name for part in group.body if isinstance(part, Update)
    )
    return kernel, (Call("", tuple(actual), outcome),)


def _counts(kernel: Kernel) -> bool:
    """Whether a kernel needs to know how many samples there are."""
    inner = (line for sweep in kernel.sweeps for line in (*sweep.lines, *sweep.after))
    return any("count" in line for line in (*kernel.lines, *kernel.row_lines, *inner))


def _epilogue(
    group: Group, context: Context, head: Value | None, text: str
) -> tuple[Body, Epilogue]:
    """The elementwise operations that ride on a kernel, and what is stored."""
    body = Body(context.memory, Statements(context.precision, Names(_ROW_NAMES)), "column")
    labels = {}
    if head is not None:
        body.define(head, text)
        labels[head.name] = "sum"
    for operation in group.body:
        if isinstance(operation, Map):
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


def _product(template: str) -> Callable[[Group, Context], Made]:
    """A product and what rides on it.

    MKL writes it to the first result's place, where the epilogue finds it; a generated one hands it
    over in registers.
    """

    def make(group: Group, context: Context) -> Made:
        head = group.body[0]
        match head:
            case Product(weight=weight, x=x) | TransposedProduct(weight=weight, dz=x):
                operand = "x" if isinstance(head, Product) else "dz"
            case _:
                raise TypeError(f"{template} cannot begin with {type(head).__name__}")
        body, epilogue = _epilogue(group, context, head.result, "sum[column]")
        given = [
            (Argument("const Array *", "weight"), context.memory.array(weight)),
            (Argument("const real *restrict", "value"), _values(weight, context, template)),
            (Argument("const real *restrict", operand), context.memory.address(x)),
        ]
        if not template.startswith(MKL_PREFIX):
            pieces = _pieces(head, context)
            return _finish(template, group, given, body, epilogue=epilogue, pieces=pieces)
        if "spmm" in template:  # MKL's handles know where the values are
            del given[1]
            given.append((Argument("Run *", "run"), "run"))
        product = body.argument(group.results[0])
        return _finish(template, group, given, body, epilogue=epilogue, product=product)

    return make


def _pieces(product: Product | TransposedProduct, context: Context) -> tuple[Piece, ...]:
    """How a product cuts the samples."""
    weight = product.weight
    if weight.type.format != "csr":
        return context.cutter.dense()
    rows, operands = weight.type.rows, weight.type.columns
    if isinstance(product, TransposedProduct):
        rows, operands = operands, rows
    return context.cutter.sparse(rows, context.numbers[context.memory.array(weight)], operands)


def _values(weight: Value, context: Context, template: str) -> str:
    """Where a product finds the numbers of a weight: by rows, or by columns."""
    address = context.memory.address(weight)
    if template != "spmm_transposed":
        return address
    if weight.name in context.by_columns:
        return f"{address} + {context.by_columns[weight.name]}"
    return address.removesuffix("value") + "transposed"


def _elementwise(group: Group, context: Context) -> Made:
    if not all(value.type.batched for value in group.results):
        raise TypeError("an elementwise kernel computes batched values only")
    body, epilogue = _epilogue(group, context, None, "")
    rows = group.body[0].result.type.rows
    return _finish(
        "elementwise", group, [(Argument("int64_t", "rows"), str(rows))], body, epilogue=epilogue
    )


def _gather(group: Group, context: Context) -> Made:
    head = group.body[0]
    if not isinstance(head, Load):
        raise TypeError("a gather begins with a load")
    body, epilogue = _epilogue(group, context, head.result, "turned[row - block][column]")
    source = context.data[head.array.name]
    element = _ELEMENTS[head.array.type.element]
    read = Input(element, head.array.type.columns, element == "real" and source == "x")
    given = [
        (Argument(f"const {element} *restrict", "data"), f"job->{source}"),
        (Argument("const int64_t *", "order"), "job->order"),
        (Argument("int64_t", "first"), "first"),
        (Argument("Run *", "run"), "run"),
    ]
    return _finish("gather", group, given, body, input=read, epilogue=epilogue)


def _samplewise(group: Group, context: Context) -> Made:
    body = Body(context.memory, Statements(context.precision, Names(_ROW_NAMES)), "lane")
    loops = samplewise_loops(group, body)
    return _finish("samplewise", group, [], body, loops=loops)


def _featurewise(group: Group, context: Context) -> Made:
    names = Names(_ROW_NAMES | {"rows", "lr", "step", "rates"})
    body = Body(context.memory, Statements(context.precision, names), "column", start="")
    row_lines, sweeps = featurewise_sweeps(group, body, _update_lines(context))
    head = group.body[0]
    match head:
        case Reduce(x=x):
            rows = x.type.rows
        case Update(parameter=parameter):
            rows = parameter.type.rows
        case _:
            rows = head.result.type.rows
    given = [(Argument("int64_t", "rows"), str(rows))]
    return _finish(
        "featurewise",
        group,
        [*given, *_rates(group, context)],
        body,
        row_lines=row_lines,
        sweeps=sweeps,
        label=_label(group),
    )


def _scalar(group: Group, context: Context) -> Made:
    """Sums of columns, and single numbers, by one thread."""
    names = Names(_ROW_NAMES | {"rows", "lr", "step", "rates"})
    body = Body(context.memory, Statements(context.precision, names), "row", start="")
    update_lines = _update_lines(context)
    given: list[tuple[Argument, str]] = []
    lines: list[str] = []
    stored = results_of(group)
    for operation in group.body:
        match operation:
            case Reduce(x=x, kind="sum", result=result):
                source, rows = names.fresh("column"), names.fresh("rows_of")
                given.append((Argument("const real *restrict", source), body.memory.address(x)))
                given.append((Argument("int64_t", rows), str(x.type.rows)))
                name = names.fresh("sum_of")
                lines.append(f"real {name} = 0;")
                lines.append(f"for (int64_t row = 0; row < {rows}; row++) {name} += {source}[row];")
                body.define(result, name)
            case Map(result=result):
                body.statements = Statements(context.precision, names)
                before = len(body.row_lines)
                name = body.compute(operation)
                lines += [*body.row_lines[before:], *body.statements.lines()]
            case Update(gradient=gradient):
                before = len(body.row_lines)
                value = body.read(gradient)
                lines += body.row_lines[before:]
                lines += update_lines(operation, value, "0", body)
                continue
            case _:
                raise TypeError(f"{type(operation).__name__} is not a single number")
        if result.name in stored:
            lines.append(f"*{body.target(result, 'result')} = {body.read(result)};")
    return _finish(
        "scalar",
        group,
        [*given, *_rates(group, context)],
        body,
        lines=tuple(lines),
        label=_label(group),
    )


def _weights(template: str) -> Callable[[Group, Context], Made]:
    """What is done with each weight: the gradient at it, elementwise operations, the update."""

    def make(group: Group, context: Context) -> Made:
        head = group.body[0]
        names = Names(_ROW_NAMES | _WEIGHT_NAMES)
        body = Body(context.memory, Statements(context.precision, names), "q")
        given: list[tuple[Argument, str]] = []
        match head:
            case WeightGradient(weight=weight, dz=dz, x=x):
                given.append((Argument("Array *", "weight"), context.memory.array(weight)))
                for value, name in ((dz, "dz"), (x, "x")):
                    address = context.memory.address(value)
                    given.append((Argument("const real *restrict", name), address))
                if template == "sddmm":
                    given.append((Argument("int64_t", "panel"), str(_panel(weight, context))))
                body.define(head.result, "g")
            case Map(result=result):
                given.append((Argument("Array *", "weight"), context.memory.array(result)))
            case Update(parameter=parameter):
                given.append((Argument("Array *", "weight"), context.memory.array(parameter)))
        lines, moves = _weight_lines(group, body, context)
        return _finish(
            template,
            group,
            [*given, *_rates(group, context)],
            body,
            row_lines=tuple(body.row_lines),
            lines=lines,
            moves=moves,
            label=_label(group),
        )

    return make


def _panel(weight: Value, context: Context) -> int:
    """How many columns a weight gradient goes through at once."""
    nnz = context.numbers[context.memory.array(weight)]
    block = shuffles(context.cutter.tiling.lanes).block
    return context.cutter.panel(nnz, weight.type.rows, weight.type.columns, block)


def _weight_lines(
    group: Group, body: Body, context: Context
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is done with a weight at `q`: what stays at its place, and what goes elsewhere."""
    stored = results_of(group)
    tail: list[str] = []
    moves: list[str] = []
    for operation in group.body:
        if isinstance(operation, Map):
            body.compute(operation)
    for operation in group.body:
        if isinstance(operation, Update):
            gradient = body.read(operation.gradient)
            tail += _applied(context, operation, "weight", "q", gradient)
            moves += _mirrored(context, operation, "weight", "q")
        for value in operation.results:
            if value.name in stored:
                target = body.target(value, "gradient" if operation is group.body[0] else "result")
                tail.append(f"{target}[q] = {body.read(value)};")
                if value.name in context.by_columns:
                    place = f"{context.by_columns[value.name]} + weight->position[q]"
                    moves.append(f"{target}[{place}] = {target}[q];")
    return (*body.statements.lines(), *tail), tuple(moves)


def _row_squares(group: Group, context: Context) -> Made:
    head = group.body[0]
    if not isinstance(head, RowSquares):
        raise TypeError("row_squares begins with squares")
    given = [
        (Argument("const Array *", "weight"), context.memory.array(head.x)),
        (Argument("const real *restrict", "x"), context.memory.address(head.x)),
        (Argument("real *restrict", "squares"), context.memory.address(head.result)),
    ]
    return _finish("row_squares", group, given)


def _top_gradients(group: Group, context: Context) -> Made:
    head = group.body[0]
    if not isinstance(head, DenseGradient):
        raise TypeError("top_gradients begins with a gradient at all positions")
    given = [
        (Argument("Growth *", "growth"), f"&model->growths[{context.growing[head.weight.name]}]"),
        (Argument("const Array *", "weight"), context.memory.array(head.weight)),
        (Argument("const real *restrict", "dz"), context.memory.address(head.dz)),
        (Argument("const real *restrict", "x"), context.memory.address(head.x)),
        (Argument("Run *", "run"), "run"),
        (_COUNT, "count"),
    ]
    return _finish("top_gradients", group, given)


def _mask(template: str) -> Callable[[Group, Context], Made]:
    """The random numbers of a mask."""

    def make(group: Group, context: Context) -> Made:
        head = group.body[0]
        if not isinstance(head, Bernoulli):
            raise TypeError(f"{template} cannot begin with {type(head).__name__}")
        from nerva_dsl.runtime import masks  # noqa: PLC0415 -- imports NumPy

        kept = number(1 / head.keep, context.precision)
        given = [(Argument("real *restrict", "mask"), context.memory.address(head.result))]
        if head.like is None:
            given.append((Argument("int64_t", "rows"), str(head.result.type.rows)))
        else:
            given.append((Argument("const Array *", "weight"), context.memory.array(head.like)))
        given += [
            (Argument("uint32_t", "below"), f"{masks.threshold(head.keep)}u"),
            (Argument("real", "kept"), kept),
            (Argument("uint32_t", "stream"), f"{head.stream}u"),
            (Argument("const Run *", "run"), "run"),
        ]
        if head.like is None:
            given.append((_COUNT, "count"))
        return _finish(template, group, given)

    return make


def _concat(group: Group, context: Context) -> Made:
    head = group.body[0]
    if not isinstance(head, Concat):
        raise TypeError("concat begins with a concatenation")
    arguments = (
        Argument("real *restrict", "to"),
        Argument("const real *restrict", "from"),
        Argument("int64_t", "rows"),
    )
    to, first, calls = context.memory.address(head.result), 0, []
    for part in head.parts:
        place = f"{to} + {first} * STRIDE"
        actual = (place, context.memory.address(part), str(part.type.rows))
        calls.append(Call("", actual, head.result.name))
        first += part.type.rows
    return Kernel("", "concat", "rows, copied", arguments), tuple(calls)


def _view(group: Group, context: Context) -> None:
    """Nothing to compute."""


def _rates(group: Group, context: Context) -> list[tuple[Argument, str]]:
    """What updates are given."""
    rules = [operation.rule for operation in group.body if isinstance(operation, Update)]
    given = [(Argument("real", name), f"run->{name}") for name in ("lr", "step") if rules]
    if context.rated.intersection(rules):
        given.append((Argument("Rates", "rates"), "run->rates"))
    return given


def _update_lines(context: Context) -> UpdateLine:
    """Updates of parameters that are arguments of the kernel."""

    def lines(update: Update, gradient: str, index: str, body: Body) -> list[str]:
        return _applied(context, update, body.parameter(update.parameter), index, gradient)

    return lines


def _applied(context: Context, update: Update, array: str, index: str, gradient: str) -> list[str]:
    """The statements that apply a rule to one number."""
    states = range(len(context.states[update.rule]))
    places = [f"&{array}->value[{index}]", gradient]
    places += [f"&{array}->state[{state}][{index}]" for state in states]
    places += ["lr", "step", *["rates"] * (update.rule in context.rated)]
    return [f"{context.updates[update.rule]}({', '.join(places)});"]


def _mirrored(context: Context, update: Update, array: str, index: str) -> list[str]:
    """The copy of a new value for the transposed product."""
    if update.parameter.name not in context.mirrored:
        return []
    return [f"{array}->transposed[{array}->position[{index}]] = {array}->value[{index}];"]


def _label(group: Group) -> str:
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


FAMILIES: Mapping[str, Callable[[Group, Context], Made | None]] = {
    "gather": _gather,
    "spmm": _product("spmm"),
    "spmm_transposed": _product("spmm_transposed"),
    "gemm": _product("gemm"),
    "gemm_transposed": _product("gemm_transposed"),
    "sddmm": _weights("sddmm"),
    "gemm_gradient": _weights("gemm_gradient"),
    "mkl_spmm": _product("mkl_spmm"),
    "mkl_spmm_transposed": _product("mkl_spmm_transposed"),
    "mkl_gemm": _product("mkl_gemm"),
    "mkl_gemm_transposed": _product("mkl_gemm_transposed"),
    "mkl_gemm_gradient": _weights("mkl_gemm_gradient"),
    "weightwise": _weights("weightwise"),
    "row_squares": _row_squares,
    "top_gradients": _top_gradients,
    "activations_mask": _mask("activations_mask"),
    "weights_mask": _mask("weights_mask"),
    "concat": _concat,
    "view": _view,
    "samplewise": _samplewise,
    "featurewise": _featurewise,
    "scalar": _scalar,
    "elementwise": _elementwise,
}
