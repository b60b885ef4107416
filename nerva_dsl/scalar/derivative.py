"""Symbolic derivatives of scalar expressions.

At kinks the choices are PyTorch's: the derivative of the branch taken, 0 for `abs` at 0, and an
equal share for both arguments of a `max` or `min` that tie. A part that does not depend on the
variable contributes nothing, whatever its value. A derivative that a definition states replaces
the symbolic one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from nerva_dsl.scalar.nodes import Apply, Expr, Number, Var, apply, variables, walk
from nerva_dsl.scalar.simplify import simplify

_ZERO = Number(0.0)


def derivative(expression: Expr, variable: str) -> Expr:
    """The derivative of an expression by one of its variables, simplified."""
    found: dict[int, Expr] = {}
    for node in walk(expression):
        match node:
            case Var(name) if name == variable:
                found[id(node)] = Number(1.0)
            case Apply("stated", arguments):
                found[id(node)] = _stated(arguments, found, variable)
            case Apply(operator, arguments) if operator in _RULES:
                inner = tuple(found[id(argument)] for argument in arguments)
                changes = any(part != _ZERO for part in inner)
                found[id(node)] = _RULES[operator](node, arguments, inner) if changes else _ZERO
            case _:
                found[id(node)] = _ZERO
    return simplify(found[id(expression)])


def _stated(arguments: tuple[Expr, ...], found: Mapping[int, Expr], variable: str) -> Expr:
    """The stated slope by the argument, and the symbolic derivative by anything else."""
    value, argument, slope = arguments
    if variable in variables(argument):
        return _times(slope, found[id(argument)])
    return found[id(value)]


def _times(factor: Expr, inner: Expr) -> Expr:
    if inner in (_ZERO, Number(1.0)):
        return _ZERO if inner == _ZERO else factor
    return apply("mul", factor, inner)


def _plus(left: Expr, right: Expr) -> Expr:
    if left == _ZERO:
        return right
    return left if right == _ZERO else apply("add", left, right)


def _minus(left: Expr, right: Expr) -> Expr:
    if right == _ZERO:
        return left
    return apply("neg", right) if left == _ZERO else apply("sub", left, right)


_Arguments = tuple[Expr, ...]
_Rule = Callable[[Apply, _Arguments, _Arguments], Expr]


def _mul(_: Apply, u: _Arguments, d: _Arguments) -> Expr:
    return _plus(_times(u[1], d[0]), _times(u[0], d[1]))


def _div(node: Apply, u: _Arguments, d: _Arguments) -> Expr:
    # (u/v)' = (u' - (u/v) v') / v, which uses the quotient that is at hand and squares nothing.
    return apply("div", _minus(d[0], _times(node, d[1])), u[1])


def _pow(node: Apply, u: _Arguments, d: _Arguments) -> Expr:
    base, exponent = u
    if exponent == _ZERO:
        return _ZERO
    if isinstance(exponent, Number):
        lower = apply("pow", base, Number(exponent.value - 1))
        return _times(apply("mul", exponent, lower), d[0])
    by_base = _times(
        apply("mul", exponent, apply("pow", base, apply("sub", exponent, Number(1.0)))), d[0]
    )
    by_exponent = _times(apply("mul", node, apply("log", base)), d[1])
    return _plus(by_base, by_exponent)


def _extreme(comparison: str) -> _Rule:
    def rule(_: Apply, u: _Arguments, d: _Arguments) -> Expr:
        shared = apply("mul", Number(0.5), _plus(d[0], d[1]))
        second = apply("select", apply(comparison, u[1], u[0]), d[1], shared)
        return apply("select", apply(comparison, u[0], u[1]), d[0], second)

    return rule


def _unary(factor: Callable[[Apply, Expr], Expr]) -> _Rule:
    return lambda node, u, d: _times(factor(node, u[0]), d[0])


def _one_minus_square(node: Apply, _: Expr) -> Expr:
    return apply("sub", Number(1.0), apply("mul", node, node))


def _gauss(_: Apply, u: Expr) -> Expr:
    return apply(
        "mul", Number(2 / math.sqrt(math.pi)), apply("exp", apply("neg", apply("mul", u, u)))
    )


_RULES: Mapping[str, _Rule] = {
    "add": lambda _, u, d: _plus(d[0], d[1]),
    "sub": lambda _, u, d: _minus(d[0], d[1]),
    "neg": lambda _, u, d: _minus(_ZERO, d[0]),
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "select": lambda _, u, d: apply("select", u[0], d[1], d[2]),
    "min": _extreme("lt"),
    "max": _extreme("gt"),
    "abs": _unary(lambda node, u: apply("sign", u)),
    "exp": _unary(lambda node, u: node),
    "expm1": _unary(lambda node, u: apply("add", node, Number(1.0))),
    "log": lambda _, u, d: apply("div", d[0], u[0]),
    "log1p": lambda _, u, d: apply("div", d[0], apply("add", Number(1.0), u[0])),
    "sqrt": lambda node, u, d: apply("div", d[0], apply("mul", Number(2.0), node)),
    "sin": _unary(lambda node, u: apply("cos", u)),
    "cos": _unary(lambda node, u: apply("neg", apply("sin", u))),
    "tanh": _unary(_one_minus_square),
    "erf": _unary(_gauss),
    # floor, sign and the comparisons are flat wherever they have a derivative.
}
