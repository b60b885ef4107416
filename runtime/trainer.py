"""Steps and epochs: where a model is in its training, and how it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.runtime.arguments import Samples
from nerva_dsl.runtime.checkpoint import Position, Regrowth
from nerva_dsl.runtime.connectivity import Connectivity, connectivity
from nerva_dsl.runtime.engine import BAD_AMOUNT, EMPTY_LAYER, NO_TOTALS, Engine, Job, Report
from nerva_dsl.runtime.failures import check_report
from nerva_dsl.runtime.history import Callbacks, Row
from nerva_dsl.runtime.philox import Purpose, Stream
from nerva_dsl.runtime.regrowing import Rewiring, regrow_of
from nerva_dsl.runtime.spec import ModelSpec

SCHEDULE = math.nan  # stands for the file's learning rate in a job


class Trainer:
    """A model's place in its training.

    What an interrupt may come after is written in one go: `step` and `position` by the thread that
    made the call, before the interrupted one goes on; `epoch` together with `position`.

    Attributes:
        seed: of the order of samples.
        threads: how many to compute with; None leaves it to OpenMP.
        epoch: epochs done.
        epochs: how many the training under way has, for schedules.
        step: steps done.
        position: in an epoch that was begun and is not done, or None.
        regrowth: how often and when patterns have changed.
    """

    def __init__(self, spec: ModelSpec, engine: Engine, seed: int, threads: int | None) -> None:
        self._spec = spec
        self._engine = engine
        self.seed = seed
        self.threads = threads
        self.epoch = 0
        self.epochs = spec.epochs
        self.step = 0
        self.position: Position | None = None
        self.regrowth = Regrowth()
        self._moved = engine.moved()  # as of the last look
        self._connected: tuple[int, Connectivity] | None = None  # at a revision of the engine

    def job(
        self,
        samples: Samples,
        *,
        order: NDArray[np.int64] | None = None,
        first: int = 0,
        totals: tuple[float, ...] = NO_TOTALS,
        rate: float = SCHEDULE,
        begins_epoch: bool = False,
    ) -> Job:
        """A call on samples at this place of the training."""
        return Job(
            x=samples.x,
            t=samples.t,
            order=order,
            first=first,
            learning_rate=rate,
            epoch=self.epoch,
            epochs=self._horizon,
            step=self.step,
            seed=self.seed,
            threads=self.threads or 0,
            begins_epoch=begins_epoch,
            regrows=self.regrowth.regrows,
            regrown=self.regrowth.regrown,
            totals=totals,
        )

    def run_step(self, samples: Samples, rate: float) -> float:
        """One update from one batch; the mean loss before it."""
        report = self._engine.train(self.job(samples, rate=rate), self._commit, long=False)
        self._check(report, samples, rate)
        return report.totals[0] / len(samples)

    def run_epoch(
        self,
        samples: Samples,
        rate: float,
        order: NDArray[np.int64] | None = None,
        observers: Callbacks | None = None,
    ) -> dict[str, float]:
        """Train to the end of an epoch, from where it was interrupted; means over its samples.

        The epoch is not done before `finish_epoch`: interrupted in between, it goes on from its
        end.
        """
        count = len(samples)
        resumed = self._resumable(count) if order is None else None
        self.position = resumed
        if resumed is not None and resumed.samples == count:
            return self.means(self._spec.step_totals, resumed.totals, count)
        own_order = order is None
        if own_order and self._spec.shuffle:
            order = Stream(self.seed, Purpose.SHUFFLE, round=self.epoch).permutation(count)

        def commit(report: Report) -> None:
            self._commit(report)
            if own_order and not report.error:
                self.position = Position(report.samples, count, self._spec.batch, report.totals)

        def progress(done: int) -> None:
            if observers is not None:
                observers.progress(done, count)

        first, totals = (0, NO_TOTALS) if resumed is None else (resumed.samples, resumed.totals)
        job = self.job(
            samples, order=order, first=first, totals=totals, rate=rate, begins_epoch=True
        )
        report = self._engine.train(job, commit, long=True, progress=progress)
        if report.error:
            self.position = None
        self._check(report, samples, rate)
        return self.means(self._spec.step_totals, report.totals, count)

    def fit_epoch(self, samples: Samples, held_out: Samples | None, observers: Callbacks) -> Row:
        """Train one epoch and make its row; `finish_epoch` is left to do."""
        rate = self._scheduled_rate()
        begin = time.perf_counter()
        means = self.run_epoch(samples, SCHEDULE, None, observers)
        seconds = time.perf_counter() - begin
        tested: Mapping[str, Any] = {}
        if held_out is not None:
            try:
                tested = self.evaluate(held_out, long=True)
            except ValueError as error:
                raise ValueError(f"validation: {error}") from None
        connected, regrowth = self._connectivity(), self.regrowth
        regrows = self._spec.regrow is not None
        return Row(
            epoch=self.epoch + 1,
            loss=means["loss"],
            lr=rate,
            seconds=seconds,
            accuracy=means.get("accuracy"),
            val_loss=tested.get("loss"),
            val_accuracy=tested.get("accuracy"),
            moved=sum(regrowth.moved.values()) if regrows else None,
            churn=self._churn() if regrows else None,
            density=connected.density,
            disconnected=connected.disconnected,
        )

    def finish_epoch(self) -> None:
        """Count the epoch as done."""
        self.position, self.epoch = None, self.epoch + 1
        self.regrowth = replace(self.regrowth, moved={})

    def evaluate(self, samples: Samples, *, long: bool) -> dict[str, Any]:
        """Means over samples in evaluation mode, and confusion matrices."""
        report, counts = self._engine.evaluate(self.job(samples), long=long)
        check_report(self._spec, report, samples)
        result: dict[str, Any] = self.means(self._spec.totals, report.totals, len(samples))
        first = 0
        for name, classes in self._spec.confusions:
            result[name] = counts[first : first + classes**2].reshape(classes, classes)
            first += classes**2
        return result

    def rewire(self, samples: Samples, how: Rewiring) -> dict[str, int]:
        """Change the patterns now; how many weights moved, by weight."""
        before = dict(self.regrowth.moved)
        report = self._engine.regrow(self.job(samples), how, self._commit)
        check_report(self._spec, report, samples, how=how)
        after = self.regrowth.moved
        return {name: after.get(name, 0) - before.get(name, 0) for name in self._moved}

    def amount(self) -> float:
        """The file's fraction or threshold of weights that go, for the next step."""
        return self._engine.amount(self.epoch, self._horizon, self.step + 1)

    def rewired(self, moved: Mapping[str, int]) -> None:
        """Patterns were given from outside."""
        self._count(moved)
        self.regrowth = replace(self.regrowth, regrows=self.regrowth.regrows + 1)

    def _commit(self, report: Report) -> None:
        """What a call has done, before an interrupt can come between."""
        self.step = report.step
        if report.regrows == self.regrowth.regrows:
            return
        now = self._engine.moved()
        self._count({name: number - self._moved[name] for name, number in now.items()})
        self._moved = now
        self.regrowth = replace(self.regrowth, regrows=report.regrows, regrown=report.regrown)

    def _count(self, moved: Mapping[str, int]) -> None:
        """Add to the weights that have moved in this epoch."""
        total = {name: self.regrowth.moved.get(name, 0) + n for name, n in moved.items()}
        self.regrowth = replace(self.regrowth, moved=total)

    def _churn(self) -> dict[str, float]:
        """The fraction of each weight's non-zeros that have moved in this epoch."""
        nnz = {name: self._engine.nnz(self._spec.by_name[name]) for name in self._moved}
        return {name: self.regrowth.moved.get(name, 0) / max(1, n) for name, n in nnz.items()}

    def _connectivity(self) -> Connectivity:
        """Of the patterns as they are; looked at only when they may have changed."""
        revision = self._engine.revision
        if self._connected is None or self._connected[0] != revision:
            self._connected = revision, connectivity(self._spec, self._engine)
        return self._connected[1]

    @staticmethod
    def means(names: Iterable[str], totals: tuple[float, ...], count: int) -> dict[str, float]:
        """Totals as means by name."""
        return {name: total / count for name, total in zip(names, totals, strict=False)}

    @property
    def _horizon(self) -> int:
        return max(self.epochs, self.epoch + 1)

    def _scheduled_rate(self) -> float:
        """The file's learning rate for the next step."""
        return self._engine.learning_rate(self.epoch, self._horizon, self.step + 1)

    def _resumable(self, count: int) -> Position | None:
        """The position to go on from, if the epoch that was begun is over as many samples."""
        position = self.position
        if position is None or position.total != count:
            return None
        # With another batch the rest would be cut into other batches than without interruption.
        return position if position.batch == self._spec.batch else None

    def _check(self, report: Report, samples: Samples, rate: float) -> None:
        if report.error:
            used = self._scheduled_rate() if math.isnan(rate) else rate
            how = None
            if report.error in (BAD_AMOUNT, EMPTY_LAYER):
                regrow = regrow_of(self._spec)
                amount = self._engine.amount(self.epoch, self._horizon, report.step + 1)
                how = Rewiring(regrow.prune, amount, regrow.grow)
            check_report(self._spec, report, samples, (self.epoch, used), how)
