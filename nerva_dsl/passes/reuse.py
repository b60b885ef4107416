"""Reuse: what the backward graph reads of the forward one is stored anyway, or is its slope.

Before: no groups. After: for y = f(v), where v would be stored only because the backward graph
reads it, those readers read y instead if their expression can be shown to be the same in y (relu:
v > 0 exactly if y > 0; tanh: 1 - y²). Otherwise a reader `dy * s(v)` becomes `dy * d`, and
`d = s(v)` is computed in the forward graph, where v is in a register and f and s share their parts
(no exponential is taken twice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import Map, Operation
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.scalar import Apply, Number, Var, apply, substitute, variables
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import in_terms_of_value, simplify


@dataclass(frozen=True)
class Reuse:
    """See the module's docstring."""

    name: str = "reuse"

    def __call__(self, program: Program) -> Program:
        """Rewrite every graph."""
        return each_graph(program, lambda graph: _hoist_slopes(_read_results(graph)))


def _read_results(graph: Graph) -> Graph:
    operations = list(graph.operations)
    kept = {value.name for _, value in graph.results}
    for forward in graph.operations:
        if not isinstance(forward, Map) or len(forward.inputs) != 1:
            continue
        (v,), y = forward.inputs, forward.result
        readers = [op for op in operations if v in op.operands and op.results != forward.results]
        if v.name in kept or v.type != y.type or not readers:
            continue
        rewritten = {reader.results: _in_terms_of(reader, v, forward) for reader in readers}
        if None not in rewritten.values():
            operations = [rewritten.get(op.results) or op for op in operations]
    return replace(graph, operations=tuple(operations))


def _in_terms_of(reader: Operation, v: Value, forward: Map) -> Map | None:
    """The reader with y in place of v; None if that cannot be shown to be the same."""
    if not isinstance(reader, Map):
        return None
    old, new = f"a{reader.inputs.index(v)}", f"a{len(reader.inputs)}"
    value = substitute(forward.expression, {"a0": Var(old)})
    expression = in_terms_of_value(reader.expression, value, old, new)
    if expression is None:
        return None
    expression, inputs = compact(expression, (*reader.inputs, forward.result))
    return replace(reader, expression=expression, inputs=inputs)


def _hoist_slopes(graph: Graph) -> Graph:
    operations = list(graph.operations)
    kept = {value.name for _, value in graph.results}
    for reader in graph.operations:
        found = _slope(reader, operations, kept) if isinstance(reader, Map) else None
        if found is not None:
            slope, product = found
            position = 1 + max(_defined_at(operations, value) for value in slope.inputs)
            operations[operations.index(reader)] = product
            operations.insert(position, slope)
    return replace(graph, operations=tuple(operations))


def _slope(reader: Map, operations: Sequence[Operation], kept: set[str]) -> tuple[Map, Map] | None:
    """Split `dy * s(v, …)` in two, where dy is the operand that is defined last."""
    places = [_defined_at(operations, value) for value in reader.inputs]
    if len(places) < 2 or max(places) <= 0:
        return None
    last = places.index(max(places))
    flow, variable = reader.inputs[last], f"a{last}"
    at_zero = simplify(substitute(reader.expression, {variable: Number(0.0)}))
    factor = derivative(reader.expression, variable)
    if variable in variables(factor) or not _vanishes(at_zero) or isinstance(factor, Number | Var):
        return None
    expression, inputs = compact(factor, reader.inputs)
    only_for_this = any(
        v.name not in kept
        and _defined_at(operations, v) >= 0
        and all(isinstance(op, Map) for op in operations if v in op.operands)
        for v in inputs
    )
    if not only_for_this or any(v.type != reader.result.type for v in inputs):
        return None
    slope = Value(f"{reader.result.name}.slope", reader.result.type)
    return (
        Map((slope,), reader.origin, expression, inputs, reader.label),
        replace(
            reader,
            expression=apply("mul", Var("a0"), Var("a1")),
            inputs=(flow, slope),
            label="chain",
        ),
    )


def _vanishes(expression: object) -> bool:
    """Whether an expression with its flow set to 0 is 0 in every branch."""
    match expression:
        case Number(0.0):
            return True
        case Apply("select", (_, then, otherwise)):
            return _vanishes(then) and _vanishes(otherwise)
        case Apply("mul" | "div" | "neg", (first, *rest)):
            return any(_vanishes(part) for part in (first, *rest[:1]))
    return False


def _defined_at(operations: Sequence[Operation], value: Value) -> int:
    """Position of the operation that defines a value; -1 for data, parameters and constants."""
    return next((i for i, op in enumerate(operations) if value in op.results), -1)
