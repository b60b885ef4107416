"""Optimizer rules as C functions of one weight."""

from __future__ import annotations

from nerva_dsl.codegen.c_expression import c_expression
from nerva_dsl.codegen.names import RESERVED, Names
from nerva_dsl.codegen.plan import UpdateFunction
from nerva_dsl.codegen.rates import reads_rates
from nerva_dsl.ir.program import Rule
from nerva_dsl.scalar import Expr, Var, substitute, variables

# Names that the function itself uses: its arguments and its pointers.
_OWN = ("w", "g", "lr", "step")


def update_function(rule: Rule, name: str, precision: str) -> UpdateFunction:
    """The function `name(weight, g, state, …, lr, step)` of a rule; it may read `rates` too.

    The assignments stay in the order in which they were written, one line each.
    """
    given = Names(RESERVED | {*_OWN, "weight", "rates"})
    names = {own: own for own in _OWN}
    states = [state for state, _ in rule.states]
    locals_ = [t for t, _ in rule.assignments if t not in states and t not in _OWN]
    for user in dict.fromkeys([*states, *locals_]):
        names[user] = given.fresh(user if _is_plain(user) else f"own_{user}")
    pointers = {state: given.fresh(f"{state}_state") for state in states}
    lines = ["real w = *weight;"]
    lines += [f"real {names[state]} = *{pointers[state]};" for state in states]
    declared = {"w", "g", "lr", "step", *states}
    for target, expression in rule.assignments:
        prefix = "" if target in declared else "real "
        declared.add(target)
        lines.append(f"{prefix}{names[target]} = {_text(expression, names, precision)};")
    lines += ["*weight = w;"]
    lines += [f"*{pointers[state]} = {names[state]};" for state in states]
    used = {read for _, expression in rule.assignments for read in variables(expression)}
    lines += [f"(void){own};" for own in ("g", "lr", "step") if own not in used]
    return UpdateFunction(
        name,
        rule.name,
        tuple(pointers.values()),
        tuple(lines),
        reads_rates(rule),
    )


def _is_plain(name: str) -> bool:
    """Whether a name cannot be a macro of C's headers or one of the compiler's own names."""
    return not name.startswith("_") and any(letter.islower() for letter in name)


def _text(expression: Expr, names: dict[str, str], precision: str) -> str:
    return c_expression(
        substitute(expression, {user: Var(text) for user, text in names.items()}), precision
    )
