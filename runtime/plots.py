"""A run as pictures: how it went, and which inputs the network has learned to read.

Needs matplotlib, of the extra `plot`; nothing else imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nerva_dsl.runtime.replacing import replacing

__all__ = ["draw_curves", "draw_inputs"]

FORMATS = ("png", "svg")
LOOK: Any = {"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "nervac"}
WIDTH, HEIGHT = 4.2, 3.2  # of a panel, in inches
FEW = 12  # as many points and lines as can be told apart


def draw_curves(folder: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write `curves.png` and `curves.svg`: loss, and accuracy and churn if there are any.

    Args:
        folder: of the run.
        title: above the panels.
        rows: see `Row`; at least one.

    Returns:
        The files.
    """
    panels: dict[str, Callable[[Axes], None]] = {
        "loss": lambda axes: _trained_and_tested(axes, rows, "loss")
    }
    if any(row["accuracy"] is not None or row["val_accuracy"] is not None for row in rows):
        panels["accuracy"] = lambda axes: _trained_and_tested(axes, rows, "accuracy")
    if any(row["churn"] for row in rows):
        panels["churn: fraction of the weights that moved"] = lambda axes: _churn(axes, rows)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(WIDTH * len(panels), HEIGHT), layout="constrained")
        figure.suptitle(title)
        all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, draw) in zip(all_axes, panels.items(), strict=True):
            draw(axes)
            axes.set(xlabel="epoch", title=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _save(figure, folder, "curves")


def draw_inputs(
    folder: Path, title: str, degrees: Mapping[str, NDArray[np.int64]], shape: tuple[int, ...]
) -> list[Path]:
    """Write `inputs.png` and `inputs.svg`: how many weights read each input feature.

    Args:
        folder: of the run.
        title: above the panels.
        degrees: int64 `[D]`, by the name of the weight; at least one.
        shape: of a sample: `(rows, columns)`, or with a first or last dimension of three colours,
            is drawn as an image, another as a line over the features.

    Returns:
        The files.
    """
    panels = {
        f"{weight}{colour}": plane
        for weight, degree in degrees.items()
        for colour, plane in _planes(degree.reshape(shape)).items()
    }
    columns = 3 if len(panels) > len(degrees) else min(len(panels), 3)
    lines = -(-len(panels) // columns)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(WIDTH * columns, HEIGHT * lines), layout="constrained")
        figure.suptitle(title)
        all_axes = figure.subplots(lines, columns, squeeze=False).flat
        for axes, (name, plane) in zip(all_axes, panels.items(), strict=False):
            axes.set(title=name)
            if plane.ndim == 2:
                _image(axes, plane)
            else:
                axes.step(range(len(plane)), plane, where="mid", linewidth=1)
                axes.set(xlabel="input feature", ylabel="weights that read it", ylim=(0, None))
        for axes in list(all_axes)[len(panels) :]:
            axes.set_visible(False)
        return _save(figure, folder, "inputs")


def _planes(degree: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Images, each with its colour if there are three, or the features in a row."""
    if degree.ndim == 2:
        return {"": degree}
    if degree.ndim == 3 and 3 in (degree.shape[0], degree.shape[2]):
        planes = degree if degree.shape[0] == 3 else np.moveaxis(degree, 2, 0)
        return dict(zip((", red", ", green", ", blue"), planes, strict=True))
    return {"": degree.reshape(-1)}


def _trained_and_tested(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    _line(axes, rows, [row[name] for row in rows], "training")
    _line(axes, rows, [row[f"val_{name}"] for row in rows], "test")
    axes.legend()


def _churn(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    weights = list(dict.fromkeys(weight for row in rows for weight in row["churn"] or ()))
    for weight in weights:
        _line(axes, rows, [(row["churn"] or {}).get(weight) for row in rows], weight)
    axes.set(ylim=(0, None))
    if len(weights) <= FEW:
        axes.legend()


def _line(
    axes: Axes, rows: Sequence[Mapping[str, Any]], values: Sequence[float | None], label: str
) -> None:
    """A line over the epochs, with gaps where there is no value."""
    if any(value is not None for value in values):
        numbers = [np.nan if value is None else value for value in values]
        marker = "." if len(rows) <= FEW else ""
        axes.plot([row["epoch"] for row in rows], numbers, marker=marker, label=label)


def _image(axes: Axes, plane: NDArray[np.int64]) -> None:
    picture = axes.imshow(plane, cmap="viridis", interpolation="nearest", vmin=0)
    axes.set(xticks=(), yticks=())
    axes.grid(visible=False)
    assert axes.figure is not None  # axes of `subplots` have one
    axes.figure.colorbar(picture, ax=axes, label="weights that read it")


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure in all formats; the same figure gives the same bytes."""
    files = []
    for form in FORMATS:
        file = folder / f"{name}.{form}"
        with replacing(file) as temporary:
            metadata = {"Date": None} if form == "svg" else None
            figure.savefig(temporary, format=form, dpi=150, metadata=metadata)
        files.append(file)
    return files
