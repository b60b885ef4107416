"""Nobody is timed who does not compute the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.yardstick.workloads import Precision

# Sums in another order; in float64 so narrow that single precision anywhere would show.
TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "float64": 1e-10}
LEAST_MOVE = 5e-4  # of the largest loss
STEPS = 3  # the losses of the second and third see the update and the momentum


class DisagreementError(Exception):
    """A contender computes something else than the reference."""


def check_losses(
    name: str, losses: Sequence[float], reference: Sequence[float], precision: Precision
) -> None:
    """Compare the losses before each of a few updates on the same batches.

    Raises:
        DisagreementError: they differ, or moved so little that equality would show nothing.
    """
    expected = np.asarray(reference)
    moved, largest = np.abs(np.diff(expected)).min(), np.abs(expected).max()
    limit = TOLERANCES[precision] * largest
    if not moved > LEAST_MOVE * largest:
        raise DisagreementError(f"the reference's loss hardly moves: {_list(reference)}")
    if len(losses) != len(reference) or not np.all(np.abs(np.asarray(losses) - expected) <= limit):
        raise DisagreementError(
            f"{name}: losses {_list(losses)}, the reference's are {_list(reference)}"
        )


def check_outputs(name: str, outputs: NDArray[Any], reference: NDArray[Any]) -> None:
    """Compare predictions of the same samples.

    Raises:
        DisagreementError: they differ.
    """
    if outputs.shape != reference.shape:
        raise DisagreementError(f"{name}: shape {outputs.shape}, expected {reference.shape}")
    worst = float(np.abs(outputs - reference).max() / np.abs(reference).max())
    if not worst <= TOLERANCES["float32"]:
        raise DisagreementError(f"{name}: outputs differ by {worst:.1e} of the largest")


def _list(losses: Sequence[float]) -> str:
    return ", ".join(f"{loss:.6f}" for loss in losses)
