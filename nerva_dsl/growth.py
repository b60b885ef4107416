"""What dynamic sparse training needs of the backward half.

Before: the operations of a training step up to its weight gradients. After: a graph `growth` that
gives the gradient of each growing weight at all its positions, and, if weights grow by an average
of the gradient, a parameter for each that holds it at sampled positions, with the operations of the
step by which it follows the gradients there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from nerva_dsl.ir.operations import DenseGradient, Operation, Update, WeightGradient
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Graph, Growing, Parameter, Program, Regrow, Rule
from nerva_dsl.ir.types import Type, Value
from nerva_dsl.naming import fresh_name
from nerva_dsl.scalar import Number, Var, apply

MOMENTUM = 0.9
"""What is kept of the average at each step: Dettmers & Zettlemoyer, 2019."""


@dataclass(frozen=True)
class Growth:
    """See the module's docstring.

    Attributes:
        graph: `growth`.
        regrow: the program's, without weights that nothing trains.
        parameters: the averages.
        rules: how they follow the gradients.
        following: operations of the step, after its gradients.
    """

    graph: Graph
    regrow: Regrow
    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...]
    following: tuple[Operation, ...]


def make_growth(
    program: Program,
    operations: tuple[Operation, ...],
    loss: Value,
    fresh: Callable[[Value, Type], Value],
) -> Growth | None:
    """What a program needs to regrow; None if no pattern changes.

    Args:
        program: with a forward graph `step`.
        operations: of the step, up to its weight gradients.
        loss: its result.
        fresh: makes a value of the step with a name near another's, of a type.
    """
    regrow = program.regrow
    if regrow is None:
        return None
    trained = _gradients(program, operations)
    parameters = {parameter.value.name: parameter for parameter in program.parameters}
    rule = _average_rule(program)
    growing: list[Growing] = []
    everywhere: list[DenseGradient] = []
    averages: list[Parameter] = []
    following: list[Operation] = []
    for each in regrow.weights:
        source = trained.get(each.weight)
        if source is None:  # nothing trains it
            continue
        weight = parameters[each.weight].value
        dense = fresh(
            Value(f"{weight.name}.all", weight.type), replace(weight.type, format="dense")
        )
        everywhere.append(DenseGradient((dense,), source.origin, weight, source.dz, source.x))
        growing.append(each)
        if regrow.grow == "momentum":
            average = _average(parameters[each.weight], set(parameters), rule.name)
            averages.append(average)
            growing[-1] = replace(each, average=average.value.name)
            followed = fresh(average.value, weight.type)
            following += [
                WeightGradient((followed,), source.origin, average.value, source.dz, source.x),
                Update((), source.origin, average.value, followed, rule.name),
            ]
    if not growing:
        return None
    results = [(each.weight, op.result) for each, op in zip(growing, everywhere, strict=True)]
    return Growth(
        graph=Graph("growth", (*operations, *everywhere), (("loss", loss), *results)),
        regrow=replace(regrow, weights=tuple(growing)),
        parameters=tuple(averages),
        rules=(rule,) if averages else (),
        following=tuple(following),
    )


def _gradients(program: Program, operations: tuple[Operation, ...]) -> Mapping[str, WeightGradient]:
    """The gradient of each weight, also of one that `drop_connect` masks."""
    shaped = patterns(program, Graph("step", operations, ()))
    return {
        shaped[operation.weight.name].name: operation
        for operation in operations
        if isinstance(operation, WeightGradient)
    }


def _average(weight: Parameter, taken: set[str], rule: str) -> Parameter:
    """The average at as many empty positions as the weight has non-zeros, or at all."""
    name = fresh_name(f"{weight.value.name}.average", taken, "_")
    kind = weight.value.type
    empty = kind.rows * kind.columns - weight.nnz
    return Parameter(Value(name, kind), min(weight.nnz, empty), rule, ("uniform", 0.0, 0.0))


def _average_rule(program: Program) -> Rule:
    """`w = MOMENTUM w + (1 - MOMENTUM) g`, under a name of its own."""
    taken = {rule.name for rule in program.rules}
    name = fresh_name("average", taken, "_")
    old = apply("mul", Number(MOMENTUM), Var("w"))
    new = apply("mul", Number(1 - MOMENTUM), Var("g"))
    return Rule(name, (), (("w", apply("add", old, new)),))
