"""What the C code reports as wrong, as exceptions that say where and what to do."""

from __future__ import annotations

import numpy as np

from nerva_dsl.errors import NervaError
from nerva_dsl.runtime.arguments import Samples
from nerva_dsl.runtime.engine import (
    BAD_AMOUNT,
    EMPTY_LAYER,
    NON_FINITE_INPUT,
    NON_FINITE_LOSS,
    NON_FINITE_RATE,
    OUT_OF_MEMORY,
    Report,
)
from nerva_dsl.runtime.regrowing import Rewiring
from nerva_dsl.runtime.spec import ModelSpec


class RegrowError(NervaError, ValueError):
    """Patterns cannot change as they are to; all are as they were."""


def check_report(
    spec: ModelSpec,
    report: Report,
    samples: Samples,
    training: tuple[int, float] | None = None,
    how: Rewiring | None = None,
) -> None:
    """Raise what a report says.

    Args:
        spec: the model.
        report: of the call.
        samples: that the call was given.
        training: epochs done and the learning rate, for a call that updates.
        how: patterns were to change, for a call that failed at that.

    Raises:
        ValueError: an input is not finite.
        FloatingPointError: the loss or the learning rate is not finite.
        MemoryError: a product found none.
        RegrowError: patterns cannot change as they are to.
    """
    if report.error == NON_FINITE_INPUT:
        raise ValueError(_input_message(spec, report, samples))
    if report.error == NON_FINITE_LOSS:
        raise FloatingPointError(_loss_message(spec, report, len(samples), training))
    if report.error == NON_FINITE_RATE:
        raise FloatingPointError(_rate_message(report, training))
    if report.error == OUT_OF_MEMORY:
        raise MemoryError(f"not enough memory for a product of model {spec.name}")
    if report.error in (BAD_AMOUNT, EMPTY_LAYER) and how is not None:
        raise RegrowError(_regrow_message(spec, report, training, how))
    if report.error:
        raise RuntimeError(f"model {spec.name} reports the unknown error {report.error}")


def _input_message(spec: ModelSpec, report: Report, samples: Samples) -> str:
    row, feature = report.row, report.feature
    value = samples.given[row, feature]
    if np.isfinite(value):
        return (
            f"X: expected finite numbers, got {value} in row {row}, feature {feature}, "
            f"which is out of the range of {spec.precision}"
        )
    return f"X: expected finite numbers, got {value} in row {row}, feature {feature}"


def _regrow_message(
    spec: ModelSpec, report: Report, training: tuple[int, float] | None, how: Rewiring
) -> str:
    place = "" if training is None else f" before step {report.step + 1}, epoch {training[0] + 1}"
    what = f"{how.prune}({how.amount:g})"
    if report.error == EMPTY_LAYER:
        return (
            f"regrow: {what}{place} would remove every weight of layer "
            f"{spec.layers[report.layer]}; nothing has changed"
        )
    range_ = "at least 0" if how.prune == "threshold" else "at least 0 and below 1"
    return f"regrow: {what}{place} is out of range: expected {range_}; nothing has changed"


def _loss_message(
    spec: ModelSpec, report: Report, count: int, training: tuple[int, float] | None
) -> str:
    batch = report.samples // spec.batch + 1
    batches = -(-count // spec.batch)
    layer = spec.layers[report.layer] if 0 <= report.layer < len(spec.layers) else None
    first = f"layer {layer} is the first whose output is not finite" if layer else "in the loss"
    if training is None:
        return f"the loss is not finite in batch {batch} of {batches}: {first}"
    epoch, rate = training
    return (
        f"the loss is not finite in epoch {epoch + 1}, batch {batch} of {batches}: {first}; "
        f"the model is as it was before this batch; try a learning rate below {rate:g}"
    )


def _rate_message(report: Report, training: tuple[int, float] | None) -> str:
    assert training is not None, "only an update has a learning rate"
    epoch, rate = training
    return (
        f"the learning rate is {rate:g} in epoch {epoch + 1}, step {report.step + 1}: look at the "
        "schedule (the first epoch is `epoch` 0); the model is as it was before this step"
    )
