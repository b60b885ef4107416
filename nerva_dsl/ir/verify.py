"""Checks that hold after every pass; a failure is a fault of the compiler, never of a user."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
    DenseGradient,
    Group,
    Load,
    LogSoftmax,
    Map,
    Operation,
    Product,
    Reduce,
    RowSquares,
    Slice,
    Softmax,
    Standardize,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.program import Graph, Program, Regrow
from nerva_dsl.ir.types import Dim, Type, Value
from nerva_dsl.scalar import variables

_SUPPLIED = {"count", "feature"}
_RULE_SUPPLIED = {"w", "g", "lr", "step"}


class InvalidProgram(Exception):  # noqa: N818 -- says what is wrong with its subject
    """The IR breaks one of its rules: the pass before is at fault."""


def verify(program: Program, after: str) -> Program:
    """Return the program if it is well formed.

    Args:
        program: what to check.
        after: name of the stage that made it, for the message.

    Raises:
        InvalidProgram: names the stage, the graph and what is wrong.
    """
    for problem in _problems(program):
        raise InvalidProgram(f"after {after}: {problem}")
    return program


def _problems(program: Program) -> Iterator[str]:
    for rule in program.rules:
        known = _RULE_SUPPLIED | {name for name, _ in rule.states}
        for target, expression in rule.assignments:
            if unknown := set(variables(expression)) - known:
                yield f"rule {rule.name} reads {sorted(unknown)} before they are assigned"
            known.add(target)
    if program.regrow is not None:
        yield from _regrow(program, program.regrow)
    for graph in program.graphs:
        yield from (f"graph {graph.name}: {text}" for text in _graph(program, graph))


def _regrow(program: Program, regrow: Regrow) -> Iterator[str]:
    """Every weight that grows is sparse, and `growth` has its gradient at all positions."""
    sparse = {p.value.name for p in program.parameters if p.value.type.format == "csr"}
    for growing in regrow.weights:
        for name in filter(None, (growing.weight, growing.average)):
            if name not in sparse:
                yield f"regrow: {name} is no sparse parameter"
    if "growth" in (graph.name for graph in program.graphs):
        given = {name for name, _ in program.graph("growth").results}
        for name in {growing.weight for growing in regrow.weights} - given:
            yield f"regrow: growth does not give the gradient of {name}"


def _graph(program: Program, graph: Graph) -> Iterator[str]:
    visible = {value.name: value for value in program.outer}
    updated: set[str] = set()
    phase = -1
    for operation in graph.operations:
        yield from _operation(operation, visible, updated)
        if isinstance(operation, Group):
            if operation.phase < phase:
                yield f"{_title(operation)} is listed after a later phase"
            phase = operation.phase
    for name, value in graph.results:
        if visible.get(value.name) != value:
            yield f"result {name} is {value}, which is not defined"
    yield from _phases(graph)
    yield from _buffers(program, graph)


def _operation(operation: Operation, visible: dict[str, Value], updated: set[str]) -> Iterator[str]:
    for value in operation.operands:
        if visible.get(value.name) != value:
            yield f"{_title(operation)} reads {value}: {value.type}, which is not defined so"
        if value.name in updated:
            yield f"{_title(operation)} reads {value} after it was updated"
    if isinstance(operation, Group):
        inner = dict(visible)
        for part in operation.body:
            yield from _operation(part, inner, updated)
        for value in operation.results:
            if inner.get(value.name) != value:
                yield f"group result {value} is not defined in its body"
    elif isinstance(operation, Update):
        updated.add(operation.parameter.name)
    if problem := _types(operation):
        yield f"{_title(operation)}: {problem}"
    for value in operation.results:
        if value.name in visible:
            yield f"{value} is defined twice"
        visible[value.name] = value


def _types(operation: Operation) -> str:
    """What is wrong with an operation's types; empty if nothing is."""
    match operation:
        case Load(results=(y,), array=array):
            return _expect(y, (array.type.shape[1], "B"))
        case Map(results=(y,), inputs=inputs, expression=expression):
            unknown = set(variables(expression)) - _SUPPLIED - {f"a{i}" for i in range(len(inputs))}
            if unknown:
                return f"the expression reads {sorted(unknown)}"
            if any(value.type.format == "csr" for value in (y, *inputs)):
                return _sparse_map(y, inputs)
            return "" if all(_repeats(x.type, y.type) for x in inputs) else "shapes differ"
        case Product(results=(y,), weight=w, x=x):
            return _expect(y, (w.type.shape[0], "B")) or _expect(x, (w.type.shape[1], "B"))
        case TransposedProduct(results=(y,), weight=w, dz=dz):
            return _expect(y, (w.type.shape[1], "B")) or _expect(dz, (w.type.shape[0], "B"))
        case WeightGradient(results=(y,), weight=w, dz=dz, x=x):
            return (
                _expect(dz, (w.type.shape[0], "B"))
                or _expect(x, (w.type.shape[1], "B"))
                or ("" if y.type == w.type else "the gradient's type is not the weight's")
            )
        case DenseGradient(results=(y,), weight=w, dz=dz, x=x):
            return (
                _expect(dz, (w.type.shape[0], "B"))
                or _expect(x, (w.type.shape[1], "B"))
                or _expect(y, w.type.shape)
                or ("" if y.type.format == "dense" else "the gradient is not dense")
            )
        case RowSquares(results=(y,), x=x):
            return _expect(y, (x.type.shape[0], 1))
        case Standardize(results=(y,), x=x, mean=mean, variance=variance):
            column: tuple[Dim, Dim] = (x.type.shape[0], 1)
            return _expect(y, x.type.shape) or _expect(mean, column) or _expect(variance, column)
        case Bernoulli(results=(y,), keep=keep, like=like):
            if not 0 < keep < 1:
                return f"it keeps {keep}"
            same = y.type.batched if like is None else y.type == like.type
            return "" if same else "the mask's type is not that of what it is for"
        case Concat(results=(y,), parts=parts):
            rows = sum(part.type.rows for part in parts)
            return _expect(y, (rows, "B")) or next(
                filter(None, (_expect(part, (part.type.rows, "B")) for part in parts)), ""
            )
        case Slice(results=(y,), x=x, begin=begin):
            inside = begin >= 0 and begin + y.type.rows <= x.type.rows
            return _expect(y, (y.type.rows, "B")) if inside else "the slice is not inside"
        case Reduce(results=(y,), axis="features", x=x):
            return _expect(y, (1, x.type.shape[1]))
        case Reduce(results=(y,), x=x):
            return _expect(y, (x.type.shape[0], 1))
        case Softmax(results=(y,), x=x) | LogSoftmax(results=(y,), x=x):
            return _expect(y, x.type.shape)
        case Update(results=(), parameter=parameter, gradient=gradient):
            same = parameter.type.shape == gradient.type.shape
            return "" if same else "the gradient's shape is not the parameter's"
        case Group():
            return ""
    return "it has a wrong number of results"


