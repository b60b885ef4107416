"""Building elementwise operations."""

from __future__ import annotations

from nerva_dsl.ir.types import Value
from nerva_dsl.scalar import Expr, Var, substitute, variables


def compact(expression: Expr, inputs: tuple[Value, ...]) -> tuple[Expr, tuple[Value, ...]]:
    """Leave out the operands that an expression does not read, and name equal ones once.

    Args:
        expression: over `a0`, `a1`, ….
        inputs: the operands.

    Returns:
        The same expression over the operands that are left, renumbered, and these.
    """
    read = set(variables(expression))
    kept = list(dict.fromkeys(v for i, v in enumerate(inputs) if f"a{i}" in read))
    names = {
        f"a{i}": Var(f"a{kept.index(value)}") for i, value in enumerate(inputs) if f"a{i}" in read
    }
    return substitute(expression, names), tuple(kept)
