"""Fuse: group what one kernel can compute without storing what lies between.

Before: no groups. After: every operation is in exactly one group, and a group's operations share
the loops of one `Domain`:

- a load, a product or a transposed product, followed by the elementwise operations on its result:
  bias and activation ride on the forward product, the activation's slope on the transposed one;
- a weight gradient followed by the optimizer's update, so that the gradient is never stored;
- reductions over the features and the elementwise operations around them: a whole loss with its
  gradient;
- sums over the batch, what is computed from them feature by feature, and the updates that follow:
  a bias's gradient, batch normalisation;
- elementwise operations that belong to none of these.

Groups that only update come last: nothing may read a parameter after its update. Why: memory
traffic, not arithmetic, is what a step costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nerva_dsl.ir.operations import Group, Map, Operation, Reduce, Update
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Place, Value
from nerva_dsl.passes.domains import Domain, domain
from nerva_dsl.record import replace
from nerva_dsl.scalar import Apply, Expr, walk

# Operators worth storing the result of rather than computing it twice.
COSTLY = frozenset(
    {"exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "pow", "sqrt", "div"}
)


@dataclass(frozen=True)
class Fuse:
    """See the module's docstring."""

    name: str = "fuse"

    def __call__(self, program: Program) -> Program:
        """Group the operations of every graph."""
        graphs = tuple(_fuse(graph, patterns(program, graph)) for graph in program.graphs)
        return replace(program, graphs=graphs)


@dataclass(eq=False)
class _Draft:
    """A group that is being collected."""

    domain: Domain
    body: list[Operation]
    defined: set[str] = field(default_factory=set)

    def add(self, operation: Operation, *, first: bool = False) -> None:
        self.body.insert(0 if first else len(self.body), operation)
        self.defined.update(value.name for value in operation.results)

    @property
    def rows(self) -> int:
        """Of what a featurewise draft works on."""
        head = self.body[0]
        match head:
            case Reduce(x=x):
                return x.type.rows
            case Update(parameter=parameter):
                return parameter.type.rows
        return head.result.type.rows

    @property
    def reads(self) -> set[str]:
        """The values that it takes from elsewhere."""
        return {v.name for op in self.body for v in op.operands} - self.defined

    @property
    def updates(self) -> bool:
        return any(isinstance(operation, Update) for operation in self.body)


def _fuse(graph: Graph, weights: Collection[str]) -> Graph:
    before_results, bound = _needed(graph), _bound_to_sums(graph)
    drafts: list[_Draft] = []
    home: dict[str, int] = {}  # the draft that defines a value
    for operation in graph.operations:
        kind = domain(operation, weights)
        if kind is Domain.ELEMENTWISE and operation.result.name in bound:
            kind = Domain.FEATUREWISE
        latest = max((home.get(v.name, -1) for v in operation.operands), default=-1)
        index = next(_candidates(operation, kind, latest, drafts, before_results), len(drafts))
        if index == len(drafts):
            drafts.append(_Draft(kind, []))
        draft = drafts[index]
        draft.add(operation)
        if kind is Domain.SAMPLEWISE:
            draft.domain = kind
        home.update((value.name, index) for value in operation.results)
    results = {value.name for _, value in graph.results}
    drafts = _sink(drafts, results)
    readers = _readers(drafts)
    for draft in drafts:
        draft.body.sort(key=lambda operation: isinstance(operation, Update))  # stable
    only_updates = {
        id(draft): draft.updates and not any(readers[name] - {id(draft)} for name in draft.defined)
        for draft in drafts
    }
    drafts.sort(key=lambda draft: only_updates[id(draft)])  # stable: otherwise as before
    return replace(graph, operations=tuple(_close(draft, readers, results) for draft in drafts))


def is_costly(expression: Expr) -> bool:
    """Whether an expression should not be computed twice."""
    return any(isinstance(node, Apply) and node.operator in COSTLY for node in walk(expression))


def merge_origins(operations: Iterable[Operation]) -> tuple[Place, ...]:
    """All places of some operations, each once, in order."""
    return tuple(dict.fromkeys(place for op in operations for place in op.origin))


def _needed(graph: Graph) -> set[str]:
    """The values that the graph's results are computed from."""
    needed = {value.name for _, value in graph.results}
    for operation in reversed(graph.operations):
        if any(value.name in needed for value in operation.results):
            needed.update(value.name for value in operation.operands)
    return needed


def _bound_to_sums(graph: Graph) -> set[str]:
    """The activations that belong into the loops of sums over the batch.

    They wait for such a sum, or nothing else reads them: products that are summed at once, as in
    the gradients of a batch normalisation, are then never stored.
    """
    computed = {value.name for op in graph.operations for value in op.results}
    readers: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in graph.operations:
        for value in operation.operands:
            readers[value.name].append(operation)
    results = {value.name for _, value in graph.results}
    bound: set[str] = set()
    for operation in reversed(graph.operations):
        if not isinstance(operation, Map) or not operation.result.type.batched:
            continue
        result = operation.result
        waits = any(
            value.name in computed and value.type.shape == (result.type.rows, 1)
            for value in operation.inputs
        )
        summed = result.name not in results and all(
            (isinstance(reader, Reduce) and reader.axis == "batch")
            or (
                isinstance(reader, Map)
                and reader.result.name in bound
                and reader.result.type.shape == result.type.shape
            )
            for reader in readers[result.name]
        )
        if waits or (summed and readers[result.name]):
            bound.add(result.name)
    return bound


