"""Keep bytes: a batch of bytes is stored as bytes, and sparse products convert what they read.

Before: kernels are chosen; a batch of bytes is gathered as numbers. After: where only sparse
products read such a batch, through nothing but a scale and an offset a feature, and where the cost
model says that it pays, the batch is stored as bytes, and each product begins with the conversion.
Why: a product that reads rows here and there waits for their cache lines, of which bytes take a
quarter.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from math import isfinite, lcm

from nerva_dsl.costs import Costs, Work, costs_of
from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import (
    Group,
    Load,
    Map,
    Product,
    WeightGradient,
    each_operation,
)
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Constant, Graph, Program
from nerva_dsl.ir.types import Layout, Type, Value
from nerva_dsl.machine import Machine
from nerva_dsl.naming import fresh_name
from nerva_dsl.passes.one_sample import GRAPH
from nerva_dsl.record import replace
from nerva_dsl.scalar import Apply, Expr, Number, Var, apply, substitute, variables, walk
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import simplify, value_at

SUFFIX = "_bytes"
"""Of the kernels that write or read a batch of bytes."""

# Of these a function with a constant slope is a scale and an offset.
_ARITHMETIC = frozenset(("add", "sub", "neg", "mul", "div"))

_BYTE = "byte"


@dataclass(frozen=True)
class KeepBytes:
    """See the module's docstring.

    Attributes:
        machine: that runs the model, for the cost model.
    """

    machine: Machine
    name: str = "bytes"

    def __call__(self, program: Program) -> Program:
        """Keep the batches of bytes for which that pays."""
        columns = _Columns(program)
        graphs = tuple(
            graph if graph.name == GRAPH else self._keep(program, graph, columns)
            for graph in program.graphs
        )
        return replace(
            program, graphs=graphs, constants=(*program.constants, *columns.made.values())
        )

    def _keep(self, program: Program, graph: Graph, columns: _Columns) -> Graph:
        costs = costs_of(program, self.machine)
        nnz = _stored(program, graph)
        groups = [operation for operation in graph.operations if isinstance(operation, Group)]
        wanted = {value.name for _, value in graph.results}
        for gather in groups:
            converted = _conversion(gather, program)
            if converted is None or gather.results[0].name in wanted:
                continue
            (value,) = gather.results
            readers = [group for group in groups if value in group.operands]
            if not all(_converts(reader, value) for reader in readers):
                continue
            if self._saved(costs, gather, readers, nnz, program.batch) > 0:
                stored = Layout("feature_major", costs.tiling.byte_stride)
                conversion = columns.expression(value, converted)
                graph = _rewrite(graph, gather, readers, stored, conversion)
        return graph

    def _saved(
        self,
        costs: Costs,
        gather: Group,
        readers: list[Group],
        nnz: Mapping[str, int],
        batch: int,
    ) -> float:
        """Nanoseconds of one core that bytes save."""
        load = gather.head
        assert isinstance(load, Load)
        features = load.array.type.columns
        before = costs.gather(batch, features, features)
        after = costs.gather_bytes(batch, features)
        for reader in readers:
            numbers, bytes_ = _works(reader, costs, nnz)
            before, after = before + numbers, after + bytes_
        return before.time(self.machine) - after.time(self.machine)


def _works(reader: Group, costs: Costs, nnz: Mapping[str, int]) -> tuple[Work, Work]:
    """What a product does with numbers, and with bytes."""
    match reader.head:
        case Product(weight=weight):
            shape = (weight.type.rows, nnz[weight.name], weight.type.columns)
            return costs.spmm(*shape), costs.spmm_bytes(*shape)
        case WeightGradient(weight=weight):
            return costs.sddmm(nnz[weight.name]), costs.sddmm_bytes(nnz[weight.name])
    raise TypeError(f"{reader.kernel} reads no batch")


def _stored(program: Program, graph: Graph) -> dict[str, int]:
    """Non-zeros of what has the pattern of a weight, by name."""
    numbers = {parameter.value.name: parameter.nnz for parameter in program.parameters}
    return {name: numbers[weight.name] for name, weight in patterns(program, graph).items()}


def _converts(reader: Group, value: Value) -> bool:
    """Whether a group reads a batch in its product with a sparse weight, and nowhere else."""
    reads = [operand for operation in reader.body for operand in operation.operands]
    match reader.head:
        case Product(x=x) if reader.kernel == "spmm":
            return x == value and reads.count(value) == 1
        case WeightGradient(x=x) if reader.kernel == "sddmm":
            return x == value and reads.count(value) == 1
    return False


def _conversion(gather: Group, program: Program) -> list[tuple[float, float]] | None:
    """Scale and offset from a byte to the number that a gather makes of it.

    One pair for each of as many segments of equal length as the features have; None where the
    number is not such a function of the byte.
    """
    load = gather.head
    if not (gather.kernel == "gather" and isinstance(load, Load) and len(gather.results) == 1):
        return None
    if load.array.type.element != "uint8":
        return None
    constants = {constant.value.name: constant.numbers for constant in program.constants}
    found = _over_byte(gather, constants)
    if found is None or not _is_arithmetic(found):
        return None
    slope = derivative(found, _BYTE)
    if _BYTE in variables(slope):
        return None
    names = [name for name in variables(found) if name != _BYTE]
    segments = lcm(*(len(constants[name]) for name in names))
    pairs = []
    for segment in range(segments):
        here = {name: constants[name][segment * len(constants[name]) // segments] for name in names}
        pairs.append((value_at(slope, here), value_at(found, {_BYTE: 0.0, **here})))
    return pairs if all(isfinite(number) for pair in pairs for number in pair) else None


def _over_byte(gather: Group, constants: Container[str]) -> Expr | None:
    """A gather's result over the byte and constant columns; None if it reads anything else."""
    known: dict[str, Expr] = {gather.head.result.name: Var(_BYTE)}
    for operation in gather.body[1:]:
        if not isinstance(operation, Map) or {"count", "feature"} & set(
            variables(operation.expression)
        ):
            return None
        operands: dict[str, Expr] = {}
        for i, value in enumerate(operation.inputs):
            if value.name not in known and value.name not in constants:
                return None
            operands[f"a{i}"] = known.get(value.name, Var(value.name))
        known[operation.result.name] = substitute(operation.expression, operands)
    return known[gather.results[0].name]


