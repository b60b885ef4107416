"""Constants that fit float64, as all constants do, but not the model's own precision.

Expressions are left alone: in `if x < 1e300 then …` an infinite 1e300 is as good in float32.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from nerva_dsl import model
from nerva_dsl.check.constants import show
from nerva_dsl.check.report import Report
from nerva_dsl.check.resolve import Resolved
from nerva_dsl.check.settings import Training
from nerva_dsl.model import Precision
from nerva_dsl.source import Span

# The largest and the smallest number of full precision.
_RANGES: dict[Precision, tuple[float, float]] = {
    "float32": ((2 - 2.0**-23) * 2.0**127, 2.0**-126),
    "float64": (sys.float_info.max, sys.float_info.min),
}
_FARTHEST = 10  # standard deviations from the mean that a normal number ever is: 64 bits give 8.5


def check_ranges(
    report: Report,
    training: Training,
    resolved: Resolved,
    rules: Iterable[model.Rule],
) -> None:
    """Report initial values, and constants of forms and settings, that do not fit.

    Args:
        report: gets the errors.
        training: has the precision.
        resolved: the values, and the initial weights of the layers.
        rules: the optimizers in use.
    """
    precision = training.precision
    largest, smallest = _RANGES[precision]

    def require(what: str, sound: bool, span: Span) -> None:
        if not sound:
            help_ = "" if precision == "float64" else "write `precision = float64` in `train`"
            report.error("N0301", f"{what}: out of the range of {precision}", span, help=help_)

    starts = {weights.initialiser for weights in resolved.weights.values()}
    beyond = {start for start in starts if not _reach(start) <= largest}
    if beyond:
        for linear, weights in resolved.weights.items():
            if weights.initialiser in beyond:
                require(_initial_weights(weights.initialiser), False, linear.span)
    for value in resolved.of(model.Normalize):
        for mean in dict.fromkeys(value.mean):
            require(f"the mean {show(mean)}", abs(mean) <= largest, value.span)
        for std in dict.fromkeys(value.std):
            require(f"the std {show(std)}", smallest <= std <= largest, value.span)
    for standardized in resolved.of(model.BatchNorm):
        text = f"the epsilon {show(standardized.epsilon)}"
        require(text, smallest <= standardized.epsilon <= largest, standardized.span)
    for learned in resolved.of(model.Learned):
        if not abs(learned.initial) <= largest:
            (name,) = resolved.parameters(learned)
            text = f"the initial value {show(learned.initial)} of `{name}`"
            require(text, False, learned.span)
    for rule in rules:
        for name, initial in rule.states:
            text = f"the initial value {show(initial)} of `{name}`"
            require(text, abs(initial) <= largest, rule.span)
    decay, norm = training.weight_decay, training.clip_norm
    if decay:
        place = training.places["weight_decay"]
        require(f"`weight_decay` {show(decay)}", decay <= largest, place)
    if norm is not None:
        place = training.places["clip_norm"]
        require(f"`clip_norm` {show(norm)}", smallest <= norm <= largest, place)


def _reach(start: model.Initialiser) -> float:
    """The largest absolute value that initial weights can have."""
    if start.distribution == "normal":
        return abs(start.first) + _FARTHEST * start.second
    return max(abs(start.first), abs(start.second), start.second - start.first)


def _initial_weights(start: model.Initialiser) -> str:
    first, second = show(start.first), show(start.second)
    if start.distribution == "normal":
        return f"mean {first} and std {second} of the initial weights"
    return f"initial weights from {first} to {second}"
