"""Batches of bytes: how they are gathered, and what a product makes of a byte that it reads."""

from __future__ import annotations

from nerva_dsl.codegen.c_expression import c_expression
from nerva_dsl.codegen.kernel_plan import Argument, Conversion
from nerva_dsl.codegen.making import COUNT, Context, Made, finish, read_flags, read_input
from nerva_dsl.ir.operations import Group, Load, Map
from nerva_dsl.ir.types import Value
from nerva_dsl.scalar import Apply, Expr, Number, Var, apply, substitute
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import simplify


def gather_bytes(group: Group, context: Context) -> Made:
    """The samples of a batch, turned, as the bytes that they are."""
    head = group.head
    if not isinstance(head, Load):
        raise TypeError("a gather begins with a load")
    read, data = read_input(head, context)
    given = [
        (Argument("uint8_t *restrict", "to"), context.memory.address(head.result)),
        (Argument("const uint8_t *restrict", "data"), data),
        (Argument("const int64_t *", "order"), "job->order"),
        (Argument("int64_t", "first"), "first"),
        (COUNT, "count"),
        *read_flags(read),
    ]
    return finish("gather_bytes", group, given, input=read)


def stored(group: Group, x: Value) -> Value:
    """What a product reads, as it is stored: bytes, if the group begins with their conversion."""
    first = _conversion(group)
    return x if first is None or x != first.result else first.inputs[0]


def _conversion(group: Group) -> Map | None:
    first = group.body[0]
    return first if isinstance(first, Map) and first is not group.head else None


def conversion(group: Group, context: Context) -> Conversion | None:
    """Scale and offset from a byte that a product reads to the number that it multiplies.

    None if it reads numbers.
    """
    first = _conversion(group)
    if first is None:
        return None
    names: dict[str, Expr] = {}
    for i, value in enumerate(first.inputs):
        if value.name in context.memory.tables:
            table, repeat = context.memory.tables[value.name]
            place = "feature" if repeat == 1 else f"feature / {repeat}"
            names[f"a{i}"] = Var(f"{table}[{place}]")
    scale = derivative(first.expression, "a0")
    match first.expression:  # as the pass writes it
        case Apply("add", (_, offset)):
            pass
        case Apply("sub", (_, subtracted)):
            offset = simplify(apply("neg", subtracted))
        case _:
            offset = Number(0.0)
    scale, offset = (substitute(part, names) for part in (scale, offset))
    return Conversion(
        c_expression(scale, context.precision),
        c_expression(offset, context.precision),
        shifted=offset != Number(0.0),
    )
