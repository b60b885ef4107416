"""Kernels of the graph for one sample that differ from a batch's by more than their template.

A row is a single number. The calling thread runs them: what they do takes less time than waking
another. Their templates give `STRIDE` its value here, which hides that of a batch, so that the same
epilogues serve.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from nerva_dsl.codegen.kernel_plan import Argument
from nerva_dsl.codegen.making import (
    Context,
    Made,
    finish,
    read_input,
    with_epilogue,
)
from nerva_dsl.ir.operations import Group, Load, Product

# What the kernels of this module use around the epilogue.
_IN_USE = frozenset(("weight", "value", "x", "sums", "strip", "end", "sample", "rows", "part"))


def load_one(group: Group, context: Context) -> Made:
    """Takes a sample from a data array."""
    head = group.body[0]
    if not isinstance(head, Load):
        raise TypeError("load_one begins with a load")
    repeats = [
        context.memory.tables[value.name][1]
        for value in group.operands
        if value.name in context.memory.tables
    ]
    segment = gcd(head.array.type.columns, *(repeat for repeat in repeats if repeat > 1))
    body, epilogue = with_epilogue(
        group, context, head.result, "(real)sample[row]", _IN_USE, segment
    )
    read, data = read_input(head, context, segment)
    given = [
        (Argument(f"const {read.type} *restrict", "data"), data),
        (Argument("int64_t", "place"), "job->order ? job->order[first] : first"),
        (Argument("Run *", "run"), "run"),
    ]
    return finish("load_one", group, given, body, input=read, epilogue=epilogue)


def product_one(template: str) -> Callable[[Group, Context], Made]:
    """A product with one sample and what rides on it."""

    def make(group: Group, context: Context) -> Made:
        head = group.body[0]
        if not isinstance(head, Product):
            raise TypeError(f"{template} cannot begin with {type(head).__name__}")
        body, epilogue = with_epilogue(group, context, head.result, "sums[row - strip]", _IN_USE)
        given = [
            (Argument("const Array *", "weight"), context.memory.array(head.weight)),
            (Argument("const real *restrict", "value"), context.memory.address(head.weight)),
            (Argument("const real *restrict", "x"), context.memory.address(head.x)),
        ]
        return finish(template, group, given, body, epilogue=epilogue)

    return make
