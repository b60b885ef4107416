"""Kernels that multiply by a weight."""

from __future__ import annotations

from collections.abc import Callable

from nerva_dsl.codegen.byte_kernels import conversion, stored
from nerva_dsl.codegen.kernel_plan import Argument
from nerva_dsl.codegen.making import Context, Made, finish, with_epilogue
from nerva_dsl.ir.operations import Group, Product, TransposedProduct
from nerva_dsl.ir.types import Value
from nerva_dsl.passes.choose_kernels import MKL_PREFIX

# What the kernels of this module use around the epilogue.
_IN_USE = frozenset(
    (
        *("weight", "value", "x", "dz", "mine", "tile", "span", "strip", "height", "tall"),
        *("packed", "sums", "top", "deep", "from", "part", "end", "next"),
        *("panel", "limit", "ahead", "q", "feature", "w", "shift"),
    )
)


def product(template: str) -> Callable[[Group, Context], Made]:
    """A product and what rides on it.

    MKL writes it to the first result's place, where the epilogue finds it; a generated one hands it
    over in registers.
    """

    def make(group: Group, context: Context) -> Made:
        head = group.head
        match head:
            case Product(weight=weight, x=x) | TransposedProduct(weight=weight, dz=x):
                operand = "x" if isinstance(head, Product) else "dz"
            case _:
                raise TypeError(f"{template} cannot begin with {type(head).__name__}")
        body, epilogue = with_epilogue(group, context, head.result, "sum[column]", _IN_USE)
        x = stored(group, x)
        given = [
            (Argument("const Array *", "weight"), context.memory.array(weight)),
            (Argument("const real *restrict", "value"), _values(weight, context, template)),
            context.memory.operand(x, operand),
        ]
        if not template.startswith(MKL_PREFIX):
            rows, operands = head.result.type.rows, x.type.rows
            if template.startswith("gemm") or template.endswith("_blocked"):
                pieces, panels = context.cutter.dense(rows), False
                given.append((Argument("int64_t", "height"), str(context.cutter.height(rows))))
            elif template == "spmm_bytes":
                pieces, panels = context.cutter.sparse(), False
            else:
                nnz = context.numbers[context.memory.array(weight)]
                panel = context.cutter.panel(rows, nnz, operands)
                pieces, panels = context.cutter.sparse(), panel < operands
                if panels:
                    given.append((Argument("int64_t", "panel"), str(panel)))
            return finish(
                template,
                group,
                given,
                body,
                epilogue=epilogue,
                pieces=pieces,
                panels=panels,
                conversion=conversion(group, context),
            )
        if "spmm" in template:  # MKL's handles know where the values are
            del given[1]
            given.append((Argument("Run *", "run"), "run"))
        product = body.argument(group.results[0])
        return finish(template, group, given, body, epilogue=epilogue, product=product)

    return make


def _values(weight: Value, context: Context, template: str) -> str:
    """Where a product finds the numbers of a weight: by rows, or by columns."""
    address = context.memory.address(weight)
    if not template.startswith("spmm_transposed"):
        return address
    if weight.name in context.by_columns:
        return f"{address} + {context.by_columns[weight.name]}"
    return address.removesuffix("value") + "transposed"
