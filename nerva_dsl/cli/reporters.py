"""How training is shown: a progress bar, plain lines, or JSON lines.

`nervac train` tells a reporter what happens; it neither knows nor cares who reads it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Column

    from nerva_dsl.runtime.history import Row


@dataclass(frozen=True)
class Start:
    """A training that begins or goes on.

    Attributes:
        model: its name.
        run: the run directory.
        data: its description.
        samples: how many an epoch has.
        test_samples: how many are tested on after each.
        epoch: how many are done.
        epochs: how many there will be in all.
        seed: of patterns, weights, shuffling and the held-out part.
        backend: family of kernels.
        target: instruction set.
        layers: `SPEC["layers"]`.
    """

    model: str
    run: str
    data: str
    samples: int
    test_samples: int
    epoch: int
    epochs: int
    seed: int
    backend: str
    target: str
    layers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class End:
    """A training that stops.

    Attributes:
        status: `finished` or `interrupted`.
        epoch: how many epochs are done.
        epochs: how many were planned.
        run: the run directory.
        loss: on the test samples; None if it was interrupted.
        accuracy: on them; None also for a model without classes.
        metrics: on them, the file's; those that are tables as lists of rows.
        plots: the files of the pictures, if they were asked for.
    """

    status: str
    epoch: int
    epochs: int
    run: str
    loss: float | None
    accuracy: float | None
    metrics: Mapping[str, Any]
    plots: Sequence[str] = ()


class Reporter(Protocol):
    """Who is told about a training."""

    def start(self, start: Start) -> None:
        """Once, before the first epoch."""

    def progress(self, samples: int) -> None:
        """Many times: how many samples of the current epoch are done."""

    def epoch(self, row: Row) -> None:
        """After each epoch."""

    def end(self, end: End) -> None:
        """Once, when it has finished or was interrupted."""

    def error(self, status: int, message: str) -> None:
        """Instead of the end; the message goes to standard error in any case."""

    def close(self) -> None:
        """Whatever happened: give the terminal back."""


def print_json(fields: Mapping[str, Any]) -> None:
    """Print an object on a line; JSON has no NaN and no infinity, which become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
    }
    print(json.dumps(finite, ensure_ascii=False, allow_nan=False), flush=True)


class JsonReporter:
    """One JSON object a line."""

    def start(self, start: Start) -> None:
        """The event `start`."""
        layers = [dict(layer) for layer in start.layers]
        print_json({"event": "start", **asdict(start), "layers": layers})

    def progress(self, samples: int) -> None:
        """Nothing: an epoch is the smallest event."""

    def epoch(self, row: Row) -> None:
        """The event `epoch`."""
        print_json({"event": "epoch", **row})

    def end(self, end: End) -> None:
        """The event `end`."""
        print_json({"event": "end", **asdict(end), "metrics": dict(end.metrics)})

    def error(self, status: int, message: str) -> None:
        """The event `error`."""
        print_json({"event": "error", "status": status, "message": message})

    def close(self) -> None:
        """Nothing to give back."""


class LineReporter:
    """Plain lines, for pipes and log files."""

    def start(self, start: Start) -> None:
        """What is trained, where, and on what."""
        self._start = start
        print(opening(start), flush=True)

    def progress(self, samples: int) -> None:
        """Nothing: an epoch is a line."""

    def epoch(self, row: Row) -> None:
        """One line an epoch."""
        print(f"epoch {row['epoch']}/{self._start.epochs}  {metrics(row)}", flush=True)

    def end(self, end: End) -> None:
        """A line a layer, and the result."""
        if end.status == "finished":
            for layer in self._start.layers:
                print(
                    f"layer {layer['name']}: {layer['outputs']} × {layer['inputs']}, "
                    f"density {layer['density']:.3g}, {layer['nnz']:,} non-zeros"
                )
        print(closing(end), flush=True)

    def error(self, status: int, message: str) -> None:
        """Nothing beside the message on standard error."""

    def close(self) -> None:
        """Nothing to give back."""


