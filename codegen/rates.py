"""Rates: what an optimizer computes from the learning rate and the step alone.

Adam's bias corrections are the same for every weight. They are computed once a step, in double
precision: 1 - 0.999^step has lost four digits in single precision when the training begins.
"""

from __future__ import annotations

from collections.abc import Mapping

from nerva_dsl.ir.program import Program, Rule
from nerva_dsl.record import replace
from nerva_dsl.scalar import Apply, Expr, Var, is_truth, variables

_UNIFORM = {"lr", "step"}


def with_rates(program: Program) -> tuple[Mapping[str, Expr], Program]:
    """Give names to the parts of the optimizers that are the same for every weight.

    Returns:
        Each part, over `lr` and `step`, by its name; and the program whose rules read `rates.NAME`
        instead.
    """
    rates: dict[str, Expr] = {}
    rules = tuple(_with_rates(rule, rates) for rule in program.rules)
    return rates, replace(program, rules=rules) if rates else program


def reads_rates(rule: Rule) -> bool:
    """Whether a rule, as `with_rates` returns it, reads any."""
    read = (name for _, expression in rule.assignments for name in variables(expression))
    return any(name.startswith("rates.") for name in read)


def _with_rates(rule: Rule, rates: dict[str, Expr]) -> Rule:
    names: dict[Expr, str] = {}
    changing = {name for name, _ in (*rule.states, *rule.assignments)}

    def named(expression: Expr) -> Expr:
        if not isinstance(expression, Apply):
            return expression
        read = set(variables(expression))
        if read and read <= _UNIFORM - changing and not is_truth(expression):
            if expression not in names:
                names[expression] = f"{rule.name}_{len(names) + 1}"
                rates[names[expression]] = expression
            return Var(f"rates.{names[expression]}")
        return Apply(expression.operator, tuple(named(part) for part in expression.arguments))

    return replace(rule, assignments=tuple((name, named(e)) for name, e in rule.assignments))
