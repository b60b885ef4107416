"""Spreading densities over the layers: what is decided once all values are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

from nerva_dsl import model
from nerva_dsl.check import densities
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import Sparsity
from nerva_dsl.check.graph import Graph, Holder, reachable, uses
from nerva_dsl.check.naming import prefixes
from nerva_dsl.check.report import Report
from nerva_dsl.check.rules import Rules
from nerva_dsl.errors import Note
from nerva_dsl.record import Record

V = TypeVar("V", bound=model.Value)


class Weights(Record):
    """What is decided of the weights of a `linear`; layers that are alike share it.

    Attributes:
        inputs, outputs: the weight is `[outputs, inputs]`.
        nnz: number of non-zeros.
        initialiser: of those.
        rule: label of the optimizer of weight and bias.
    """

    inputs: int
    outputs: int
    nnz: int
    initialiser: model.Initialiser
    rule: str

    @property
    def density(self) -> float:
        """Fraction of the weights that are non-zeros, after rounding to whole non-zeros."""
        return self.nnz / (self.inputs * self.outputs)

    @property
    def sparse(self) -> bool:
        """Whether there are fewer non-zeros than weights."""
        return self.nnz < self.inputs * self.outputs


class Resolved:
    """The values that are part of a model, and what is decided of their weights.

    Attributes:
        values: in the order of evaluation.
        alive: the same.
        weights: of each `linear` among them, in that order.
    """

    def __init__(
        self,
        graph: Graph,
        values: list[model.Value],
        alive: set[model.Value],
        weights: dict[model.Linear, Weights],
        kinds: Mapping[type[model.Value], list[model.Value]],
    ) -> None:
        self._holders = graph.holders
        self.values = values
        self.alive = alive
        self.weights = weights
        self._kinds = kinds

    @cached_property
    def _prefixes(self) -> dict[Holder, str]:
        """Made when it is asked for: few messages name a parameter."""
        held = (self._holders.get(value) for value in self.values)
        return prefixes(list(dict.fromkeys(holder for holder in held if holder is not None)))

    def of(self, kind: type[V]) -> list[V]:
        """The values of a kind."""
        return _of(self._kinds, kind)

    def prefix(self, value: model.Value) -> str:
        """What the names of a value's parameters begin with; of a `linear`, its layer's name."""
        return self._prefixes[self._holders[value]]

    def parameters(self, value: model.Value) -> list[str]:
        """The names of a value's parameters, in order."""
        holder = self._holders.get(value)
        if holder is None:
            return []
        parts = (value.parameter,) if isinstance(value, model.Learned) else holder.parts
        return [f"{self._prefixes[holder]}.{part}" for part in parts]


def resolve(
    report: Report,
    graph: Graph,
    sparsity: Sparsity | None,
    rules: Rules,
    roots: list[model.Value],
) -> Resolved:
    """Give every layer its non-zeros, initial weights and optimizer.

    Values which no root is computed from are left out, with their layers.

    Args:
        report: gets an error for every layer without a non-zero.
        graph: the values with provisional layers.
        sparsity: how a density is spread over the layers that have none of their own.
        rules: gets the optimizers of the layers.
        roots: output, loss and metrics.
    """
    alive = reachable(roots)
    values = [value for value in graph.values if value in alive]
    kinds = _by_kind(values)
    linears = _of(kinds, model.Linear)
    requests = graph.requests
    shapes = [
        (value.x.width, value.width)
        for value in linears
        if requests[value].density is None and value.layer.pattern is None
    ]
    shared = _shared(sparsity, shapes)
    weights: dict[model.Linear, Weights] = {}
    alike: dict[tuple[object, ...], Weights] = {}
    for value in linears:
        request, pattern, inputs, outputs = (
            requests[value],
            value.layer.pattern,
            value.x.width,
            value.width,
        )
        rule = rules.label(request.rule)
        key = inputs, outputs, request.density, request.initialiser, rule, pattern
        decided = alike.get(key)
        if decided is None:
            if pattern is not None:
                nnz = len(pattern.column)
            else:
                own = request.density
                density = shared[inputs, outputs] if own is None else own
                nnz = densities.rounded(density, inputs, outputs)
            initialiser = request.initialiser.resolve(inputs, outputs, max(nnz, 1))
            decided = alike[key] = Weights(inputs, outputs, nnz, initialiser, rule)
        weights[value] = decided
        if not decided.nnz and pattern is None:
            _report_empty(report, graph, value, sparsity, shapes)
    return Resolved(graph, values, alive, weights, kinds)


def _by_kind(values: Iterable[model.Value]) -> dict[type[model.Value], list[model.Value]]:
    """Values by what they are, so that checks of few kinds need not look at all values."""
    kinds: dict[type[model.Value], list[model.Value]] = {}
    for value in values:
        kinds.setdefault(type(value), []).append(value)
    return kinds


def _of(kinds: Mapping[type[model.Value], list[model.Value]], kind: type[V]) -> list[V]:
    return kinds.get(kind, [])  # type: ignore[return-value]  # all are of that kind


def _shared(
    sparsity: Sparsity | None, shapes: list[tuple[int, int]]
) -> Mapping[tuple[int, int], float | Fraction]:
    """The density of the layers that have none of their own, by their shapes."""
    if sparsity is None:
        return dict.fromkeys(shapes, 1.0)
    if sparsity.kind == "uniform":
        return dict.fromkeys(shapes, sparsity.density)
    return dict(zip(shapes, densities.erdos_renyi(sparsity.density, shapes), strict=True))


def _report_empty(
    report: Report,
    graph: Graph,
    value: model.Linear,
    sparsity: Sparsity | None,
    shapes: list[tuple[int, int]],
) -> None:
    layer, request = value.layer, graph.requests[value]
    notes = uses(graph.holders[value].owner)
    enough = densities.least_own(layer.inputs, layer.outputs)
    if request.density is None and sparsity is not None:
        notes.insert(0, Note(sparsity.span, "its density comes from here"))
        density = sparsity.density
        if sparsity.kind == "erdos_renyi":
            enough = densities.least_overall(shapes)
    else:
        density = request.density or 0.0
    report.error(
        "N0210",
        f"this layer of {layer.outputs} × {layer.inputs} weights has no non-zero "
        f"at density {show(density)}",
        request.density_span,
        notes=notes,
        help=f"a density of {show(enough)} would leave it one",
    )