def _expect(value: Value, shape: tuple[Dim, Dim]) -> str:
    return "" if value.type.shape == shape else f"{value} is {value.type}, expected {shape}"


def _sparse_map(y: Value, inputs: tuple[Value, ...]) -> str:
    """At the non-zeros of y: operands of its type, or single numbers."""
    if y.type.format != "csr" or not any(value.type.format == "csr" for value in inputs):
        return "elementwise on a sparse matrix"
    fits = all(value.type == y.type or value.type.shape == (1, 1) for value in inputs)
    return "" if fits else "shapes differ"


def _repeats(small: Type, large: Type) -> bool:
    return all(s in (1, n) for s, n in zip(small.shape, large.shape, strict=True))


def _phases(graph: Graph) -> Iterator[str]:
    """Groups of one phase run side by side: none may read what another computes or updates."""
    changed: dict[tuple[int, str], Group] = {}
    groups = [group for group in _groups(graph.operations) if group.phase >= 0]
    for group in groups:
        names = [value.name for value in group.results]
        names += [part.parameter.name for part in group.body if isinstance(part, Update)]
        changed.update(((group.phase, name), group) for name in names)
    for group in groups:
        for value in group.operands:
            if changed.get((group.phase, value.name), group) is not group:
                yield f"{_title(group)} reads {value} in the phase that changes it"


def _buffers(program: Program, graph: Graph) -> Iterator[str]:
    """No two values that are alive in one phase may share memory, but a view and what it shows."""
    if not graph.buffers:
        return
    lives = lifetimes(graph)
    if unknown := [str(b.value) for b in graph.buffers if b.value.name not in lives]:
        yield f"buffers of {', '.join(unknown)}, which no group stores"
        return
    shown = views(graph)
    # Those alive at a phase, by place: what is alive together lies apart, so neighbours suffice.
    alive: list[tuple[int, int, str]] = []
    ends: list[tuple[int, tuple[int, int, str]]] = []
    for buffer in sorted(graph.buffers, key=lambda b: lives[b.value.name][0]):
        place = (buffer.offset, buffer.offset + buffer.size, str(buffer.value))
        if place[1] > program.arena:
            yield f"buffer of {buffer.value} ends beyond the arena"
        if buffer.value.name in shown:
            continue
        first, last = lives[buffer.value.name]
        while ends and ends[0][0] < first:
            alive.remove(heappop(ends)[1])
        at = bisect_left(alive, place)
        for other in alive[max(at - 1, 0) : at + 1]:
            if other[0] < place[1] and place[0] < other[1]:
                yield f"{buffer.value} and {other[2]} share memory while both are alive"
        alive.insert(at, place)
        heappush(ends, (last, place))


def lifetimes(graph: Graph) -> dict[str, tuple[int, int]]:
    """First and last phase in which each stored value is alive, by name.

    A result of the graph stays alive to the end, and what a view shows as long as the view.
    """
    lives: dict[str, tuple[int, int]] = {}
    last = max((group.phase for group in _groups(graph.operations)), default=0)
    for group in _groups(graph.operations):
        for value in group.results:
            lives[value.name] = (group.phase, group.phase)
        for value in group.operands:
            if value.name in lives:
                lives[value.name] = (lives[value.name][0], group.phase)
    for _, value in graph.results:
        if value.name in lives:
            lives[value.name] = (lives[value.name][0], last)
    for name, (root, _) in views(graph).items():
        lives[root.name] = (lives[root.name][0], max(lives[root.name][1], lives[name][1]))
    return lives


def views(graph: Graph) -> dict[str, tuple[Value, int]]:
    """The values that lie inside another: that one, which is no view, and the row they begin at."""
    found: dict[str, tuple[Value, int]] = {}
    for group in _groups(graph.operations):
        match group.body[0]:
            case Slice(results=(y,), x=x, begin=begin):
                root, offset = found.get(x.name, (x, 0))
                found[y.name] = (root, offset + begin)
    return found


def _groups(operations: Iterable[Operation]) -> Iterator[Group]:
    return (operation for operation in operations if isinstance(operation, Group))


def _title(operation: Operation) -> str:
    names = ", ".join(map(str, operation.results)) or ", ".join(map(str, operation.operands))
    return f"{type(operation).__name__} {names}"
