"""Spreading densities over the layers, and the graph with everything known."""

from __future__ import annotations

from fractions import Fraction

from nerva_dsl import model
from nerva_dsl.check import densities
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import Sparsity
from nerva_dsl.check.graph import (
    Graph,
    Holder,
    LayerRequest,
    changed_operands,
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
    requests = [graph.requests[value.layer] for value in values if isinstance(value, model.Linear)]
    counts = _counts(report, requests, sparsity)
    amounts = dict(zip(requests, counts, strict=True))
    layers: list[model.Layer] = []
    done: dict[model.Value, model.Value] = {}
    parameters: list[str] = []
    for value in values:
        changes = changed_operands(value, done)
        if value in graph.names:
            changes["name"] = graph.names[value]
        holder = graph.holders.get(value)
        if holder is not None:
            name = names[holder]
            match value:
                case model.Linear():
                    request = graph.requests[value.layer]
                    changes["layer"] = _layer(request, name, amounts[request], rules)
                    layers.append(changes["layer"])
                case model.BatchNorm():
                    changes["prefix"] = name
                case model.Learned():
                    changes["parameter"] = f"{name}.{value.parameter}"
            parameters += _parameters(value, holder, name)
        done[value] = replace(value, **changes) if changes else value
    return Resolved(done, tuple(layers), tuple(parameters))


def _layer(request: LayerRequest, name: str, nnz: int, rules: Rules) -> model.Layer:
    """A layer of which all is known."""
    layer = request.layer
    initialiser = request.initialiser.resolve(layer.inputs, layer.outputs, max(nnz, 1))
    rule = rules.label(request.rule)
    return replace(layer, name=name, nnz=nnz, initialiser=initialiser, rule=rule)


def _parameters(value: model.Value, holder: Holder, name: str) -> list[str]:
    """The names of a value's parameters, in order."""
    parts = (value.parameter,) if isinstance(value, model.Learned) else holder.parts
    return [f"{name}.{part}" for part in parts]


def _counts(report: Report, requests: list[LayerRequest], sparsity: Sparsity | None) -> list[int]:
    """The number of non-zeros of each layer."""
    spread = [
        request for request in requests if request.density is None and request.layer.pattern is None
    ]
    shapes = [(request.layer.inputs, request.layer.outputs) for request in spread]
    shared: list[float | Fraction]
    if sparsity is None:
        shared = [1.0] * len(spread)
    elif sparsity.kind == "uniform":
        shared = [sparsity.density] * len(spread)
    else:
        shared = [*densities.erdos_renyi(sparsity.density, shapes)]
    of_spread = dict(zip(spread, shared, strict=True))
    counts: list[int] = []
    known: dict[tuple[float | None, int, int], int] = {}  # the shared density is a shape's
    for request in requests:
        layer = request.layer
        if layer.pattern is not None:
            counts.append(len(layer.pattern.column))
            continue
        density = of_spread.get(request, request.density)
        assert density is not None
        key = request.density, layer.inputs, layer.outputs
        if key not in known:
            known[key] = densities.rounded(density, layer.inputs, layer.outputs)
        nnz = known[key]
        if nnz == 0:
            _report_empty(report, request, sparsity, shapes)
        counts.append(nnz)
    return counts


def _report_empty(
    report: Report,
    request: LayerRequest,
    sparsity: Sparsity | None,
    shapes: list[tuple[int, int]],
) -> None:
    layer = request.layer
    notes = uses(request.owner)
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