def _is_arithmetic(expression: Expr) -> bool:
    return all(node.operator in _ARITHMETIC for node in walk(expression) if isinstance(node, Apply))


class _Columns:
    """The constant columns that conversions read: one for all graphs.

    Attributes:
        made: by what they are for, and their numbers.
    """

    def __init__(self, program: Program) -> None:
        self.made: dict[tuple[str, tuple[float, ...]], Constant] = {}
        self._precision = program.precision
        self._taken = {value.name for value in program.outer}
        for graph in program.graphs:
            self._taken |= _names(graph)

    def expression(
        self, value: Value, pairs: list[tuple[float, float]]
    ) -> tuple[Expr, tuple[Value, ...]]:
        """A number over the byte, `a0`, and the columns that follow it among the operands."""
        columns: list[Value] = []
        parts = [
            self._part(value, word, tuple(numbers), columns)
            for word, numbers in zip(("scale", "offset"), zip(*pairs, strict=True), strict=True)
        ]
        scaled = apply("mul", Var("a0"), parts[0])
        return simplify(apply("add", scaled, parts[1])), tuple(columns)

    def _part(
        self, value: Value, word: str, numbers: tuple[float, ...], columns: list[Value]
    ) -> Expr:
        if len(set(numbers)) == 1:
            return Number(numbers[0])
        base = f"{value.name}.{word}"
        if (base, numbers) not in self.made:
            name = fresh_name(base, self._taken)
            self._taken.add(name)
            column = Value(name, Type(self._precision, (value.type.rows, 1)))
            self.made[base, numbers] = Constant(column, numbers)
        columns.append(self.made[base, numbers].value)
        return Var(f"a{len(columns)}")


def _names(graph: Graph) -> set[str]:
    """Names of all values of a graph."""
    return {value.name for part in each_operation(graph.operations) for value in part.results}


def _rewrite(
    graph: Graph,
    gather: Group,
    readers: list[Group],
    stored: Layout,
    conversion: tuple[Expr, tuple[Value, ...]],
) -> Graph:
    """The graph with the batch of one gather kept as bytes."""
    (value,) = gather.results
    load = gather.head
    assert isinstance(load, Load)
    batch = Value(load.result.name, replace(value.type, element="uint8", layout=stored))
    expression, columns = conversion
    taken = _names(graph)
    changed = {
        id(gather): replace(
            gather,
            results=(batch,),
            origin=load.origin,
            body=(replace(load, results=(batch,)),),
            kernel=f"{gather.kernel}{SUFFIX}",
            reason=f"{gather.reason}; they stay bytes",
        )
    }
    for reader in readers:
        number = replace(value, name=fresh_name(value.name, taken))
        taken.add(number.name)
        over, inputs = compact(expression, (batch, *columns))
        convert = Map((number,), gather.origin, over, inputs, "from_bytes")

        def change(operand: Value, number: Value = number) -> Value:
            return number if operand == value else operand

        changed[id(reader)] = replace(
            reader,
            body=(convert, *(operation.map_values(change) for operation in reader.body)),
            kernel=f"{reader.kernel}{SUFFIX}",
            reason=f"{reader.reason}; reads bytes",
        )
    operations = tuple(changed.get(id(operation), operation) for operation in graph.operations)
    return replace(graph, operations=operations)
