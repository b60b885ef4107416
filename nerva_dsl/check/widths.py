"""What is said of operands whose widths differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nerva_dsl import model, syntax
from nerva_dsl.check.expressions import defined_here
from nerva_dsl.check.graph import Graph
from nerva_dsl.check.terms import Scalar, Unknown
from nerva_dsl.source import Span

if TYPE_CHECKING:
    from nerva_dsl.check.values import ValueEvaluator


def report_widths(
    evaluator: ValueEvaluator,
    span: Span,
    what: str,
    operands: Sequence[tuple[syntax.Expression, Scalar]],
) -> Unknown:
    """Report operands of different widths, and where they got them.

    Args:
        evaluator: knows the names of the place where they stand.
        span: that place.
        what: the operation.
        operands: two of them.
    """
    (left_node, left), (right_node, right) = operands
    notes = []
    help_ = f"{what} needs equal widths"
    for node, term in ((left_node, left), (right_node, right)):
        place = evaluator.place_of(node.text) if isinstance(node, syntax.Name) else None
        if place is not None and place.line != span.line:
            notes.append(defined_here(place, term.width))
    for term, other in ((left, right), (right, left)):
        suggestion = _resized(evaluator.graph, term, other.width)
        if suggestion:
            help_ += f"; try {suggestion}"
            break
    texts = [_shown(left_node), _shown(right_node)]
    return evaluator.report.error(
        "N0203",
        f"{texts[0]} has {left.width} features but {texts[1]} has {right.width}",
        span,
        notes=notes,
        help=help_,
    )


def _resized(graph: Graph, term: Scalar, width: int | None) -> str:
    """The `linear` behind a value, with another number of outputs."""
    value = graph.existing(term)
    while isinstance(value, model.Elementwise) and len(value.operands) == 1:
        value = value.operands[0]
    if not isinstance(value, model.Linear) or "\n" in value.span.text:
        return ""
    x = value.span.text.removeprefix("linear(").split(",")[0]
    return f"linear({x}, {width})" if x.isidentifier() else ""


def _shown(node: syntax.Expression) -> str:
    text = node.span.text
    return f"`{text}`" if len(text) <= 40 and "\n" not in text else "this"
