"""Scalar expressions: the trees that activations, losses, optimizers and schedules become.

An expression is a `Number`, a `Var` or an `Apply` of one of `OPERATORS` to expressions. Nodes are
frozen and compare by structure. Numbers are real; comparisons and `and`, `or`, `not` give truth
values, which only those and the first argument of `select` accept.

Some variables are supplied by whatever evaluates the expression rather than by an operand:

| name      | meaning                                               | where                       |
|-----------|-------------------------------------------------------|-----------------------------|
| `count`   | samples in this batch (the last one may be short)     | elementwise operations      |
| `feature` | index of the feature (the row of a `[features, B]`)   | elementwise operations      |
| `lr`      | learning rate of this step                            | optimizers                  |
| `step`    | number of this step, from 1                           | optimizers, schedules       |
| `epoch`   | number of this epoch, from 0                          | schedules                   |
| `epochs`  | how many epochs the training has                      | schedules                   |
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping

from nerva_dsl.record import Record


class Number(Record):
    """A real constant."""

    value: float


class Var(Record):
    """A named operand."""

    name: str


# The hash is kept: hashing a deep expression at each of its nodes would be quadratic in its size.
# Records that keep it also compare it first, so that shared parts are hardly ever compared in full.
class Apply(Record, cache_hash=True):
    """An operator of `OPERATORS` applied to its arguments."""

    operator: str
    arguments: tuple[Expr, ...]


Expr = Number | Var | Apply


class Operator(Record):
    """What is known of an operator whatever evaluates it.

    Attributes:
        arity: number of arguments.
        symbol: infix or prefix symbol; empty for one written as a call, `exp(x)`.
        truth: whether the result is a truth value.
    """

    arity: int
    symbol: str = ""
    truth: bool = False


MAX_FACTORS = 1_000_000
"""Of a `product`: what is multiplied before every step has an end."""

OPERATORS: Mapping[str, Operator] = {
    "add": Operator(2, "+"),
    "sub": Operator(2, "-"),
    "mul": Operator(2, "*"),
    "div": Operator(2, "/"),
    "pow": Operator(2, "^"),
    "neg": Operator(1, "-"),
    "lt": Operator(2, "<", truth=True),
    "le": Operator(2, "<=", truth=True),
    "gt": Operator(2, ">", truth=True),
    "ge": Operator(2, ">=", truth=True),
    "eq": Operator(2, "==", truth=True),
    "ne": Operator(2, "!=", truth=True),
    "and": Operator(2, "and", truth=True),
    "or": Operator(2, "or", truth=True),
    "not": Operator(1, "not", truth=True),
    "select": Operator(3),  # if a then b else c
    # stated(value, argument, slope) is the value; its derivative by the argument is the slope.
    "stated": Operator(3),
    "min": Operator(2),
    "max": Operator(2),
    "abs": Operator(1),
    "sign": Operator(1),
    "floor": Operator(1),
    "exp": Operator(1),
    "expm1": Operator(1),
    "log": Operator(1),
    "log1p": Operator(1),
    "sqrt": Operator(1),
    "sin": Operator(1),
    "cos": Operator(1),
    "tanh": Operator(1),
    "erf": Operator(1),
    # product(i, first, last, factor): of the factor for i = first, first + 1, … up to last; once it
    # is 0 it stays 0, and with more than MAX_FACTORS it is NaN. The first argument is a variable,
    # which the factor alone sees. In schedules.
    "product": Operator(4),
}


def apply(operator: str, *arguments: Expr) -> Apply:
    """Apply an operator, checking its name and the number of its arguments.

    Raises:
        ValueError: an unknown operator or a wrong number of arguments; a fault of the compiler.
    """
    known = OPERATORS.get(operator)
    if known is None or known.arity != len(arguments):
        raise ValueError(f"no operator {operator!r} of {len(arguments)} arguments")
    return Apply(operator, arguments)


def is_truth(expression: Expr) -> bool:
    """Whether an expression's value is a truth value."""
    return isinstance(expression, Apply) and OPERATORS[expression.operator].truth


def variables(expression: Expr) -> tuple[str, ...]:
    """Names of the variables of an expression, in order of first appearance."""
    return tuple(dict.fromkeys(node.name for node in walk(expression) if isinstance(node, Var)))


def walk(expression: Expr) -> Iterator[Expr]:
    """Every distinct node of an expression, arguments before what uses them.

    A subtree that occurs several times as one object is visited once, which keeps walks linear
    in the size of an expression that shares its parts.
    """
    entered: set[int] = set()
    left: set[int] = set()
    stack = [expression]
    while stack:
        node = stack[-1]
        if isinstance(node, Apply) and id(node) not in entered:
            entered.add(id(node))
            stack += reversed(node.arguments)
            continue
        stack.pop()
        if id(node) not in left:
            left.add(id(node))
            yield node


def rebuild(
    expression: Expr,
    rule: Callable[[Expr], Expr],
) -> Expr:
    """Apply a rule to every node, arguments first; shared subtrees stay shared."""
    done: dict[int, Expr] = {}
    for node in walk(expression):
        new = node
        if isinstance(node, Apply):
            arguments = tuple([done[id(argument)] for argument in node.arguments])
            if not all(map(operator.is_, arguments, node.arguments)):
                new = Apply(node.operator, arguments)
        done[id(node)] = rule(new)
    return done[id(expression)]


def without_stated(expression: Expr, of: Collection[str] | None = None) -> Expr:
    """The same value without what only its derivative needs: each `stated` by its value.

    Args:
        expression: any.
        of: only those that depend on no variables but these; None for all.
    """

    def rule(node: Expr) -> Expr:
        if not (isinstance(node, Apply) and node.operator == "stated"):
            return node
        plain = of is None or all(name in of for name in variables(node))
        return node.arguments[0] if plain else node

    return rebuild(expression, rule)


def once_stated(expression: Expr) -> Expr:
    """The same value and derivatives, where a `stated` holds others in its argument alone.

    The derivative by what the argument depends on goes through the argument, so that inside the
    value and the slope nobody asks for it; kept there, its text would grow fourfold with every
    function around another.
    """

    def rule(node: Expr) -> Expr:
        if not (isinstance(node, Apply) and node.operator == "stated"):
            return node
        value, argument, slope = node.arguments
        plain = without_stated(value, variables(argument)), without_stated(slope)
        if plain == (value, slope):
            return node
        return Apply("stated", (plain[0], argument, plain[1]))

    return rebuild(expression, rule)


def substitute(expression: Expr, replacements: Mapping[str, Expr]) -> Expr:
    """Replace variables by expressions, all at once."""
    return rebuild(
        expression,
        lambda node: replacements.get(node.name, node) if isinstance(node, Var) else node,
    )