def _candidates(
    operation: Operation,
    kind: Domain,
    latest: int,
    drafts: Sequence[_Draft],
    before_results: set[str],
) -> Iterator[int]:
    """The drafts that an operation can join, given the last one that it reads from.

    What works feature by feature may also join a later draft: it depends on nothing in it.
    """
    last = len(drafts) if kind in (Domain.FEATUREWISE, Domain.SCALAR) else latest + 1
    for index in range(max(latest, 0), last):
        draft = drafts[index]
        if isinstance(operation, Update):
            # Updates wait for the results; what these need cannot wait.
            if draft.defined.isdisjoint(before_results) and _takes_update(draft, operation):
                yield index
        elif index >= latest >= 0 and _joins(operation, kind, draft):
            yield index


def _joins(operation: Operation, kind: Domain, draft: _Draft) -> bool:
    """Whether an operation can share the loops of a draft, and has a reason to."""
    operands = {value.name for value in operation.operands}
    match draft.domain, kind:
        case ((Domain.GATHER | Domain.PRODUCT), Domain.ELEMENTWISE):
            return operation.result.type.shape == draft.body[0].result.type.shape
        case Domain.ELEMENTWISE, Domain.ELEMENTWISE:
            return operation.result.type.shape == draft.body[0].result.type.shape
        case ((Domain.ELEMENTWISE | Domain.SAMPLEWISE), Domain.SAMPLEWISE):
            return True
        case Domain.SAMPLEWISE, Domain.ELEMENTWISE:
            return True
        case Domain.FEATUREWISE, Domain.ELEMENTWISE:
            return operation.result.type.rows == draft.rows
        case Domain.FEATUREWISE, (Domain.FEATUREWISE | Domain.SCALAR):
            if isinstance(operation, Reduce):
                wanted = operation.x.type.rows if operation.axis == "batch" else 0
            else:
                wanted = operation.result.type.rows
            shared = operands & (draft.defined | draft.reads)
            return wanted == draft.rows and bool(shared)
        case Domain.SCALAR, Domain.SCALAR:
            return not operands.isdisjoint(draft.defined)
        case Domain.WEIGHTS, Domain.WEIGHTS:
            return not operands.isdisjoint(draft.defined)
    return False


def _takes_update(draft: _Draft, update: Update) -> bool:
    """Whether an update can ride on a draft: on its gradient, or beside updates of its kind."""
    if update.gradient.name in draft.defined:
        return draft.domain in (Domain.WEIGHTS, Domain.FEATUREWISE, Domain.SCALAR)
    beside = all(isinstance(op, Update) and op.origin == update.origin for op in draft.body)
    return (
        beside and draft.domain is Domain.FEATUREWISE and draft.rows == update.parameter.type.rows
    )


def _readers(drafts: Iterable[_Draft]) -> dict[str, set[int]]:
    """Which drafts read a value, by its name."""
    readers: defaultdict[str, set[int]] = defaultdict(set)
    for draft in drafts:
        for operation in draft.body:
            for value in operation.operands:
                readers[value.name].add(id(draft))
    return readers


def _sink(drafts: list[_Draft], results: set[str]) -> list[_Draft]:
    """Move what works sample by sample into the samplewise draft that alone reads it."""
    readers = _readers(drafts)
    by_id = {id(draft): draft for draft in drafts}
    gone: set[int] = set()
    for draft in reversed(drafts):
        if draft.domain not in (Domain.ELEMENTWISE, Domain.SAMPLEWISE):
            continue
        outside = {reader for name in draft.defined for reader in readers[name]} - {id(draft)}
        if len(outside) != 1 or draft.defined & results:
            continue
        target = by_id[next(iter(outside))]
        if target.domain is Domain.SAMPLEWISE:
            target.body[:0] = draft.body
            target.defined |= draft.defined
            gone.add(id(draft))
            for operation in draft.body:
                for value in operation.operands:
                    readers[value.name].discard(id(draft))
                    readers[value.name].add(id(target))
    return [draft for draft in drafts if id(draft) not in gone]


def _close(draft: _Draft, readers: dict[str, set[int]], results: set[str]) -> Group:
    """Make the group; its results are what is read elsewhere, or too costly to compute twice."""
    stored = tuple(
        value
        for operation in draft.body
        for value in operation.results
        if value.name in results
        or readers[value.name] - {id(draft)}
        or _worth_storing(operation, value, draft)
    )
    return Group(stored, merge_origins(draft.body), tuple(draft.body))


def _worth_storing(operation: Operation, value: Value, draft: _Draft) -> bool:
    """Whether several loops of one kernel read a value that is costly to compute."""
    if draft.domain is Domain.SAMPLEWISE:
        several = isinstance(operation, Map) and value.type.rows > 1
    else:
        several = draft.domain is Domain.FEATUREWISE and value.type.batched
    if not (several and isinstance(operation, Map) and is_costly(operation.expression)):
        return False
    return sum(value in other.operands for other in draft.body) > 1
