"""From a group of the IR to the kernel that computes it and the call of that kernel.

Each family has one function here, named in `FAMILIES` as in the pass that chooses kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nerva_dsl.codegen.bodies import Body, results_of
from nerva_dsl.codegen.byte_kernels import gather_bytes
from nerva_dsl.codegen.c_expression import Statements, number
from nerva_dsl.codegen.featurewise import featurewise
from nerva_dsl.codegen.kernel_plan import Argument, Call, Kernel
from nerva_dsl.codegen.making import (
    COUNT,
    ROW_NAMES,
    Context,
    Made,
    finish,
    label,
    rates,
    read_flags,
    read_input,
    update_lines,
    with_epilogue,
)
from nerva_dsl.codegen.names import Names
from nerva_dsl.codegen.one_sample import load_one, product_one
from nerva_dsl.codegen.products import product
from nerva_dsl.codegen.samplewise import samplewise_loops
from nerva_dsl.codegen.weight_kernels import row_squares, weights
from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
    DenseGradient,
    Group,
    Load,
    Map,
    Reduce,
    Update,
)


def make_kernel(group: Group, context: Context) -> Made | None:
    """The kernel of a group; None if there is nothing to compute."""
    return FAMILIES[group.kernel](group, context)


def _elementwise(template: str) -> Callable[[Group, Context], Made]:
    """Elementwise operations that ride on no other kernel."""

    def make(group: Group, context: Context) -> Made:
        if not all(value.type.batched for value in group.results):
            raise TypeError("an elementwise kernel computes batched values only")
        body, epilogue = with_epilogue(group, context, None, "", frozenset(("rows",)))
        given = [(Argument("int64_t", "rows"), str(group.body[0].result.type.rows))]
        return finish(template, group, given, body, epilogue=epilogue)

    return make


def _gather(group: Group, context: Context) -> Made:
    head = group.body[0]
    if not isinstance(head, Load):
        raise TypeError("a gather begins with a load")
    body, epilogue = with_epilogue(
        group, context, head.result, "turned[row - block][column]", frozenset(("blocks_read",))
    )
    read, data = read_input(head, context)
    given = [
        (Argument(f"const {read.type} *restrict", "data"), data),
        (Argument("const int64_t *", "order"), "job->order"),
        (Argument("int64_t", "first"), "first"),
        (Argument("Run *", "run"), "run"),
        *read_flags(read),
    ]
    return finish("gather", group, given, body, input=read, epilogue=epilogue)


def _samplewise(template: str) -> Callable[[Group, Context], Made]:
    """Reductions over the features of each sample."""

    def make(group: Group, context: Context) -> Made:
        body = Body(context.memory, Statements(context.precision, Names(ROW_NAMES)), "lane")
        loops = samplewise_loops(group, body)
        return finish(template, group, [], body, loops=loops)

    return make


def _featurewise(group: Group, context: Context) -> Made:
    names = Names(ROW_NAMES | {"rows", "lr", "step", "rates"})
    body = Body(context.memory, Statements(context.precision, names), "column", start="")
    features = featurewise(group, body, update_lines(context))
    head = group.body[0]
    match head:
        case Reduce(x=x):
            rows = x.type.rows
        case Update(parameter=parameter):
            rows = parameter.type.rows
        case _:
            rows = head.result.type.rows
    given = [(Argument("int64_t", "rows"), str(rows))]
    return finish(
        "featurewise",
        group,
        [*given, *rates(group, context)],
        body,
        features=features,
        label=label(group),
    )


def _scalar(group: Group, context: Context) -> Made:
    """Sums of columns, and single numbers, by one thread."""
    names = Names(ROW_NAMES | {"rows", "lr", "step", "rates"})
    body = Body(context.memory, Statements(context.precision, names), "row", start="")
    apply_update = update_lines(context)
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
                lines += apply_update(operation, value, "0", body)
                continue
            case _:
                raise TypeError(f"{type(operation).__name__} is not a single number")
        if result.name in stored:
            lines.append(f"*{body.target(result, 'result')} = {body.read(result)};")
    return finish(
        "scalar",
        group,
        [*given, *rates(group, context)],
        body,
        lines=tuple(lines),
        label=label(group),
    )


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
        (COUNT, "count"),
    ]
    return finish("top_gradients", group, given)


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
            given.append((COUNT, "count"))
        return finish(template, group, given)

    return make


def _concat(template: str, stride: str = "1") -> Callable[[Group, Context], Made]:
    """Rows, copied: the parts follow each other, `stride` numbers a row."""

    def make(group: Group, context: Context) -> Made:
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
            place = f"{to} + {first} * {stride}"
            actual = (place, context.memory.address(part), str(part.type.rows))
            calls.append(Call("", actual, head.result.name))
            first += part.type.rows
        return Kernel("", template, "rows, copied", arguments), tuple(calls)

    return make


def _view(group: Group, context: Context) -> None:
    """Nothing to compute."""


FAMILIES: Mapping[str, Callable[[Group, Context], Made | None]] = {
    "gather": _gather,
    "gather_bytes": gather_bytes,
    "spmm": product("spmm"),
    "spmm_bytes": product("spmm_bytes"),
    "spmm_transposed": product("spmm_transposed"),
    "gemm": product("gemm"),
    "gemm_transposed": product("gemm_transposed"),
    "spmm_blocked": product("spmm_blocked"),
    "spmm_transposed_blocked": product("spmm_transposed_blocked"),
    "sddmm": weights("sddmm"),
    "sddmm_bytes": weights("sddmm_bytes"),
    "sddmm_blocked": weights("sddmm_blocked"),
    "gemm_gradient": weights("gemm_gradient"),
    "mkl_spmm": product("mkl_spmm"),
    "mkl_spmm_transposed": product("mkl_spmm_transposed"),
    "mkl_gemm": product("mkl_gemm"),
    "mkl_gemm_transposed": product("mkl_gemm_transposed"),
    "mkl_gemm_gradient": weights("mkl_gemm_gradient"),
    "weightwise": weights("weightwise"),
    "row_squares": row_squares,
    "top_gradients": _top_gradients,
    "activations_mask": _mask("activations_mask"),
    "weights_mask": _mask("weights_mask"),
    "concat": _concat("concat", "STRIDE"),
    "view": _view,
    "samplewise": _samplewise("samplewise"),
    "featurewise": _featurewise,
    "scalar": _scalar,
    "elementwise": _elementwise("elementwise"),
    "load_one": load_one,
    "spmv": product_one("spmv"),
    "gemv": product_one("gemv"),
    "elementwise_one": _elementwise("elementwise_one"),
    "samplewise_one": _samplewise("samplewise_one"),
    "concat_one": _concat("concat_one"),
}
