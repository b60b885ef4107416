"""Algebraic simplification of scalar expressions, and one proof the compiler needs.

Every rule keeps the value for all finite operands, up to rounding and the sign of zero. Constants
are folded in double precision, and only where the result is finite.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from nerva_dsl.scalar.nodes import Apply, Expr, Number, Var, apply, rebuild, variables, walk

_TRUE, _FALSE = Number(1.0), Number(0.0)
_ZERO, _ONE = Number(0.0), Number(1.0)

_FOLD: Mapping[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": lambda a, b: bool(a) and bool(b),
    "or": lambda a, b: bool(a) or bool(b),
    "not": operator.not_,
    "min": min,
    "max": max,
    "abs": abs,
    "sign": lambda a: (a > 0) - (a < 0),
    "floor": math.floor,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "erf": math.erf,
}
_SMALLEST, _LARGEST = 2.0**-126, 2.0**127  # of float32; its normal numbers reach a little further
_NEGATED = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


def simplify(expression: Expr) -> Expr:
    """An equal expression that is no larger, with `x^2` written as a product."""
    while (simpler := rebuild(expression, _simplify_node)) != expression:
        expression = simpler
    return expression


def _simplify_node(node: Expr) -> Expr:
    if not isinstance(node, Apply):
        return node
    folded = _fold(node)
    if folded is not None:
        return folded
    rule = _RULES.get(node.operator)
    return rule(*node.arguments) or node if rule else node


def value_at(expression: Expr, operands: Mapping[str, float]) -> float:
    """The value of an expression at one point, in double precision; NaN where there is none.

    `evaluate` does the same for arrays; this needs no NumPy, which takes long to load.
    """
    values: dict[int, float] = {}
    for node in walk(expression):
        match node:
            case Number(value):
                values[id(node)] = value
            case Var(name):
                # What a product binds has no value outside it.
                values[id(node)] = operands.get(name, math.nan)
            case Apply("product", (Var(index), first, last, factor)):
                result, k = 1.0, values[id(first)]
                while k <= values[id(last)] and result != 0:
                    result *= value_at(factor, {**operands, index: k})
                    k += 1
                values[id(node)] = result
            case Apply(operator, arguments):
                values[id(node)] = _value(operator, [values[id(part)] for part in arguments])
    return values[id(expression)]


def _value(operator: str, arguments: list[float]) -> float:
    if operator == "stated":
        return arguments[0]
    if operator == "select":
        return arguments[1] if arguments[0] else arguments[2]
    try:
        result = _FOLD[operator](*arguments)
    except (ArithmeticError, ValueError):
        return math.nan
    return math.nan if isinstance(result, complex) else float(result)


def _fold(node: Apply) -> Number | None:
    if node.operator not in _FOLD:
        return None
    values = [a.value for a in node.arguments if isinstance(a, Number)]
    if len(values) != len(node.arguments):
        return None
    try:
        result = _FOLD[node.operator](*values)
        if isinstance(result, complex) or not math.isfinite(result):
            return None
        return Number(float(result))
    except (ArithmeticError, ValueError):
        return None  # left to fail, or not, when it is evaluated


def _add(a: Expr, b: Expr) -> Expr | None:
    match a, b:
        case (Number(0.0), other) | (other, Number(0.0)):
            return other
        case (other, Apply("neg", (negated,))) | (Apply("neg", (negated,)), other):
            return apply("sub", other, negated)
        case other, Number(value) if value < 0:
            return apply("sub", other, Number(-value))
    return None


def _sub(a: Expr, b: Expr) -> Expr | None:
    match a, b:
        case other, Number(0.0):
            return other
        case Number(0.0), other:
            return apply("neg", other)
        case other, Apply("neg", (negated,)):
            return apply("add", other, negated)
    return None


def _neg(a: Expr) -> Expr | None:
    match a:
        case Apply("neg", (inner,)):
            return inner
        case Apply("sub", (left, right)):
            return apply("sub", right, left)
        case Apply("mul", (Number(value), other)):
            return apply("mul", Number(-value), other)
    return None


def _mul(a: Expr, b: Expr) -> Expr | None:
    if isinstance(b, Number) and not isinstance(a, Number):
        return apply("mul", b, a)  # a constant stands first
    match a, b:
        case Number(1.0), other:
            return other
        case Number(-1.0), other:
            return apply("neg", other)
        case Number(first), Apply("mul", (Number(second), other)) if _is_ordinary(first * second):
            return apply("mul", Number(first * second), other)
        case Number(first), Apply("neg", (other,)):
            return apply("mul", Number(-first), other)
        case (Apply("neg", (negated,)), other) | (other, Apply("neg", (negated,))):
            return apply("neg", apply("mul", negated, other))
        case (other, Apply("select", (condition, then, otherwise))) | (
            Apply("select", (condition, then, otherwise)),
            other,
        ) if {then, otherwise} & {_ZERO, _ONE}:
            # What a mask multiplies is chosen instead: no product, and no 0 * infinity.
            return apply("select", condition, _masked(other, then), _masked(other, otherwise))
    return None


def _is_ordinary(value: float) -> bool:
    """Whether a number is neither infinite nor 0 nor less precise than others in float32."""
    return _SMALLEST <= abs(value) <= _LARGEST


def _masked(factor: Expr, branch: Expr) -> Expr:
    return _ZERO if branch == _ZERO else apply("mul", branch, factor)


def _div(a: Expr, b: Expr) -> Expr | None:
    match a, b:
        case other, Number(1.0):
            return other
        case Apply("neg", (negated,)), other:
            return apply("neg", apply("div", negated, other))
    return None


def _pow(a: Expr, b: Expr) -> Expr | None:
    match b:
        case Number(0.0):
            return _ONE
        case Number(1.0):
            return a
        case Number(2.0):
            return apply("mul", a, a)
        case Number(3.0):
            return apply("mul", a, apply("mul", a, a))
        case Number(-1.0):
            return apply("div", _ONE, a)
    return None


def _select(condition: Expr, then: Expr, otherwise: Expr) -> Expr | None:
    match condition:
        case Number(value):
            return then if value else otherwise
        case Apply("not", (inner,)):
            return apply("select", inner, otherwise, then)
    if then == otherwise:
        return then
    match then, otherwise:
        case Apply("select", (same, inner, _)), _ if same == condition:
            return apply("select", condition, inner, otherwise)
        case _, Apply("select", (same, _, inner)) if same == condition:
            return apply("select", condition, then, inner)
    return None


def _and(a: Expr, b: Expr) -> Expr | None:
    match a, b:
        case (Number(value), other) | (other, Number(value)):
            return other if value else _FALSE
    return None


def _or(a: Expr, b: Expr) -> Expr | None:
    match a, b:
        case (Number(value), other) | (other, Number(value)):
            return _TRUE if value else other
    return None


_RULES: Mapping[str, Callable[..., Expr | None]] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "select": _select,
    "and": _and,
    "or": _or,
}


def in_terms_of_value(slope: Expr, value: Expr, variable: str, name: str) -> Expr | None:
    """Rewrite an expression in x as one in y, where y = `value`(x), if that can be shown.

    Two ways are tried: to replace the whole of `value` wherever it occurs (tanh: 1 - tanh(x)²
    becomes 1 - y²), and to show that the expression is the same at y as at x, case by case over
    the branches of `value` (relu: x > 0 exactly if y > 0).

    Args:
        slope: an expression in `variable` and others; usually holds the derivative of `value`.
        value: an expression in `variable` alone.
        variable: the name of x.
        name: the name that stands for y in the result.

    Returns:
        The expression without `variable`, or None.
    """
    y = Var(name)
    replaced = rebuild(slope, lambda node: y if node == value else node)
    if variable not in variables(replaced):
        return replaced
    for condition, branch in _branches(value):
        at_x = simplify(_assume(slope, condition))
        at_y = simplify(_assume(_at(slope, variable, branch), condition))
        if at_x != at_y:
            return None
    return rebuild(slope, lambda node: y if node == Var(variable) else node)


def _at(expression: Expr, variable: str, branch: Expr) -> Expr:
    return rebuild(expression, lambda node: branch if node == Var(variable) else node)


def _branches(value: Expr) -> list[tuple[dict[Expr, bool], Expr]]:
    """The cases of nested `if`s: what is assumed in each, and the value there."""
    match value:
        case Apply("select", (condition, then, otherwise)):
            return [
                ({condition: truth, **assumed}, leaf)
                for truth, branch in ((True, then), (False, otherwise))
                for assumed, leaf in _branches(branch)
            ]
    return [({}, value)]


def _assume(expression: Expr, facts: Mapping[Expr, bool]) -> Expr:
    """Decide the comparisons that known facts decide; `k x > 0` counts as `x > 0` for k > 0."""

    def rule(node: Expr) -> Expr:
        if not isinstance(node, Apply) or node.operator not in _NEGATED:
            return _simplify_node(node)
        match node.arguments:
            case Apply("mul", (Number(scale), inner)), Number(0.0) if scale > 0:
                node = apply(node.operator, inner, _ZERO)
        negated = apply(_NEGATED[node.operator], *node.arguments)
        for fact, truth in facts.items():
            if node == fact:
                return Number(float(truth))
            if negated == fact:
                return Number(float(not truth))
        return _simplify_node(node)

    return rebuild(expression, rule)
