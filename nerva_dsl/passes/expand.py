"""Expand softmax, log_softmax and standardize into sums, maxima and elementwise operations.

Before: `softmax`, `log_softmax` and `standardize` may occur. After: none does; softmaxes share the
largest feature, the exponentials and their sum where they act on the same value. Why: one kernel
can then compute a whole loss and its gradient. They stay whole until now because their gradients
are simpler, and more accurate, than those of their parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerva_dsl.ir.operations import (
    LogSoftmax,
    Map,
    Operation,
    Reduce,
    Softmax,
    Standardize,
)
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Type, Value
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.record import replace
from nerva_dsl.scalar import Number, Var, apply


@dataclass(frozen=True)
class Expand:
    """See the module's docstring."""

    name: str = "expand"

    def __call__(self, program: Program) -> Program:
        """Expand in every graph."""
        return each_graph(program, _expand)


def _expand(graph: Graph) -> Graph:
    operations: list[Operation] = []
    shared: dict[str, tuple[Value, Value, Value]] = {}
    logs: dict[str, Value] = {}
    for operation in graph.operations:
        if isinstance(operation, Standardize):
            operations.append(_standardized(operation))
            continue
        if not isinstance(operation, Softmax | LogSoftmax):
            operations.append(operation)
            continue
        x = operation.x
        if x.name not in shared:
            steps = _exponentials(x, operation)
            operations.extend(steps)
            top, powers, total = (step.result for step in steps)
            shared[x.name] = (top, powers, total)
        top, powers, total = shared[x.name]
        if isinstance(operation, Softmax):
            expression = apply("div", Var("a0"), Var("a1"))
            inputs: tuple[Value, ...] = (powers, total)
            label = "softmax"
        else:
            if x.name not in logs:
                logs[x.name] = replace(total, name=f"{total.name}.log")
                log = apply("log", Var("a0"))
                operations.append(Map((logs[x.name],), operation.origin, log, (total,), "log"))
            expression = apply("sub", apply("sub", Var("a0"), Var("a1")), Var("a2"))
            inputs, label = (x, top, logs[x.name]), "log_softmax"
        operations.append(Map(operation.results, operation.origin, expression, inputs, label))
    return replace(graph, operations=tuple(operations))


def _standardized(operation: Standardize) -> Map:
    deviation = apply("sqrt", apply("add", Var("a2"), Number(operation.epsilon)))
    expression = apply("div", apply("sub", Var("a0"), Var("a1")), deviation)
    inputs = (operation.x, operation.mean, operation.variance)
    return Map(operation.results, operation.origin, expression, inputs, "standardize")


def _exponentials(x: Value, operation: Operation) -> tuple[Operation, Operation, Operation]:
    """The largest feature, exp(x - largest), and the sum of those."""
    origin = operation.origin
    row = Type(x.type.element, (1, "B"))
    top, powers = Value(f"{x.name}.max", row), Value(f"{x.name}.exp", x.type)
    total = Value(f"{x.name}.exp.sum", row)
    shifted = apply("exp", apply("sub", Var("a0"), Var("a1")))
    return (
        Reduce((top,), origin, "max", "features", x),
        Map((powers,), origin, shifted, (x, top), "exp"),
        Reduce((total,), origin, "sum", "features", powers),
    )
