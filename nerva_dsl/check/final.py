"""The graph with everything known: names of parameters, final layers and values."""

from __future__ import annotations

import operator

from nerva_dsl import model
from nerva_dsl.check.graph import Graph, operand_fields, operands
from nerva_dsl.check.resolve import Resolved, Weights
from nerva_dsl.record import Record, replace


class Final(Record):
    """The graph with everything known.

    Attributes:
        values: the final value of each value that remains, in order.
        layers: in order of evaluation.
        parameters: the names of all parameters, in order of evaluation.
    """

    values: dict[model.Value, model.Value]
    layers: tuple[model.Layer, ...]
    parameters: tuple[str, ...]


def final_values(graph: Graph, resolved: Resolved) -> Final:
    """Give every value its final form: with its names, over the final form of its operands."""
    layers: list[model.Layer] = []
    done: dict[model.Value, model.Value] = {}
    parameters: list[str] = []
    for value in resolved.values:
        own = operands(value)
        new = tuple([done[operand] for operand in own])
        changes = {} if all(map(operator.is_, own, new)) else operand_fields(value, new)
        if value in graph.names:
            changes["name"] = graph.names[value]
        match value:
            case model.Linear():
                changes["layer"] = _layer(value, resolved.weights[value], resolved.prefix(value))
                layers.append(changes["layer"])
            case model.BatchNorm():
                changes["prefix"] = resolved.prefix(value)
            case model.Learned():
                (changes["parameter"],) = resolved.parameters(value)
        parameters += resolved.parameters(value)
        done[value] = replace(value, **changes) if changes else value
    return Final(done, tuple(layers), tuple(parameters))


def _layer(value: model.Linear, weights: Weights, name: str) -> model.Layer:
    return replace(
        value.layer, name=name, nnz=weights.nnz, initialiser=weights.initialiser, rule=weights.rule
    )
