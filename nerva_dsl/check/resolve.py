"""Spreading densities over the layers, and the graph with everything known."""

from __future__ import annotations

import operator
from fractions import Fraction

from nerva_dsl import model
from nerva_dsl.check import densities
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import Sparsity
from nerva_dsl.check.graph import (
    Graph,
    Holder,
    operand_fields,
    operands,
    reachable,
    uses,
)
from nerva_dsl.check.naming import prefixes
from nerva_dsl.check.report import Report
from nerva_dsl.check.rules import Rules
from nerva_dsl.errors import Note
from nerva_dsl.record import Record, replace


class Resolved(Record):
    """The graph with everything known.

    Attributes:
        values: the final value of each value that remains, in order.
        layers: in order of evaluation.
        parameters: the names of all parameters, in order of evaluation.
    """

    values: dict[model.Value, model.Value]
    layers: tuple[model.Layer, ...]
    parameters: tuple[str, ...]


def resolve(
    report: Report,
    graph: Graph,
    sparsity: Sparsity | None,
    rules: Rules,
    roots: list[model.Value],
) -> Resolved:
    """Give every parameter its name, and every layer its non-zeros and initial weights.

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
    names = prefixes(list(dict.fromkeys(graph.holders[v] for v in values if v in graph.holders)))
    linears = [value for value in values if isinstance(value, model.Linear)]
    settle = _Layers(graph, _counts(report, graph, linears, sparsity), rules)
    layers: list[model.Layer] = []
    done: dict[model.Value, model.Value] = {}
    parameters: list[str] = []
    for value in values:
        own = operands(value)
        new = tuple([done[operand] for operand in own])
        changes = {} if all(map(operator.is_, own, new)) else operand_fields(value, new)
        if value in graph.names:
            changes["name"] = graph.names[value]
        holder = graph.holders.get(value)
        if holder is not None:
            name = names[holder]
            match value:
                case model.Linear():
                    changes["layer"] = settle.layer(value, name)
                    layers.append(changes["layer"])
                case model.BatchNorm():
                    changes["prefix"] = name
                case model.Learned():
                    changes["parameter"] = f"{name}.{value.parameter}"
            parameters += _parameters(value, holder, name)
        done[value] = replace(value, **changes) if changes else value
    return Resolved(done, tuple(layers), tuple(parameters))


class _Layers:
    """Makes the layers of which all is known.

    Args:
        graph: has what they ask for.
        counts: the number of non-zeros of each.
        rules: gets their optimizers.
    """

    def __init__(self, graph: Graph, counts: dict[model.Linear, int], rules: Rules) -> None:
        self._graph = graph
        self._counts = counts
        self._rules = rules
        self._initialisers: dict[tuple[object, ...], model.Initialiser] = {}

    def layer(self, value: model.Linear, name: str) -> model.Layer:
        """The layer of a `linear`; those of one shape that begin alike share their initialiser."""
        layer, request, nnz = value.layer, self._graph.requests[value], self._counts[value]
        key = request.initialiser, layer.inputs, layer.outputs, nnz
        initialiser = self._initialisers.get(key)
        if initialiser is None:
            initialiser = request.initialiser.resolve(layer.inputs, layer.outputs, max(nnz, 1))
            self._initialisers[key] = initialiser
        rule = self._rules.label(request.rule)
        return replace(layer, name=name, nnz=nnz, initialiser=initialiser, rule=rule)


def _parameters(value: model.Value, holder: Holder, name: str) -> list[str]:
    """The names of a value's parameters, in order."""
    parts = (value.parameter,) if isinstance(value, model.Learned) else holder.parts
    return [f"{name}.{part}" for part in parts]


def _counts(
    report: Report, graph: Graph, linears: list[model.Linear], sparsity: Sparsity | None
) -> dict[model.Linear, int]:
    """The number of non-zeros of each layer."""
    requests = graph.requests
    spread = [
        value
        for value in linears
        if requests[value].density is None and value.layer.pattern is None
    ]
    shapes = [(value.layer.inputs, value.layer.outputs) for value in spread]
    shared: list[float | Fraction]
    if sparsity is None:
        shared = [1.0] * len(spread)
    elif sparsity.kind == "uniform":
        shared = [sparsity.density] * len(spread)
    else:
        shared = [*densities.erdos_renyi(sparsity.density, shapes)]
    of_spread = dict(zip(spread, shared, strict=True))
    counts: dict[model.Linear, int] = {}
    known: dict[tuple[float | None, int, int], int] = {}  # the shared density is a shape's
    for value in linears:
        layer, own = value.layer, requests[value].density
        if layer.pattern is not None:
            counts[value] = len(layer.pattern.column)
            continue
        key = own, layer.inputs, layer.outputs
        if key not in known:
            density = of_spread.get(value, own)
            assert density is not None
            known[key] = densities.rounded(density, layer.inputs, layer.outputs)
        counts[value] = known[key]
        if not known[key]:
            _report_empty(report, graph, value, sparsity, shapes)
    return counts


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
