"""`nervac train --plot`: what is drawn of a run, and whether it can be."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerva_dsl import driver
from nerva_dsl.check.graph import operands, reachable
from nerva_dsl.errors import ToolchainError
from nerva_dsl.model import (
    BatchNorm,
    CheckedModel,
    Dropout,
    Elementwise,
    Input,
    Linear,
    Normalize,
    Slice,
    Value,
)
from nerva_dsl.runtime.model import Model
from nerva_dsl.runtime.run_directory import RunDirectory


def require_matplotlib() -> None:
    """Say what is missing before a training has begun.

    Raises:
        ToolchainError: there is no matplotlib.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ToolchainError("--plot needs matplotlib: pip install 'nervac[plot]'")


def draw_run(
    directory: RunDirectory, overrides: Mapping[str, str], model: Model, shape: tuple[int, ...]
) -> list[Path]:
    """Draw a run into its directory; returns the files.

    Args:
        directory: of the run, with its metrics.
        overrides: of the params of its model.
        model: as the run ended.
        shape: of a sample.
    """
    from nerva_dsl.runtime.plots import draw_curves, draw_inputs

    checked = driver.check(directory.model_file, overrides).model
    rows = directory.read_metrics()
    degrees = _degrees(checked, model)
    title = f"{checked.name} after {model.epoch} epochs"
    files = draw_curves(directory.path, title, rows) if rows else []
    if degrees:
        files += draw_inputs(directory.path, title, degrees, shape)
    return files


def _degrees(checked: CheckedModel, model: Model) -> dict[str, NDArray[np.int64]]:
    """How many non-zeros of each sparse weight that reads the input read each of its features."""
    parameters = model.parameters()
    degrees = {}
    for layer, first in weights_on_the_input(checked).items():
        weight = parameters[f"{layer}.weight"]
        if not isinstance(weight, np.ndarray):
            degree = np.zeros(checked.input.features, np.int64)
            degree[first : first + weight.shape[1]] = np.bincount(
                weight.indices, minlength=weight.shape[1]
            )
            degrees[f"{layer}.weight"] = degree
    return degrees


def weights_on_the_input(checked: CheckedModel) -> dict[str, int]:
    """The layers that read the input, feature by feature, each with the first that it reads.

    What is done to each feature by itself may stand between, such as a normalisation.
    """
    roots = [checked.output, checked.loss, *(metric.value for metric in checked.metrics)]
    read = {
        value.layer.name: _first_feature(value.x)
        for value in reachable(roots)
        if isinstance(value, Linear)
    }
    return {
        layer.name: first for layer in checked.layers if (first := read.get(layer.name)) is not None
    }


def _first_feature(value: Value) -> int | None:
    """The feature of the input that feature 0 of a value comes from; None if from no single one."""
    stack = [(value, 0)]
    while stack:
        value, first = stack.pop()
        match value:
            case Input():
                return first
            case Slice():
                stack.append((value.x, first + value.begin))
            case Normalize() | BatchNorm() | Dropout() | Elementwise():
                like = [operand for operand in operands(value) if operand.width == value.width]
                stack.extend((operand, first) for operand in like)
    return None
