"""The results as SVG plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.yardstick.report import headline, names, workload_of
from benchmarks.yardstick.workloads import REFERENCE, Workload

# One look for each contender in all plots; nervac in one hue.
_LOOKS = {
    "nervac native": ("#7fb3d5", "s"),
    "nervac mkl": ("#5499c7", "^"),
    "nervac auto": ("#1b4f72", "o"),
    "PyTorch dense": ("#e59866", "D"),
    "PyTorch masked": ("#ba4a00", "v"),
    "PyTorch CSR": ("#7d3c98", "P"),
    "ONNX Runtime dense": ("#1e8449", "X"),
    "ONNX Runtime dense (prediction)": ("#1e8449", "X"),
    "Python and NumPy only": ("#808b96", "_"),
}
_OTHER = ("#000000", ".")


def write_plots(results: Mapping[str, Any], directory: Path) -> dict[str, Path]:
    """Draw what was measured.

    Returns:
        The file of each plot: `step`, `ratio`, `predict`, `memory`.
    """
    figures: dict[str, Figure] = {}
    with mpl.rc_context({"svg.hashsalt": "yardstick", "font.size": 9, "axes.grid": True}):
        if "step" in results:
            step, workload = results["step"], workload_of(results)
            figures["step"] = _step(step["rows"], workload)
            figures["ratio"] = _ratio(step["rows"], workload)
        if "predict" in results:
            figures["predict"] = _predict(results["predict"]["rows"])
        if "memory" in results:
            figures["memory"] = _memory(results["memory"]["rows"])
        files = {}
        for name, figure in figures.items():
            files[name] = directory / f"{name}.svg"
            figure.savefig(files[name], metadata={"Date": None})
            plt.close(figure)
    return files


def _step(rows: Sequence[Mapping[str, Any]], workload: Workload) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    _lines(axes, rows, 1e3)
    reference = headline(rows)
    axes.plot(
        [row["density"] for row in rows],
        [row["roofs"][reference] * 1e3 for row in rows],
        color=_LOOKS.get(reference, _OTHER)[0],
        linestyle="--",
        label=f"roof of {reference}",
    )
    axes.set(
        xlabel="density",
        ylabel="milliseconds a step",
        title=f"{_title(workload)}, batch of {workload.batch}",
    )
    axes.legend()
    return figure


def _ratio(rows: Sequence[Mapping[str, Any]], workload: Workload) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    reference = headline(rows)
    for name in names(rows):
        found = [
            (row["density"], row["ratios"][name][reference])
            for row in rows
            if name in row["ratios"]
        ]
        if found:
            color, marker = _LOOKS.get(name, _OTHER)
            densities = [density for density, _ in found]
            axes.plot(
                densities,
                [ratio["median"] for _, ratio in found],
                color=color,
                marker=marker,
                label=name,
            )
            axes.fill_between(
                densities,
                [ratio["q1"] for _, ratio in found],
                [ratio["q3"] for _, ratio in found],
                color=color,
                alpha=0.2,
                linewidth=0,
            )
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="density",
        ylabel=f"times longer than {reference}",
        title=f"{_title(workload)}, ratio",
    )
    axes.legend()
    return figure


def _title(workload: Workload) -> str:
    return "Training step" + ("" if workload == REFERENCE else f" of {workload.name}")


def _predict(rows: Sequence[Mapping[str, Any]]) -> Figure:
    sizes = sorted({row["samples"] for row in rows})
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(9, 4), layout="constrained", squeeze=False
    )
    for axes, size in zip(panels[0], sizes, strict=True):
        _lines(axes, [row for row in rows if row["samples"] == size], 1e6)
        axes.set(
            xlabel="density",
            ylabel="microseconds a call",
            title="One sample" if size == 1 else f"{size} samples",
        )
    panels[0][0].legend()
    return figure


def _memory(rows: Sequence[Mapping[str, Any]]) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name in names(rows):
        found = [row for row in rows if name in row["contenders"]]
        color, marker = _LOOKS.get(name, _OTHER)
        axes.plot(
            [row["density"] for row in found],
            [row["contenders"][name]["peak"] for row in found],
            color=color,
            marker=marker,
            label=name,
        )
    axes.set(
        xscale="log",
        ylim=(0, None),
        xlabel="density",
        ylabel="MB",
        title="Peak memory of a fresh process",
    )
    axes.legend()
    return figure


def _lines(axes: Axes, rows: Sequence[Mapping[str, Any]], scale: float) -> None:
    """Median and quartiles of each contender against density, both logarithmic."""
    for name in names(rows):
        found = [
            (row["density"], row["contenders"][name]) for row in rows if name in row["contenders"]
        ]
        color, marker = _LOOKS.get(name, _OTHER)
        densities = [density for density, _ in found]
        axes.plot(
            densities,
            [summary["median"] * scale for _, summary in found],
            color=color,
            marker=marker,
            label=name,
        )
        axes.fill_between(
            densities,
            [summary["q1"] * scale for _, summary in found],
            [summary["q3"] * scale for _, summary in found],
            color=color,
            alpha=0.2,
            linewidth=0,
        )
    axes.set(xscale="log", yscale="log")
