"""Fuse: group what one kernel can compute without storing what lies between.

Before: no groups. After: every operation is in exactly one group, and a group begins with the
operation that gives it its kind:

- a load, a product or a transposed product, followed by the elementwise operations on its result:
  bias and activation ride on the forward product, the activation's slope on the transposed one;
- a weight gradient, or a sum over the batch, followed by the optimizer's update, so that the
  gradient is never stored;
- reductions over the features and the elementwise operations around them: a whole loss with its
  gradient;
- elementwise operations that belong to none of these.

Groups that update come last: nothing may read a parameter after its update. Why: memory traffic,
not arithmetic, is what a step costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nerva_dsl.ir.operations import (
    Group,
    Map,
    Operation,
    Reduce,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Place, Value
from nerva_dsl.passes.rewrite import each_graph
from nerva_dsl.scalar import Apply, Expr, walk

# Operators worth storing the result of rather than computing it twice.
COSTLY = frozenset({"exp", "expm1", "log", "log1p", "tanh", "erf", "pow", "sqrt", "div"})


@dataclass(frozen=True)
class Fuse:
    """See the module's docstring."""

    name: str = "fuse"

    def __call__(self, program: Program) -> Program:
        """Group the operations of every graph."""
        return each_graph(program, _fuse)


@dataclass
class _Draft:
    """A group that is being collected."""

    body: list[Operation]

    @property
    def updates(self) -> bool:
        return any(isinstance(operation, Update) for operation in self.body)


def _fuse(graph: Graph) -> Graph:
    drafts: list[_Draft] = []
    home: dict[str, int] = {}  # the draft that defines a value
    for operation in graph.operations:
        latest = max((home.get(v.name, -1) for v in operation.operands), default=-1)
        if latest >= 0 and _joins(operation, drafts[latest]):
            drafts[latest].body.append(operation)
        else:
            latest = len(drafts)
            drafts.append(_Draft([operation]))
        home.update((value.name, latest) for value in operation.results)
    drafts = _sink([draft for draft in drafts if draft.body], graph)
    drafts.sort(key=lambda draft: draft.updates)  # stable: updates last, otherwise as before
    return replace(graph, operations=tuple(_close(draft, drafts, graph) for draft in drafts))


def is_samplewise(body: Sequence[Operation]) -> bool:
    """Whether a group works sample by sample because it reduces over the features."""
    return any(isinstance(op, Reduce) and op.axis == "features" for op in body)


def _joins(operation: Operation, draft: _Draft) -> bool:
    """Whether an operation that reads a draft's values can ride on it."""
    head = draft.body[0]
    match operation:
        case Update():
            return isinstance(head, WeightGradient) or _sums_batch(head)
        case Reduce(axis="features"):
            return isinstance(head, Map | Reduce) and not _sums_batch(head)
        case Map(results=(y,)) if isinstance(head, WeightGradient) or _sums_batch(head):
            return False
        case Map(results=(y,)):
            return is_samplewise(draft.body) or y.type.shape == head.result.type.shape
    return False


def _sums_batch(operation: Operation) -> bool:
    return isinstance(operation, Reduce) and operation.axis == "batch"


def _sink(drafts: list[_Draft], graph: Graph) -> list[_Draft]:
    """Move what works sample by sample into the samplewise draft that alone reads it."""
    results = {value.name for _, value in graph.results}
    for index in reversed(range(len(drafts))):
        draft = drafts[index]
        if not all(isinstance(op, Map) or is_samplewise([op]) for op in draft.body):
            continue
        names = {value.name for operation in draft.body for value in operation.results}
        readers = [other for other in drafts if other is not draft and _reads(other, names)]
        if len(readers) == 1 and is_samplewise(readers[0].body) and not names & results:
            readers[0].body[:0] = draft.body
            del drafts[index]
    return drafts


def _reads(draft: _Draft, names: set[str]) -> bool:
    return any(value.name in names for operation in draft.body for value in operation.operands)


def _close(draft: _Draft, drafts: list[_Draft], graph: Graph) -> Group:
    """Make the group; its results are what is read elsewhere, or too costly to compute twice."""
    wanted = {value.name for _, value in graph.results}
    for other in drafts:
        if other is not draft:
            wanted.update(value.name for op in other.body for value in op.operands)
    results = tuple(
        value
        for operation in draft.body
        for value in operation.results
        if value.name in wanted or _worth_storing(operation, value, draft)
    )
    return Group(results, merge_origins(draft.body), tuple(draft.body))


def _worth_storing(operation: Operation, value: Value, draft: _Draft) -> bool:
    if not (is_samplewise(draft.body) and isinstance(operation, Map) and value.type.rows > 1):
        return False
    readers = sum(value in other.operands for other in draft.body)
    return readers > 1 and is_costly(operation.expression)


def is_costly(expression: Expr) -> bool:
    """Whether an expression should not be computed twice."""
    return any(isinstance(node, Apply) and node.operator in COSTLY for node in walk(expression))


def merge_origins(operations: Iterable[Operation]) -> tuple[Place, ...]:
    """All places of some operations, each once, in order."""
    return tuple(dict.fromkeys(place for op in operations for place in op.origin))
