"""How many non-zeros each layer has.

Counts are exact: a density means the decimal number that is written, and ⌊p·D·K + ½⌋ is computed
with fractions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from nerva_dsl import syntax
from nerva_dsl.check.arguments import bind
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.constants import show
from nerva_dsl.check.report import suggest
from nerva_dsl.check.terms import UNKNOWN, Unknown
from nerva_dsl.record import Record
from nerva_dsl.source import Span


class Sparsity(Record):
    """`sparsity = kind(density)`."""

    kind: Literal["uniform", "erdos_renyi"]
    density: float
    span: Span


def check_density(evaluator: ConstantEvaluator, node: syntax.Expression) -> float | Unknown:
    """Check a density: a number in (0, 1]."""
    value = evaluator.number(node, "a density")
    if isinstance(value, Unknown):
        return UNKNOWN
    if not 0 < value <= 1:
        return evaluator.report.error(
            "N0209",
            f"a density is above 0 and at most 1, not {show(value)}",
            node.span,
            help=f"for {show(value)} % write {show(value / 100)}" if 1 < value <= 100 else "",
        )
    return float(value)


def check_sparsity(evaluator: ConstantEvaluator, node: syntax.Expression) -> Sparsity | Unknown:
    """Check what stands after `sparsity =`."""
    report = evaluator.report
    kinds = ("uniform", "erdos_renyi")
    text = node.span.text
    if not isinstance(node, syntax.Call):
        return report.error(
            "N0204",
            "`sparsity` is a way to spread a density over the layers",
            node.span,
            help=f"write `uniform({text})`, the same for every layer, or `erdos_renyi({text})`"
            if text.isprintable()
            else "",
        )
    name = node.name.text
    if name not in kinds:
        return report.error(
            "N0201",
            f"no sparsity is called `{name}`",
            node.name.span,
            help=suggest(name, kinds, "there are `uniform` and `erdos_renyi`"),
        )
    bound = bind(report, node, ("density",))
    if bound is None:
        return UNKNOWN
    density = check_density(evaluator, bound["density"])
    if isinstance(density, Unknown):
        return UNKNOWN
    return Sparsity("uniform" if name == "uniform" else "erdos_renyi", density, node.span)


def rounded(density: float | Fraction, inputs: int, outputs: int) -> int:
    """The number of non-zeros of one layer at a density: ⌊p·D·K + ½⌋."""
    exact = density if isinstance(density, Fraction) else Fraction(repr(density))
    return math.floor(exact * inputs * outputs + Fraction(1, 2))


def erdos_renyi(density: float, shapes: Sequence[tuple[int, int]]) -> list[Fraction]:
    """Spread an overall density: p = ε (D + K) / (D K), at most 1 in every layer.

    Args:
        density: of all layers together.
        shapes: (D, K) of each layer.

    Returns:
        The density of each layer. A layer that would be denser than dense is made dense and ε
        solved again for the others.
    """
    wanted = Fraction(repr(density)) * sum(d * k for d, k in shapes)
    spread = Counter(shapes)  # layers of one shape get the same
    result = dict.fromkeys(spread, Fraction(1))
    while spread:
        epsilon = wanted / sum(sum(shape) * count for shape, count in spread.items())
        densities = {shape: epsilon * sum(shape) / math.prod(shape) for shape in spread}
        clipped = [shape for shape in spread if densities[shape] > 1]
        if not clipped:
            result |= densities
            break
        for shape in clipped:
            wanted -= math.prod(shape) * spread.pop(shape)
    return [result[shape] for shape in shapes]


def least_overall(shapes: Sequence[tuple[int, int]]) -> float:
    """The least overall density, to two digits and rounded up, that leaves no layer empty."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        spread = erdos_renyi(middle, shapes) if middle else [Fraction(0)] * len(shapes)
        if all(rounded(p, d, k) for p, (d, k) in zip(spread, shapes, strict=True)):
            high = middle
        else:
            low = middle
    return rounded_up(high)


def least_own(inputs: int, outputs: int) -> float:
    """The least density of one layer, to two digits and rounded up, that leaves it not empty."""
    return min(1.0, rounded_up(0.5 / (inputs * outputs)))


def rounded_up(value: float) -> float:
    """A number rounded up to two significant digits."""
    digits = 1 - math.floor(math.log10(value))
    candidate = float(f"{value:.1e}")
    return candidate if candidate >= value else float(f"{candidate + 10.0**-digits:.1e}")
