"""From a group of the IR to the kernel that computes it and the call of that kernel.

Each family has one function here, named in `FAMILIES` as in the pass that chooses kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nerva_dsl.codegen.bodies import Body, Memory, results_of
from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.names import RESERVED, Names
from nerva_dsl.codegen.plan import (
    Argument,
    Call,
    Epilogue,
    Gradient,
    Input,
    Kernel,
    Store,
)
from nerva_dsl.codegen.samplewise import samplewise_loops
from nerva_dsl.ir.operations import (
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
from nerva_dsl.passes.choose_kernels import MKL_PREFIX

_ELEMENTS = {"uint8": "uint8_t", "int32": "int32_t", "float32": "real", "float64": "real"}

# What a row of the epilogue may use without declaring it.
_ROW_NAMES = RESERVED | {"row", "column", "lane", "start", "live", "count", "samples", "sum"}

_COUNT = Argument("int", "count")


@dataclass(frozen=True)
class Context:
    """What kernels of one graph need to know of the program.

    Attributes:
        precision: of all numbers.
        memory: where values lie.
        data: the data arrays' members of a job, by name: `x` or `t`.
        updates: names of the update functions, by rule.
        states: names of the optimizer's states, by rule.
        mirrored: names of the weights that keep a transposed copy.
        results: position among the parameters of each gradient that the caller wants, by value.
    """

    precision: str
    memory: Memory
    data: Mapping[str, str]
    updates: Mapping[str, str]
    states: Mapping[str, tuple[str, ...]]
    mirrored: frozenset[str]
    results: Mapping[str, int]


def make_kernel(group: Group, context: Context) -> tuple[Kernel, Call]:
    """The kernel of a group, without a name yet, and its call."""
    return FAMILIES[group.kernel](group, context)


def _finish(
    template: str,
    group: Group,
    head: list[tuple[Argument, str]],
    body: Body | None = None,
    **details: object,
) -> tuple[Kernel, Call]:
    arguments = [argument for argument, _ in head] + (body.arguments if body else [])
    actual = [text for _, text in head] + (body.actual if body else [])
    if body is not None:
        arguments, actual = [*arguments, _COUNT], [*actual, "count"]
    kernel = Kernel("", template, _describe(group), tuple(arguments), **details)  # type: ignore[arg-type]
    outcome = ", ".join(value.name for value in group.results) or ", ".join(
        part.parameter.name for part in group.body if isinstance(part, Update)
    )
    return kernel, Call("", tuple(actual), outcome)


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


def _product(template: str) -> Callable[[Group, Context], tuple[Kernel, Call]]:
    """A product and what rides on it.

    MKL writes it to the first result's place, where the epilogue finds it; a generated one hands it
    over in registers.
    """

    def make(group: Group, context: Context) -> tuple[Kernel, Call]:
        head = group.body[0]
        match head:
            case Product(weight=weight, x=x) | TransposedProduct(weight=weight, dz=x):
                operand = "x" if isinstance(head, Product) else "dz"
            case _:
                raise TypeError(f"{template} cannot begin with {type(head).__name__}")
        body, epilogue = _epilogue(group, context, head.result, "sum[column]")
        given = [
            (Argument("const Array *", "weight"), _array(weight, context)),
            (Argument("const real *restrict", operand), f"arena + {context.memory.arena[x.name]}"),
        ]
        if not template.startswith(MKL_PREFIX):
            return _finish(template, group, given, body, epilogue=epilogue)
        given.append((Argument("Run *", "run"), "run"))
        product = body.argument(group.results[0])
        return _finish(template, group, given, body, epilogue=epilogue, product=product)

    return make


def _elementwise(group: Group, context: Context) -> tuple[Kernel, Call]:
    if not all(value.type.batched for value in group.results):
        raise TypeError("an elementwise kernel computes batched values only")
    body, epilogue = _epilogue(group, context, None, "")
    rows = group.body[0].result.type.rows
    return _finish(
        "elementwise", group, [(Argument("int64_t", "rows"), str(rows))], body, epilogue=epilogue
    )


def _gather(group: Group, context: Context) -> tuple[Kernel, Call]:
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


def _samplewise(group: Group, context: Context) -> tuple[Kernel, Call]:
    body = Body(context.memory, Statements(context.precision, Names(_ROW_NAMES)), "lane")
    loops = samplewise_loops(group, body)
    return _finish("samplewise", group, [], body, loops=loops)


def _gradient(template: str) -> Callable[[Group, Context], tuple[Kernel, Call]]:
    def make(group: Group, context: Context) -> tuple[Kernel, Call]:
        head = group.body[0]
        updates = [part for part in group.body if isinstance(part, Update)]
        if len(updates) > 1:
            raise TypeError("a gradient updates one parameter")
        update = updates[0] if updates else None
        given: list[tuple[Argument, str]] = []
        place = context.memory.arena
        match head:
            case WeightGradient(weight=weight, dz=dz, x=x):
                given.append((Argument("Array *", "weight"), _array(weight, context)))
                for value, name in ((dz, "dz"), (x, "x")):
                    text = f"arena + {place[value.name]}"
                    given.append((Argument("const real *restrict", name), text))
            case Reduce(x=x):
                if update is not None:
                    array = _array(update.parameter, context)
                    given.append((Argument("Array *", "vector"), array))
                else:
                    given.append((Argument("int64_t", "rows"), str(x.type.rows)))
                given.append((Argument("const real *restrict", "x"), f"arena + {place[x.name]}"))
            case _:
                raise TypeError(f"{template} cannot begin with {type(head).__name__}")
        if update is None:
            target = f"gradients[{context.results[head.result.name]}]"
            given.append((Argument("real *restrict", "gradient"), target))
            return _finish(template, group, given, gradient=Gradient("", (), mirrored=False))
        given += [(Argument("real", name), f"run->{name}") for name in ("lr", "step")]
        states = tuple(range(len(context.states[update.rule])))
        detail = Gradient(
            context.updates[update.rule], states, update.parameter.name in context.mirrored
        )
        return _finish(template, group, given, gradient=detail)

    return make


def _array(value: Value, context: Context) -> str:
    return f"&model->arrays[{context.memory.arrays[value.name]}]"


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
        case Reduce(kind=kind, axis=axis):
            return f"{kind} over the {axis}"
        case Map(label=label):
            return label
        case Update(rule=rule):
            return f"update by {rule}"
    return ""


FAMILIES: Mapping[str, Callable[[Group, Context], tuple[Kernel, Call]]] = {
    "gather": _gather,
    "spmm": _product("spmm"),
    "spmm_transposed": _product("spmm_transposed"),
    "gemm": _product("gemm"),
    "gemm_transposed": _product("gemm_transposed"),
    "sddmm": _gradient("sddmm"),
    "gemm_gradient": _gradient("gemm_gradient"),
    "mkl_spmm": _product("mkl_spmm"),
    "mkl_spmm_transposed": _product("mkl_spmm_transposed"),
    "mkl_gemm": _product("mkl_gemm"),
    "mkl_gemm_transposed": _product("mkl_gemm_transposed"),
    "mkl_gemm_gradient": _gradient("mkl_gemm_gradient"),
    "batch_sum": _gradient("batch_sum"),
    "samplewise": _samplewise,
    "elementwise": _elementwise,
}
