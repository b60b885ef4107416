"""Simplify: smaller scalar expressions, no operation twice, none that does nothing.

Before: any graphs without groups, differentiated. After: scalar expressions are simplified, and
derivatives that definitions state are gone, which have had their use; an elementwise
operation that only repeats or renames its operand is gone where its readers can read the operand;
one without operands is written into its readers; of equal operations one is left, but every
parameter keeps a gradient of its own. Why: the differentiation writes the plainest thing that is
right, and later passes match on clean graphs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import Map, Operation
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value
from nerva_dsl.passes.rewrite import each_graph, with_values
from nerva_dsl.scalar import Expr, Var, substitute, variables, without_stated
from nerva_dsl.scalar.simplify import simplify


@dataclass(frozen=True)
class Simplify:
    """See the module's docstring."""

    name: str = "simplify"

    def __call__(self, program: Program) -> Program:
        """Simplify every graph and the expressions of optimizers and schedules."""
        rules = tuple(
            replace(rule, assignments=tuple((n, _simplified(e)) for n, e in rule.assignments))
            for rule in program.rules
        )
        program = replace(program, rules=rules, schedule=_simplified(program.schedule))
        if program.regrow is not None:
            amount = _simplified(program.regrow.amount)
            program = replace(program, regrow=replace(program.regrow, amount=amount))
        return each_graph(program, _simplify_graph)


def _simplified(expression: Expr) -> Expr:
    return simplify(without_stated(expression))


def _simplify_graph(graph: Graph) -> Graph:
    while (simpler := _merge_equal(_forward_maps(graph))) != graph:
        graph = simpler
    return graph


def _forward_maps(graph: Graph) -> Graph:
    """Simplify the maps; let their readers read past those that only repeat or are constant."""
    renamed: dict[str, Value] = {}
    repeated: dict[str, Value] = {}
    constant: dict[str, Expr] = {}
    operations: list[Operation] = []
    for operation in graph.operations:
        if isinstance(operation, Map):
            expression = _inline(operation, constant)
            inputs = tuple(repeated.get(v.name, v) for v in operation.inputs)
            expression, inputs = compact(_simplified(expression), inputs)
            operation = replace(operation, expression=expression, inputs=inputs)  # noqa: PLW2901
            name = operation.result.name
            if expression == Var("a0"):
                same = inputs[0].type == operation.result.type
                (renamed if same else repeated)[name] = inputs[0]
            elif not inputs and "feature" not in variables(expression):
                constant[name] = expression
        operations.append(operation)
    kept = tuple(op for op in operations if not (op.results and op.results[0].name in renamed))
    return with_values(replace(graph, operations=kept), renamed)


def _inline(operation: Map, constant: dict[str, Expr]) -> Expr:
    values = {
        f"a{i}": constant[value.name]
        for i, value in enumerate(operation.inputs)
        if value.name in constant
    }
    return substitute(operation.expression, values) if values else operation.expression


def _merge_equal(graph: Graph) -> Graph:
    first: dict[Operation, Value] = {}
    same: dict[str, Value] = {}
    operations: list[Operation] = []
    for original in graph.operations:
        operation = original.map_values(lambda value: same.get(value.name, value))
        # A parameter's gradient stays its own, even if another's is equal (the biases of two layers
        # that are added): the kernel that computes it applies the update at once.
        if len(operation.results) == 1 and operation.result.type.batched:
            result = operation.result
            # Equal apart from the name, the place and the label: the same computation.
            key = replace(operation, results=(replace(result, name=""),), origin=())
            if isinstance(key, Map):
                key = replace(key, label="")
            if key in first:
                same[result.name] = first[key]
                continue
            first[key] = result
        operations.append(operation)
    return with_values(replace(graph, operations=tuple(operations)), same)
