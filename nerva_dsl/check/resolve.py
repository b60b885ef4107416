"""Spreading densities over the layers, and the graph with everything known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

from nerva_dsl import model
from nerva_dsl.check import densities
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import Sparsity
from nerva_dsl.check.graph import Graph, LayerRequest, reachable, with_operands
from nerva_dsl.check.report import Report
from nerva_dsl.errors import Note


def resolve(
    report: Report, graph: Graph, sparsity: Sparsity | None, roots: list[model.Value]
) -> tuple[dict[model.Value, model.Value], tuple[model.Layer, ...]]:
    """Give every layer its name, non-zeros and initial weights.

    Values which no root is computed from are left out, with their layers.

    Args:
        report: gets an error for every layer without a non-zero.
        graph: the values with provisional layers.
        sparsity: how a density is spread over the layers that have none of their own.
        roots: output and loss.

    Returns:
        The final value of each value that remains, in order, and the layers in order of
        evaluation.
    """
    alive = reachable(roots)
    used = {value.layer.span for value in alive if isinstance(value, model.Linear)}
    requests = [request for request in graph.requests if request.layer.span in used]
    counts = _counts(report, requests, sparsity)
    names = _names(requests)
    layers: dict[object, model.Layer] = {}
    for request, nnz, name in zip(requests, counts, names, strict=True):
        layer = request.layer
        initialiser = request.initialiser.resolve(layer.inputs, layer.outputs, max(nnz, 1))
        layers[layer.span] = replace(layer, name=name, nnz=nnz, initialiser=initialiser)
    done: dict[model.Value, model.Value] = {}
    for value in graph.values:
        if value in alive:
            new = with_operands(value, done)
            if isinstance(new, model.Linear):
                new = replace(new, layer=layers[new.layer.span])
            done[value] = new
    return done, tuple(layers.values())


def _names(requests: list[LayerRequest]) -> list[str]:
    """The binding's name, numbered if the binding has several layers."""
    totals = Counter(request.binding for request in requests)
    seen: Counter[str] = Counter()
    names: list[str] = []
    for request in requests:
        seen[request.binding] += 1
        several = totals[request.binding] > 1
        names.append(f"{request.binding}.{seen[request.binding]}" if several else request.binding)
    return names


def _counts(report: Report, requests: list[LayerRequest], sparsity: Sparsity | None) -> list[int]:
    """The number of non-zeros of each layer."""
    spread = [request for request in requests if request.density is None]
    shapes = [(request.layer.inputs, request.layer.outputs) for request in spread]
    shared: list[float | Fraction]
    if sparsity is None:
        shared = [1.0] * len(spread)
    elif sparsity.kind == "uniform":
        shared = [sparsity.density] * len(spread)
    else:
        shared = [*densities.erdos_renyi(sparsity.density, shapes)]
    of_spread = {id(request): density for request, density in zip(spread, shared, strict=True)}
    counts: list[int] = []
    for request in requests:
        layer = request.layer
        density = of_spread.get(id(request), request.density)
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
    notes = []
    enough = densities.least_own(layer.inputs, layer.outputs)
    if request.density is None and sparsity is not None:
        notes.append(Note(sparsity.span, "its density comes from here"))
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
