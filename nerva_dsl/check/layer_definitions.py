"""Checking layers where they are defined, as far as that is possible without widths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from nerva_dsl import syntax
from nerva_dsl.check.environment import LayerLines, OptionSpec, Scope
from nerva_dsl.check.graph import Graph, Owner
from nerva_dsl.check.layers import evaluate_lines
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import UNKNOWN, Term
from nerva_dsl.check.values import ValueEvaluator
from nerva_dsl.errors import Note
from nerva_dsl.source import Span


def check_layer(
    report: Report,
    scope: Scope,
    node: syntax.BlockDefinition,
    inputs: tuple[str, ...],
    options: tuple[OptionSpec, ...],
) -> LayerLines:
    """Check a layer as far as that is possible without its inputs and options.

    Returns:
        Its lines.
    """
    lines = tuple(line for line in node.lines if isinstance(line, syntax.Binding | syntax.Return))
    own = dict.fromkeys(inputs, node.signature.span)
    own |= {option.name: option.span for option in options}
    broken = [line for line in node.lines if isinstance(line, syntax.Broken)]
    _check_names(report, lines, own)
    _check_return(report, node, lines, sure=not broken)
    _check_recursion(report, scope, node, lines)
    local: dict[str, Term] = dict.fromkeys(own, UNKNOWN)
    local |= {line.name.text: UNKNOWN for line in broken if line.name is not None}
    # What a value is made of the inputs and options is unknown, and unknown is what that gives.
    outside = ValueEvaluator(report, scope, Graph(), Owner(node.name.text))
    evaluate_lines(lines, outside.owner, local, outside.line_evaluator(report, scope))
    _warn_unused(report, lines)
    return lines


def _check_names(report: Report, lines: LayerLines, own: dict[str, Span]) -> None:
    """Report names that are defined twice."""
    places = dict(own)
    for line in lines:
        if not isinstance(line, syntax.Binding):
            continue
        name = line.name.text
        if name in places:
            report.error(
                "N0202",
                f"`{name}` is defined twice",
                line.name.span,
                notes=[Note(places[name], "defined here first")],
                help="every name of a layer has one meaning; choose another",
            )
        places.setdefault(name, line.name.span)


def _check_return(
    report: Report, node: syntax.BlockDefinition, lines: LayerLines, *, sure: bool
) -> None:
    """Report a layer that does not end with its only `return`."""
    for line, after in pairwise(lines):
        if isinstance(line, syntax.Return):
            report.error(
                "N0411",
                "nothing comes after the `return` of a layer",
                after.span,
                notes=[Note(line.span, "it returns here")],
            )
            return
    if sure and not (lines and isinstance(lines[-1], syntax.Return)):
        report.error(
            "N0411",
            f"the layer `{node.name.text}` returns nothing",
            node.name.span,
            help="its last line is `return VALUE`",
        )


def _check_recursion(
    report: Report, scope: Scope, node: syntax.BlockDefinition, lines: LayerLines
) -> None:
    """Report a layer that uses itself."""
    name = node.name.text
    for line in lines:
        for part in _parts(line.value):
            if isinstance(part, syntax.Call) and part.name.text == name:
                report.error(
                    "N0201",
                    f"`{name}` is not defined yet",
                    part.name.span,
                    notes=[Note(node.name.span, "its definition")],
                    help="a layer cannot use itself: it would never end",
                )
                scope.poisoned.add(name)


def _warn_unused(report: Report, lines: LayerLines) -> None:
    """Warn of local names that no line reads."""
    read = {
        part.text for line in lines for part in _parts(line.value) if isinstance(part, syntax.Name)
    }
    for line in lines:
        if isinstance(line, syntax.Binding) and line.name.text not in read:
            report.warning(
                "N0250",
                f"`{line.name.text}` is not used in the layer",
                line.name.span,
                help="it is left out of the model",
            )


def _parts(node: syntax.Expression) -> Iterator[syntax.Part]:
    """An expression and all of its parts."""
    stack: list[syntax.Part] = [node]
    while stack:
        part = stack.pop()
        yield part
        stack.extend(syntax.children(part))
