"""Expanding layers where they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nerva_dsl import syntax
from nerva_dsl.check.arguments import bind_definition
from nerva_dsl.check.environment import LayerDefinition, LayerLines
from nerva_dsl.check.graph import Owner
from nerva_dsl.check.repeats import Repeat, shape_of
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import UNKNOWN, Scalar, Term, Unknown
from nerva_dsl.errors import Note
from nerva_dsl.source import Span

if TYPE_CHECKING:
    from nerva_dsl.check.values import ValueEvaluator

MAX_DEPTH = 64
MAX_EXPANDED = 100_000
"""How many values, and how many uses of layers, all layers of a model may expand to."""

LineEvaluator = Callable[[Owner, dict[str, Term], Mapping[str, Span]], "ValueEvaluator"]
"""Makes what evaluates a line: from what its parameters are named after, the local names so far,
and the places of all."""


def use_layer(evaluator: ValueEvaluator, node: syntax.Call, definition: LayerDefinition) -> Term:
    """The value of a use: its lines with the arguments in the places of inputs and options.

    Lines are evaluated once for all uses that differ in no width and no option, unless there is
    something to be said about them.
    """
    report, graph = evaluator.report, evaluator.graph
    bound = bind_definition(report, node, definition)
    if bound is None:
        return UNKNOWN
    given = [evaluator.operand_value(bound[name]) for name in definition.inputs]
    local: dict[str, Term] = {
        name: UNKNOWN if value is None else graph.scalar(value)
        for name, value in zip(definition.inputs, given, strict=True)
    }
    for option in definition.options:
        if option.name in bound:
            local[option.name] = evaluator.constants.constant(bound[option.name])
        elif option.default is not None:
            local[option.name] = option.default
    if any(isinstance(term, Unknown) for term in local.values()):
        return UNKNOWN
    use = Owner("", evaluator.owner, node.span)
    inputs = [value for value in given if value is not None]
    options = [repr(local[option.name]) for option in definition.options]  # 1 is not 1.0
    key = (definition.span, evaluator.depth, *shape_of(inputs), *options)
    repeat = graph.repeats.get(key)
    if repeat is not None and graph.uses + len(graph.values) + repeat.size <= MAX_EXPANDED:
        return graph.scalar(repeat.once_more(graph, inputs, use))
    before = graph.uses, len(graph.values)
    if not _within_bounds(evaluator, node, definition):
        return UNKNOWN
    inner = Report()
    make = evaluator.line_evaluator(inner, definition.scope)
    result = evaluate_lines(definition.lines, use, local, make)
    report.adopt(inner.diagnostics, Note(node.span, "in this use"))
    if isinstance(result, Scalar) and not inner.diagnostics:
        graph.repeats[key] = Repeat.of(graph, before, inputs, use, result)
    return result


def _within_bounds(
    evaluator: ValueEvaluator, node: syntax.Call, definition: LayerDefinition
) -> bool:
    """Report, once, layers which expand to more than a model can have."""
    graph = evaluator.graph
    graph.uses += 1
    if graph.uses + len(graph.values) > MAX_EXPANDED:
        what = f"with its layers expanded, the model has more than {MAX_EXPANDED} values"
    elif evaluator.depth >= MAX_DEPTH:
        what = f"layers stand in layers more than {MAX_DEPTH} deep"
    else:
        return True
    if not graph.overflowed:
        graph.overflowed = True
        evaluator.report.error("N0412", what, node.span)
    return False


def evaluate_lines(
    lines: LayerLines, use: Owner, local: dict[str, Term], make: LineEvaluator
) -> Term:
    """The value that the lines of a layer return.

    Names may be defined twice only if that has been reported; the first definition counts.

    Args:
        lines: of the layer.
        use: what the parameters in its `return` are named after.
        local: its inputs and options; gets its other names.
        make: see there.
    """
    coming = {line.name.text: line.name.span for line in lines if isinstance(line, syntax.Binding)}
    for line in lines:
        owner = Owner(line.name.text, use) if isinstance(line, syntax.Binding) else use
        evaluator = make(owner, local, coming)
        value = evaluator.value(line.value)
        term = UNKNOWN if value is None else evaluator.graph.scalar(value)
        if isinstance(line, syntax.Return):
            return term
        local.setdefault(owner.name, term)
    return UNKNOWN
