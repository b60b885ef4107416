"""Evaluation of scalar expressions with NumPy: the meaning that generated C is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import erf

from nerva_dsl.scalar.nodes import Apply, Expr, Number, Var, walk

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
        An array of the operands' common shape, or a scalar.
    """
    values: dict[int, Any] = {}
    with np.errstate(all="ignore"):  # a branch that is not taken may overflow
        for node in walk(expression):
            match node:
                case Number(value):
                    values[id(node)] = dtype(value)
                case Var(name):
                    values[id(node)] = operands[name]
                case Apply(operator, arguments):
                    values[id(node)] = _FUNCTIONS[operator](*(values[id(a)] for a in arguments))
    return values[id(expression)]
