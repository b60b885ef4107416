"""What a pattern connects: densities, and the features that no weight leads to or from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.runtime.engine import Engine
from nerva_dsl.runtime.spec import ModelSpec


@dataclass(frozen=True)
class Connectivity:
    """The patterns of a model at one time.

    Attributes:
        density: fraction of non-zeros, by weight of a linear layer.
        disconnected: of a sparse weight's outputs and inputs together, the fraction without any
            non-zero, by weight; None for a model without sparse weights.
    """

    density: dict[str, float]
    disconnected: dict[str, float] | None


def connectivity(spec: ModelSpec, engine: Engine) -> Connectivity:
    """Look at a model's patterns; in time proportional to the non-zeros, rows and columns."""
    density, disconnected = {}, {}
    for parameter in spec.weights:
        density[parameter.name] = engine.nnz(parameter) / max(1, parameter.size)
        if parameter.sparse:
            row_start, column = engine.pattern(parameter)
            disconnected[parameter.name] = _disconnected(row_start, column, parameter.shape[1])
    return Connectivity(density, disconnected or None)


def _disconnected(row_start: NDArray[np.int64], column: NDArray[np.int32], columns: int) -> float:
    without_inputs = np.count_nonzero(row_start[1:] == row_start[:-1])
    without_outputs = columns - np.count_nonzero(np.bincount(column, minlength=columns))
    return float(without_inputs + without_outputs) / (len(row_start) - 1 + columns)
