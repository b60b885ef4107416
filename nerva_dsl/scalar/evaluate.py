"""Evaluation of scalar expressions with NumPy: the meaning that generated C is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import erf

from nerva_dsl.scalar.nodes import MAX_FACTORS, Apply, Expr, Number, Var, walk

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "neg": np.negative,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "select": np.where,
    "stated": lambda value, argument, slope: value,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "erf": erf,
}


def evaluate(expression: Expr, operands: Mapping[str, Any], dtype: type[np.floating[Any]]) -> Any:
    """The value of an expression.

    Args:
        expression: what to evaluate.
        operands: an array or a number for each variable; arrays broadcast.
        dtype: precision of the constants; arrays should have it too.

    Returns:
        An array of the operands' common shape, or a scalar. Bounds of a `product` are scalars.
    """
    values: dict[int, Any] = {}
    # What a product binds has no value outside it.
    operands = {**dict.fromkeys(_bound(expression), dtype(np.nan)), **operands}
    with np.errstate(all="ignore"):  # a branch that is not taken may overflow
        for node in walk(expression):
            match node:
                case Number(value):
                    values[id(node)] = dtype(value)
                case Var(name):
                    values[id(node)] = operands[name]
                case Apply("product", (Var(index), first, last, factor)):
                    bounds = values[id(first)], values[id(last)]
                    values[id(node)] = _product(factor, index, bounds, operands, dtype)
                case Apply(operator, arguments):
                    values[id(node)] = _FUNCTIONS[operator](*(values[id(a)] for a in arguments))
    return values[id(expression)]


def _bound(expression: Expr) -> list[str]:
    """The variables that products in an expression bind."""
    return [
        node.arguments[0].name
        for node in walk(expression)
        if isinstance(node, Apply)
        and node.operator == "product"
        and isinstance(node.arguments[0], Var)
    ]


def _product(
    factor: Expr,
    index: str,
    bounds: tuple[Any, Any],
    operands: Mapping[str, Any],
    dtype: type[np.floating[Any]],
) -> Any:
    first, last = bounds
    result, k = dtype(1), 0
    while k <= last - first and result != 0:
        if k == MAX_FACTORS:
            return dtype(np.nan)
        result = result * evaluate(factor, {**operands, index: first + k}, dtype)
        k += 1
    return result
