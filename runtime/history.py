"""What a training run reports: one row an epoch, and the callbacks that see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from nerva_dsl.runtime.model import Model


class Row(TypedDict):
    """One epoch.

    Attributes:
        epoch: how many epochs are done, this one included: 1 for the first.
        loss: mean over the samples of the losses before each update.
        lr: learning rate at the epoch's start.
        seconds: of training; of the part after an interruption for an epoch that was continued.
        accuracy: of the predictions before each update; None if the model has none.
        val_loss: mean loss on the validation data after the epoch; None without such data.
        val_accuracy: the same for the accuracy.
        moved: how many weights were removed and grown elsewhere during the epoch; None for a model
            whose patterns stay.
        churn: the fraction of its non-zeros that moved during the epoch, by weight; None for a
            model whose patterns stay. Above 1 if they moved several times.
        density: fraction of non-zeros, by weight of a linear layer.
        disconnected: of a sparse weight's outputs and inputs together, the fraction to or from
            which no non-zero leads, by weight; None for a model without sparse weights.
    """

    epoch: int
    loss: float
    lr: float
    seconds: float
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    moved: int | None
    churn: dict[str, float] | None
    density: dict[str, float]
    disconnected: dict[str, float] | None


class Callback:
    """Base of what may be passed to `fit` in `callbacks`; each method may be overridden.

    Any object with one of the methods will do, and so will a function, which is `on_epoch`.
    """

    def on_epoch(self, model: Model, row: Row) -> None:
        """Called after each epoch, when its row is complete; the model may be used and saved."""

    def on_progress(self, model: Model, samples: int, total: int) -> None:
        """Called about twenty times a second while an epoch runs.

        The model is busy: it may be asked for nothing but its attributes.

        Args:
            model: the model.
            samples: how many samples of the epoch are done.
            total: how many the epoch has.
        """


AnyCallback = Callback | Callable[["Model", Row], object]


class Callbacks:
    """Several callbacks of one model as one."""

    def __init__(self, model: Model, callbacks: object) -> None:
        if not isinstance(callbacks, Iterable):
            raise ValueError(
                f"callbacks: expected a list of them, got {type(callbacks).__name__}",
            )
        self._model = model
        self._on_epoch = []
        self._on_progress = []
        for callback in callbacks:
            on_epoch = getattr(callback, "on_epoch", None)
            on_progress = getattr(callback, "on_progress", None)
            if on_epoch is None and on_progress is None:
                if not callable(callback):
                    raise ValueError(
                        "callbacks: expected functions or objects with on_epoch or on_progress, "
                        f"got {type(callback).__name__}"
                    )
                on_epoch = callback
            if on_epoch is not None:
                self._on_epoch.append(on_epoch)
            if on_progress is not None:
                self._on_progress.append(on_progress)

    def epoch(self, row: Row) -> None:
        """An epoch is done."""
        for function in self._on_epoch:
            function(self._model, row)

    def progress(self, samples: int, total: int) -> None:
        """An epoch goes on."""
        for function in self._on_progress:
            function(self._model, samples, total)


@dataclass(repr=False)
class History:
    """The rows of a run as lists, one item an epoch; see `Row` for what each is."""

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    accuracy: list[float | None] = field(default_factory=list)
    val_loss: list[float | None] = field(default_factory=list)
    val_accuracy: list[float | None] = field(default_factory=list)
    moved: list[int | None] = field(default_factory=list)
    churn: list[dict[str, float] | None] = field(default_factory=list)
    density: list[dict[str, float]] = field(default_factory=list)
    disconnected: list[dict[str, float] | None] = field(default_factory=list)

    def append(self, row: Row) -> None:
        """Add an epoch."""
        self.epoch.append(row["epoch"])
        self.loss.append(row["loss"])
        self.lr.append(row["lr"])
        self.seconds.append(row["seconds"])
        self.accuracy.append(row["accuracy"])
        self.val_loss.append(row["val_loss"])
        self.val_accuracy.append(row["val_accuracy"])
        self.moved.append(row["moved"])
        self.churn.append(row["churn"])
        self.density.append(row["density"])
        self.disconnected.append(row["disconnected"])

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        """A table of the numbers; columns without a value are left out."""
        if not self.epoch:
            return "History: no epochs"
        formats = {"epoch": "d", "lr": ".6g", "seconds": ".3f", "moved": "d"}
        columns = []
        for name, values in vars(self).items():
            if all(value is None or isinstance(value, dict) for value in values):
                continue
            style = formats.get(name, ".4f")
            cells = ["" if value is None else format(value, style) for value in values]
            width = max(len(name), *map(len, cells))
            columns.append([cell.rjust(width) for cell in (name, *cells)])
        return "\n".join("  ".join(line) for line in zip(*columns, strict=True))
