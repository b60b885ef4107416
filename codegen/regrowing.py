"""The plan of dynamic sparse training."""

from __future__ import annotations

from collections.abc import Mapping

from nerva_dsl.codegen.c_expression import number
from nerva_dsl.codegen.plan import GrowingWeight, RegrowPlan
from nerva_dsl.ir.program import Growing, Program
from nerva_dsl.rewiring import GROWERS, PRUNERS

VECTORS = 2
"""Of rows whose gradients are computed together: with as many columns as there are registers for
sums, each number that is loaded is used several times, and latencies are hidden."""


def regrow_plan(
    program: Program, constants: Mapping[str, str], amount: str, sum_registers: int
) -> RegrowPlan | None:
    """The plan, or None for patterns that stay.

    Args:
        program: after all passes.
        constants: enumerators of the parameters, by name.
        amount: the C expression of what goes.
        sum_registers: vector registers that may hold sums.
    """
    regrow = program.regrow
    if regrow is None:
        return None
    return RegrowPlan(
        unit=regrow.unit,
        every=regrow.every,
        until=number(regrow.until, "float64"),
        prune=f"PRUNE_{regrow.prune.upper()}",
        grow=f"GROW_{regrow.grow.upper()}",
        amount=amount,
        weights=tuple(_weight(program, growing, constants) for growing in regrow.weights),
        pruners=PRUNERS,
        growers=GROWERS,
        vectors=VECTORS,
        columns=sum_registers // VECTORS,
    )


def _weight(program: Program, growing: Growing, constants: Mapping[str, str]) -> GrowingWeight:
    parameters = {parameter.value.name: parameter for parameter in program.parameters}
    most = max((len(rule.states) for rule in program.rules), default=0)
    states = [initial for _, initial in program.rule(parameters[growing.weight].rule).states]
    distribution, first, second = growing.initial
    return GrowingWeight(
        array=constants[growing.weight],
        average=constants.get(growing.average, ""),
        layer=program.weights.index(growing.weight),
        normal=distribution == "normal",
        first=number(first, "float64"),
        second=number(second, "float64"),
        states=tuple(
            number(initial, program.precision)
            for initial in (*states, *[0.0] * (most - len(states)))
        ),
    )
