"""Spreading densities over the layers, and the graph with everything known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from nerva_dsl import model
from nerva_dsl.check import densities
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import Sparsity
from nerva_dsl.check.graph import Graph, Holder, LayerRequest, reachable, uses, with_operands
from nerva_dsl.check.naming import prefixes
from nerva_dsl.check.report import Report
from nerva_dsl.check.rules import Rules
from nerva_dsl.errors import Note


@dataclass(frozen=True)
class Resolved:
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
    layers: dict[model.Layer, model.Layer] = {}
    for request, nnz in zip(requests, counts, strict=True):
        layer = request.layer
        initialiser = request.initialiser.resolve(layer.inputs, layer.outputs, max(nnz, 1))
        rule = rules.label(request.rule)
        layers[layer] = replace(layer, nnz=nnz, initialiser=initialiser, rule=rule)
    done: dict[model.Value, model.Value] = {}
    parameters: list[str] = []
    for value in values:
        new = with_operands(value, done)
        if value in graph.names:
            new = replace(new, name=graph.names[value])
        holder = graph.holders.get(value)
        if holder is not None:
            new, more = _named(new, holder, names[holder], layers)
            parameters += more
        done[value] = new
    return Resolved(done, tuple(layers.values()), tuple(parameters))


def _named(
    value: model.Value, holder: Holder, name: str, layers: dict[model.Layer, model.Layer]
) -> tuple[model.Value, list[str]]:
    """A value with its parameters' names, and those in order."""
    match value:
        case model.Linear():
            layers[value.layer] = layer = replace(layers[value.layer], name=name)
            value = replace(value, layer=layer)
        case model.BatchNorm():
            value = replace(value, prefix=name)
        case model.Learned():
            parameter = f"{name}.{value.parameter}"
            return replace(value, parameter=parameter), [parameter]
    return value, [f"{name}.{part}" for part in holder.parts]


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
    for request in requests:
        layer = request.layer
        if layer.pattern is not None:
            counts.append(len(layer.pattern.column))
            continue
        density = of_spread.get(request, request.density)
        assert density is not None
        nnz = densities.rounded(density, layer.inputs, layer.outputs)
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
