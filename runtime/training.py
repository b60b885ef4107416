"""Training inside a run directory: metrics, checkpoints, and leaving at once on a signal.

    with Interrupts() as interrupts:
        outcome = train(model, data, run, epochs=30, observer=observer, interrupts=interrupts)

A run can be broken off at any batch and goes on to the same bits. What a process killed without
warning loses is at most what it trained since the last checkpoint, about a second.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from nerva_dsl.runtime.data import DataSet
from nerva_dsl.runtime.history import Callback, Row
from nerva_dsl.runtime.model import Model
from nerva_dsl.runtime.run_directory import RunDirectory

__all__ = ["Interrupted", "Interrupts", "Observer", "Outcome", "train"]

CHECKPOINT_INTERVAL = 1.0  # seconds
CHECKPOINT_SHARE = 0.05  # of the time, at most, where writing a checkpoint is slow
PATIENCE = 0.3  # seconds from a signal until whatever is going on is broken off

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupted(KeyboardInterrupt):
    """The user, or the system, wants the process to end.

    Attributes:
        signal: which signal said so.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal = signal_number


class Interrupts:
    """Turns SIGINT and SIGTERM into one `Interrupted`, raised where it does no harm.

    That is at the end of a `held` block, of which a training has many a second. Only if none ends
    for a while, as when a large test set is being evaluated, it is raised wherever the program is.
    Later signals do nothing, up to the end of the process: the model is being saved, and there is
    nothing else to stop. Outside the main thread, where Python has no signals, this class does
    nothing.
    """

    def __init__(self) -> None:
        self._before: dict[int, _Handler] = {}
        self._held = 0
        self._pending: int | None = None
        self._raised = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._lose_patience)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._pending is not None else handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that is never left in the middle; an interrupt is raised at its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self._raise_pending()

    def _request(self, number: int, _: FrameType | None) -> None:
        if self._pending is None:
            self._pending = number
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _lose_patience(self, _: int, __: FrameType | None) -> None:
        self._raise_pending()

    def _raise_pending(self) -> None:
        if self._pending is not None and not self._held and not self._raised:
            self._raised = True
            raise Interrupted(self._pending)


class Observer(Protocol):
    """Who is told how a training goes."""

    def progress(self, samples: int) -> None:
        """Many times: how many samples of the current epoch are done."""

    def epoch(self, row: Row) -> None:
        """After each epoch, when its row is complete and written."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        interrupted: the signal that ended it, or None: it has finished.
        metrics: `evaluate` on the test samples; empty if it was interrupted.
    """

    interrupted: int | None
    metrics: dict[str, Any]


def train(
    model: Model,
    data: DataSet,
    run: RunDirectory,
    *,
    epochs: int,
    observer: Observer,
    interrupts: Interrupts,
) -> Outcome:
    """Train until `epochs` are done in all, or until a signal comes; the run is saved either way.

    Args:
        model: new, or as the run's checkpoint has it.
        data: what to train and to test on.
        run: its metrics have no epoch that the model has not done.
        epochs: how many in all.
        observer: told about every epoch.
        interrupts: entered already.

    Raises:
        FloatingPointError: the loss is not finite; the model is saved as it was before that batch.
        OSError: the run cannot be written.
    """
    interrupted: int | None = None
    metrics: dict[str, Any] = {}
    try:
        model.fit(
            data.X_train,
            data.t_train,
            epochs=max(0, epochs - model.epoch),
            validation=(data.X_test, data.t_test),
            callbacks=(_Recorder(run, observer, interrupts),),
        )
        metrics = model.evaluate(data.X_test, data.t_test)
    except Interrupted as interrupt:
        interrupted = interrupt.signal
    finally:
        with interrupts.held():
            model.save(run.weights_file)
    return Outcome(interrupted, metrics)


class _Recorder(Callback):
    """Writes metrics and checkpoints as the epochs go by."""

    def __init__(self, run: RunDirectory, observer: Observer, interrupts: Interrupts) -> None:
        self._run = run
        self._observer = observer
        self._interrupts = interrupts
        self._next_checkpoint = time.monotonic() + CHECKPOINT_INTERVAL

    def on_progress(self, model: Model, samples: int, total: int) -> None:
        """Pass it on."""
        with self._interrupts.held():
            self._observer.progress(samples)

    def on_epoch(self, model: Model, row: Row) -> None:
        """Write the row, and save if it is time.

        In this order: on resuming, rows beyond the checkpoint are cut, and none is missing.
        """
        with self._interrupts.held():
            self._run.append_metrics(row)
            self._observer.epoch(row)
            self._save_if_due(model)

    def _save_if_due(self, model: Model) -> None:
        """Save, but not so often that it costs more than a small share of the time."""
        start = time.monotonic()
        if start < self._next_checkpoint:
            return
        model.save(self._run.weights_file)
        end = time.monotonic()
        self._next_checkpoint = end + max(CHECKPOINT_INTERVAL, (end - start) / CHECKPOINT_SHARE)
