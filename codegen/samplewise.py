"""Samplewise kernels: reductions over the features and what is computed around them.

A tile of samples is worked through in loops over the features. A reduction, or an elementwise value
that is stored, is placed in the first loop in which all it depends on is known; a value between
them is computed again in each loop that reads it, which costs less than storing it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nerva_dsl.codegen.bodies import Body, results_of
from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.kernel_plan import Loop
from nerva_dsl.ir.operations import Group, Map, Operation, Reduce
from nerva_dsl.ir.types import Value


@dataclass
class _Draft:
    """A loop that is being collected; `features` is 0 for work once a sample."""

    features: int
    operations: list[Operation] = field(default_factory=list)
    outlast: set[str] = field(default_factory=set)  # values that later loops read


def samplewise_loops(group: Group, body: Body) -> tuple[Loop, ...]:
    """The loops of a samplewise group; operands and results are declared in `body`."""
    stored = results_of(group)
    between = {
        op.result.name: op
        for op in group.body
        if isinstance(op, Map) and op.result.type.rows > 1 and op.result.name not in stored
    }
    loops = [_write(draft, between, stored, body) for draft in _place(group, between)]
    sums = [op for op in group.body if isinstance(op, Reduce) and op.result.name in stored]
    if sums:
        body.forget_rows()
        targets = [(body.target(op.result, op.kind), body.read(op.result)) for op in sums]
        lines = (f"{to}[lane] = start + lane < count ? {value} : 0;" for to, value in targets)
        loops.append(Loop(0, (), tuple(body.row_lines), tuple(lines)))
    return tuple(loops)


def _place(group: Group, between: dict[str, Map]) -> list[_Draft]:
    """Assign every operation that is not repeated to a loop."""
    drafts: list[_Draft] = []
    ready: dict[str, int] = {}  # the first loop that may read a value
    for operation in group.body:
        if operation.result.name in between:
            continue
        reads = [value for value in _needs(operation, between) if value.name in ready]
        earliest = max((ready[value.name] for value in reads), default=0)
        per_sample = isinstance(operation, Map) and operation.result.type.rows == 1
        source = operation.x if isinstance(operation, Reduce) else operation.result
        features = 0 if per_sample else source.type.rows
        earlier = {v.name for v in _needs(operation, between)}
        index = next(
            (i for i in range(earliest, len(drafts)) if drafts[i].features == features), len(drafts)
        )
        if index == len(drafts):
            drafts.append(_Draft(features))
        drafts[index].operations.append(operation)
        # A reduction is known when its loop has ended; anything else at once.
        ready[operation.result.name] = index + isinstance(operation, Reduce)
        for draft in drafts[:index]:
            draft.outlast |= earlier & {op.result.name for op in draft.operations}
    return drafts


def _needs(operation: Operation, between: dict[str, Map]) -> Iterator[Value]:
    """What an operation reads, seen through the values that are computed again."""
    for value in operation.operands:
        if value.name in between:
            yield from _needs(between[value.name], between)
        else:
            yield value


def _write(draft: _Draft, between: dict[str, Map], stored: set[str], body: Body) -> Loop:
    body.forget_rows()
    body.statements = Statements(body.statements.precision, body.statements.names)
    start: list[str] = []
    after: list[str] = []
    for operation in draft.operations:
        _compute_between(operation, between, body)
        result = operation.result
        match operation:
            case Reduce(kind=kind, x=x):
                name = body.statements.fresh(f"{kind}_of")
                first = "-INFINITY" if kind == "max" else "0"
                start.append(f"real {name}[LANES];")
                start.append(f"for (int lane = 0; lane < LANES; lane++) {name}[lane] = {first};")
                value = body.read(x)
                if kind == "max":
                    greater = f"{value} > {name}[lane] ? {value} : {name}[lane]"
                    after.append(f"{name}[lane] = {greater};")
                else:
                    after.append(f"{name}[lane] += {value};")
                body.keep(result, f"{name}[lane]")
            case Map(label=label):
                value = body.compute(operation)
                if result.type.rows == 1 and result.name in draft.outlast:
                    name = body.statements.fresh(f"{label}_of")
                    start.append(f"real {name}[LANES];")
                    after.append(f"{name}[lane] = {value};")
                    body.keep(result, f"{name}[lane]")
                if result.name in stored:
                    target = body.target(result, label)
                    after.append(f"{target}[lane] = start + lane < count ? {value} : 0;")
    return Loop(
        draft.features,
        tuple(start),
        tuple(body.row_lines),
        (*body.statements.lines(), *after),
    )


def _compute_between(operation: Operation, between: dict[str, Map], body: Body) -> None:
    """Declare the values that an operation reads and that no loop before has kept."""
    for value in operation.operands:
        inner = between.get(value.name)
        if inner is not None and not body.knows(value):
            _compute_between(inner, between, body)
            body.compute(inner)