class TerminalReporter:
    """A progress bar, then a table of the layers, with rich."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def start(self, start: Start) -> None:
        """Draw the bar; it counts samples, so that one long epoch moves too."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._start = start
        self._done = start.epoch
        self._console.print(opening(start), soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}", table_column=_column(len(self._title()))),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(compact=True, table_column=_column(5)),
            console=self._console,
            expand=True,
            speed_estimate_period=10,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            self._title(),
            total=start.epochs * start.samples,
            completed=start.epoch * start.samples,
            metrics="",
        )

    def progress(self, samples: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done * self._start.samples + samples)

    def epoch(self, row: Row) -> None:
        """Move the bar and show the epoch's numbers."""
        self._done = row["epoch"]
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=self._title(),
                completed=self._done * self._start.samples,
                metrics=metrics(row),
            )

    def end(self, end: End) -> None:
        """The table and the result."""
        from nerva_dsl.cli.tables import layer_table

        self.close()
        if end.status == "finished":
            self._console.print(layer_table(self._start.layers))
        self._console.print(closing(end), soft_wrap=True)

    def error(self, status: int, message: str) -> None:
        """Nothing beside the message on standard error."""
        self.close()

    def close(self) -> None:
        """Stop drawing; the cursor comes back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _title(self) -> str:
        epochs = self._start.epochs
        return f"epoch {min(self._done + 1, epochs):{len(str(epochs))}}/{epochs}"


def _column(width: int) -> Column:
    """A column of the progress line that a narrow terminal does not make narrower."""
    from rich.table import Column

    return Column(min_width=width, no_wrap=True)


def choose_reporter(*, as_json: bool) -> Reporter:
    """The reporter for standard output as it is."""
    if as_json:
        return JsonReporter()
    if not sys.stdout.isatty():
        return LineReporter()
    from nerva_dsl.cli.tables import output_console

    return TerminalReporter(output_console())


def opening(start: Start) -> str:
    """What is trained, on what, and where it is kept."""
    nnz = sum(layer["nnz"] for layer in start.layers)
    weights = sum(layer["outputs"] * layer["inputs"] for layer in start.layers)
    density = f" at density {nnz / weights:.3g}" if nnz < weights else ""
    already = f", {start.epoch} of {start.epochs} epochs done" if start.epoch else ""
    return (
        f"{start.model}: {nnz:,} weights{density}, {start.backend} kernels\n"
        f"{start.data}\n"
        f"{start.run}{already}"
    )


def metrics(row: Row) -> str:
    """An epoch's numbers, those that the model has."""
    tested = ("test", row["val_accuracy"])
    if row["val_accuracy"] is None:
        tested = ("test loss", row["val_loss"])
    numbers = (("loss", row["loss"]), ("accuracy", row["accuracy"]), tested)
    parts = [f"{title} {value:.4f}" for title, value in numbers if value is not None]
    if row["moved"] is not None:
        parts.append(f"moved {row['moved']:,}")
    return "  ".join([*parts, f"{row['seconds']:.3g} s/epoch"])


def closing(end: End) -> str:
    """The last lines: how good it is and where it is, or how to go on; and what was drawn."""
    plots = f"drawn: {', '.join(end.plots)}\n" if end.plots else ""
    if end.status == "interrupted":
        return (
            f"{plots}interrupted in epoch {end.epoch + 1} of {end.epochs}; saved in {end.run}\n"
            f"go on with: nervac train --resume {end.run}"
        )
    result = f"loss {end.loss:.6g}" if end.accuracy is None else f"accuracy {end.accuracy:.4f}"
    others = [
        f", {name} {value:.4g}" for name, value in end.metrics.items() if isinstance(value, float)
    ]
    return f"{plots}test {result}{''.join(others)} after {end.epoch} epochs, in {end.run}"
