"""Featurewise kernels: sums over the batch, and what is computed from them feature by feature.

A row of an activation is the batch, contiguous: a feature is worked through in sweeps over its row,
which stays in the first-level cache. A sum, or an elementwise value that is stored, is placed in
the first sweep in which all it depends on is known; an elementwise value between them is computed
again in each sweep that reads it. What is one number a feature stands between the sweeps, the
updates of parameters at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nerva_dsl.codegen.bodies import Body, results_of
from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.kernel_plan import Features, Sweep
from nerva_dsl.ir.operations import Group, Map, Operation, Reduce, Update
from nerva_dsl.ir.types import Value

UpdateLine = Callable[[Update, str, str, Body], list[str]]
"""The statements of an update, given its gradient and the index of the number."""


@dataclass
class _Draft:
    """A sweep that is being collected: its loop, and what follows."""

    loop: list[Operation] = field(default_factory=list)
    after: list[Operation] = field(default_factory=list)


def featurewise(group: Group, body: Body, update_lines: UpdateLine) -> Features:
    """What is done with each feature; operands are declared in `body`."""
    stored = results_of(group)
    between = {
        op.result.name: op
        for op in group.body
        if isinstance(op, Map) and op.result.type.batched and op.result.name not in stored
    }
    precision, names = body.statements.precision, body.statements.names
    sweeps = []
    for draft in _place(group, between):
        body.statements = Statements(precision, names)
        body.forget_values()
        sums, lines = _loop(draft, between, stored, body)
        lines = [*body.statements.lines(), *lines]
        body.statements = Statements(precision, names)
        after = _after(draft, stored, body, update_lines)
        sweeps.append(Sweep(tuple(sums), tuple(lines), tuple(after)))
    return Features(tuple(body.row_lines), tuple(sweeps))


def _place(group: Group, between: dict[str, Map]) -> list[_Draft]:
    """Assign every operation that is not repeated to a sweep."""
    drafts: list[_Draft] = []
    ready: dict[str, int] = {}  # the first sweep whose loop may read a value
    for operation in group.body:
        if operation.results and operation.result.name in between:
            continue
        reads = [value.name for value in _needs(operation, between)]
        earliest = max((ready.get(name, 0) for name in reads), default=0)
        if _in_loop(operation):
            index = earliest
            drafts.extend(_Draft() for _ in range(len(drafts), index + 1))
            drafts[index].loop.append(operation)
            known = index + isinstance(operation, Reduce)
        else:
            # After the loop before the first that may read it.
            index = max(earliest - 1, 0)
            if isinstance(operation, Update):
                index = max(index, len(drafts) - 1)
            drafts.extend(_Draft() for _ in range(len(drafts), index + 1))
            drafts[index].after.append(operation)
            known = index + 1
        for value in operation.results:
            ready[value.name] = known
    return drafts


def _in_loop(operation: Operation) -> bool:
    return isinstance(operation, Reduce) or (
        isinstance(operation, Map) and operation.result.type.batched
    )


def _needs(operation: Operation, between: dict[str, Map]) -> Iterator[Value]:
    """What an operation reads, seen through the values that are computed again."""
    for value in operation.operands:
        if value.name in between:
            yield from _needs(between[value.name], between)
        else:
            yield value


def _loop(
    draft: _Draft, between: dict[str, Map], stored: set[str], body: Body
) -> tuple[list[str], list[str]]:
    """The names of the sums, and what follows the declarations of a sample's values."""
    sums: list[str] = []
    lines: list[str] = []
    for operation in draft.loop:
        _compute_between(operation, between, body)
        match operation:
            case Reduce(kind=kind, x=x, result=result):
                name = body.statements.fresh(f"{kind}_of")
                sums.append(name)
                lines.append(f"{name} += column < count ? {body.read(x)} : 0;")
                body.define(result, name)
                body.keep(result, name)
            case Map(result=result, label=label):
                value = body.compute(operation)
                if result.name in stored:
                    target = body.target(result, label)
                    lines.append(f"{target}[column] = column < count ? {value} : 0;")
    return sums, lines


def _after(draft: _Draft, stored: set[str], body: Body, update_lines: UpdateLine) -> list[str]:
    lines: list[str] = []
    reduced = [op for op in draft.loop if isinstance(op, Reduce) and op.result.name in stored]
    for reduction in reduced:
        target = body.target(reduction.result, f"{reduction.kind}_of")
        lines.append(f"{target}[row] = {body.read(reduction.result)};")
    for operation in draft.after:
        if isinstance(operation, Update):
            lines += update_lines(operation, body.read(operation.gradient), "row", body)
            continue
        if not isinstance(operation, Map):
            raise TypeError(f"{type(operation).__name__} is not once a feature")
        expression = body.bind(operation)
        name = body.statements.add(f"{operation.label}_value", expression)
        body.define(operation.result, name)
        body.keep(operation.result, name)
        lines += body.statements.lines()
        body.statements = Statements(body.statements.precision, body.statements.names)
        if operation.result.name in stored:
            lines.append(f"{body.target(operation.result, operation.label)}[row] = {name};")
    return lines


def _compute_between(operation: Operation, between: dict[str, Map], body: Body) -> None:
    """Declare the values that an operation reads and that are computed again in each sweep."""
    for value in operation.operands:
        inner = between.get(value.name)
        if inner is not None and not body.knows(value):
            _compute_between(inner, between, body)
            body.compute(inner)
