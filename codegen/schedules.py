"""Schedules as C: an expression in double precision, and a function for each product in it."""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.codegen.c_expression import c_expression
from nerva_dsl.scalar import Apply, Expr, Var, rebuild, variables

_PRECISION = "float64"


@dataclass(frozen=True)
class ProductFunction:
    """A C function that multiplies in a loop.

    Attributes:
        name: of the function.
        arguments: what it reads.
        index: the variable of the loop.
        first, last, factor: C expressions.
    """

    name: str
    arguments: tuple[str, ...]
    index: str
    first: str
    last: str
    factor: str


def schedule_code(*schedules: Expr) -> tuple[tuple[ProductFunction, ...], tuple[str, ...]]:
    """The functions of schedules, each after those that it calls, and their C expressions."""
    functions: dict[Expr, ProductFunction] = {}
    reads: dict[str, tuple[str, ...]] = {}  # of each call, what stands in its parentheses

    def rule(node: Expr) -> Expr:
        if not isinstance(node, Apply) or node.operator != "product":
            return node
        if node not in functions:
            index, first, last, factor = node.arguments
            assert isinstance(index, Var)
            outside = (*variables(first), *variables(last))
            names = [n for name in outside for n in reads.get(name, (name,))]
            inside = [n for name in variables(factor) for n in reads.get(name, (name,))]
            read = dict.fromkeys((*names, *(name for name in inside if name != index.name)))
            parts = [c_expression(part, _PRECISION) for part in (first, last, factor)]
            functions[node] = ProductFunction(
                f"product_{len(functions) + 1}", tuple(read), index.name, *parts
            )
        function = functions[node]
        call = f"{function.name}({', '.join(function.arguments)})"
        reads[call] = function.arguments
        return Var(call)

    texts = tuple(c_expression(rebuild(schedule, rule), _PRECISION) for schedule in schedules)
    return tuple(functions.values()), texts
