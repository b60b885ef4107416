"""Reuse: what the backward graph reads of the forward one is stored anyway, or is its slope.

Before: no groups. After: for y = f(v), where v would be stored only because the backward graph
reads it, those readers read y instead if their expression can be shown to be the same in y (relu:
v > 0 exactly if y > 0; tanh: 1 - y²). Otherwise a reader `dy * s(v)` becomes `dy * d`, and
`d = s(v)` is computed in the forward graph, where v is in a register and f and s share their parts
(no exponential is taken twice).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass

from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import Map, Operation
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value
from nerva_dsl.passes.fuse import is_costly
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.record import replace
from nerva_dsl.scalar import Apply, Expr, Number, Var, apply, substitute, variables, walk
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
    readers = _readers(operations)
    for position, forward in enumerate(graph.operations):
        if not isinstance(forward, Map) or len(forward.inputs) != 1:
            continue
        (v,), y = forward.inputs, forward.result
        others = readers[v.name] - {position}
        if v.name in kept or v.type != y.type or not others or min(others) < position:
            continue  # what comes before y cannot read it
        rewritten = {place: _in_terms_of(operations[place], v, forward) for place in others}
        if None not in rewritten.values():
            for place, reader in rewritten.items():
                if reader is not None:
                    operations[place] = reader
            readers[v.name] -= others
            readers[y.name] |= others
    return replace(graph, operations=tuple(operations))


def _readers(operations: Sequence[Operation]) -> defaultdict[str, set[int]]:
    """The positions of the operations that read a value, by its name."""
    readers: defaultdict[str, set[int]] = defaultdict(set)
    for position, operation in enumerate(operations):
        for value in operation.operands:
            readers[value.name].add(position)
    return readers


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
    places = {v.name: place for place, op in enumerate(graph.operations) for v in op.results}
    readers = _readers(graph.operations)
    kept = {value.name for _, value in graph.results}
    only_maps = {
        name
        for name, positions in readers.items()
        if name not in kept and all(isinstance(graph.operations[p], Map) for p in positions)
    }
    replaced: dict[int, Map] = {}
    slopes: defaultdict[int, list[Operation]] = defaultdict(list)  # by what they follow
    for position, reader in enumerate(graph.operations):
        found = _slope(reader, places, readers, only_maps) if isinstance(reader, Map) else None
        if found is not None:
            slope, replaced[position] = found
            slopes[max(places.get(value.name, -1) for value in slope.inputs)].append(slope)
    operations: list[Operation] = []
    for position, operation in enumerate(graph.operations):
        operations += [replaced.get(position, operation), *slopes[position]]
    return replace(graph, operations=tuple(operations))


def _fresh(name: str, places: Container[str], readers: Container[str]) -> str:
    """The name, numbered if something has it: a learned parameter, say, which is read."""
    unique, number = name, 2
    while unique in places or unique in readers:
        unique, number = f"{name}.{number}", number + 1
    return unique


def _slope(
    reader: Map,
    places: Mapping[str, int],
    readers: Mapping[str, Collection[int]],
    only_maps: set[str],
) -> tuple[Map, Map] | None:
    """Split `dy * s(v, …)` in two, where dy is the operand that is defined last.

    Args:
        reader: what may be such a product.
        places: position of the operation that defines a value; data, parameters and constants have
            none.
        readers: positions of the operations that read a value.
        only_maps: names of the values that only elementwise operations read.
    """
    defined = [places.get(value.name, -1) for value in reader.inputs]
    if len(defined) < 2 or max(defined) <= 0:
        return None
    last = defined.index(max(defined))
    flow, variable = reader.inputs[last], f"a{last}"
    at_zero = simplify(substitute(reader.expression, {variable: Number(0.0)}))
    factor = derivative(reader.expression, variable)
    if variable in variables(factor) or not _vanishes(at_zero) or isinstance(factor, Number | Var):
        return None
    expression, inputs = compact(factor, reader.inputs)
    # What several operations of the backward half read is stored for all of them, unless it costs
    # more to compute the slope again.
    costly = is_costly(expression)
    if not costly and _masks(expression):
        return None  # 0 times what is infinite would be NaN, and there is nothing to save
    only_for_this = any(
        v.name in only_maps
        and v.name in places
        and (costly or sum(place > defined[last] for place in readers[v.name]) == 1)
        for v in inputs
    )
    batched = any(v.type == reader.result.type for v in inputs)
    fits = all(v.type == reader.result.type or v.name not in places for v in inputs)
    if not (only_for_this and batched and fits):
        return None
    slope = Value(_fresh(f"{reader.result.name}.slope", places, readers), reader.result.type)
    return (
        Map((slope,), reader.origin, expression, inputs, reader.label),
        replace(
            reader,
            expression=apply("mul", Var("a0"), Var("a1")),
            inputs=(flow, slope),
            label="chain",
        ),
    )


def _masks(factor: Expr) -> bool:
    """Whether a factor is 0 in one of its branches, by a choice."""
    return any(
        isinstance(node, Apply) and node.operator == "select" and Number(0.0) in node.arguments[1:]
        for node in walk(factor)
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
