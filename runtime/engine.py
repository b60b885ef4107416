"""The calls into a compiled model: one C object, one call at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.rewiring import GROWERS, PRUNERS
from nerva_dsl.runtime.forks import alone, forked
from nerva_dsl.runtime.parameters import Contents
from nerva_dsl.runtime.regrowing import Rewiring
from nerva_dsl.runtime.spec import ModelSpec, ParameterSpec
from nerva_dsl.runtime.worker import Work, run_interruptible

Array = NDArray[Any]

NON_FINITE_INPUT = 1
NON_FINITE_LOSS = 2
OUT_OF_MEMORY = 3
NON_FINITE_RATE = 4
BAD_AMOUNT = 5
EMPTY_LAYER = 6
NO_TOTALS = (0.0,) * 32


@dataclass(frozen=True)
class Job:
    """What a call is to work on; the fields of `nerva_job`.

    Attributes:
        x: samples, C-contiguous, of the type the C code reads.
        t: targets, or None.
        order: rows in the order of use, or None for 0, 1, 2, …
        first: position of the order to begin at.
        learning_rate: NaN for the file's schedule.
        epoch: epochs done, for the schedule.
        epochs: how many the training has, for the schedule.
        step: steps done.
        seed: of the masks of dropout.
        threads: 0 leaves it to OpenMP.
        begins_epoch: whether position 0 is where an epoch begins.
        regrows: how often patterns have changed.
        regrown: the steps done when they did for the last time, or -1.
        totals: sums over the samples before `first`.
    """

    x: Array
    t: Array | None = None
    order: NDArray[np.int64] | None = None
    first: int = 0
    learning_rate: float = float("nan")
    epoch: int = 0
    epochs: int = 1
    step: int = 0
    seed: int = 0
    threads: int = 0
    begins_epoch: bool = False
    regrows: int = 0
    regrown: int = -1
    totals: tuple[float, ...] = NO_TOTALS


@dataclass(frozen=True)
class Report:
    """What a call did; the fields of `nerva_report`.

    Attributes:
        samples: position of the order that was reached.
        step: steps done.
        error: 0, or one of the numbers above.
        row: of the input that is not finite.
        feature: of the input that is not finite.
        layer: where the loss is not finite, or -1.
        totals: sums over the samples done.
        regrows: how often patterns have changed.
        regrown: the steps done when they did for the last time, or -1.
    """

    samples: int
    step: int
    error: int
    row: int
    feature: int
    layer: int
    totals: tuple[float, ...]
    regrows: int
    regrown: int


class Engine:
    """A model's C object.

    Its methods are to be called inside `exclusive`.

    Attributes:
        revision: another number whenever a pattern may have changed.
        few: so many samples are predicted faster one by one than in a batch.
    """

    def __init__(self, spec: ModelSpec, extension: Any) -> None:
        self._spec = spec
        self._ffi = extension.ffi
        self._lib = extension.lib
        model = self._lib.nerva_create()
        if model == self._ffi.NULL:
            raise MemoryError(f"not enough memory for model {spec.name}")
        self._model = self._ffi.gc(model, self._lib.nerva_destroy)
        self._job = self._ffi.new("nerva_job *")
        self._report = self._ffi.new("nerva_report *")
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._work: Work | None = None  # the last call
        self.revision = 0
        self.few = int(self._lib.nerva_few())

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other threads out, and callbacks that run while the model is at work.

        Raises:
            RuntimeError: called from `on_progress`; or in a child of a process that was forked
                while the model was at work.
        """
        if self._process != os.getpid():
            self._enter_child()
        with self._lock:
            self._check_idle()
            yield

    def _check_idle(self) -> None:
        if self._work is not None and not self._work.over():
            raise RuntimeError("the model is at work: on_progress may not use it, on_epoch may")

    def _enter_child(self) -> None:
        """Make do without the threads of the parent process: none of them lives on in a child."""
        if self._work is not None and not self._work.over():
            raise RuntimeError(
                "the model was at work when this process was forked: it is in mid-batch here; "
                "save it before, and load it in the child"
            )
        self._lock = threading.RLock()
        self._process = os.getpid()

    def train(
        self,
        job: Job,
        commit: Callable[[Report], None],
        *,
        long: bool,
        progress: Callable[[int], None] | None = None,
    ) -> Report:
        """One update for each batch.

        Args:
            job: the samples.
            commit: called with the report before an interrupt can come between.
            long: run on a worker thread, to be interruptible between batches.
            progress: called with the number of samples done.
        """
        return self._call(self._lib.nerva_train, job, long=long, commit=commit, progress=progress)

    def evaluate(self, job: Job, *, long: bool) -> tuple[Report, NDArray[np.int64]]:
        """Totals in evaluation mode, and the counts of all confusion matrices."""
        counts = np.zeros(sum(classes**2 for _, classes in self._spec.confusions), np.int64)
        pointer = self._ffi.from_buffer("int64_t *", counts, require_writable=True)
        return self._call(self._lib.nerva_evaluate, job, pointer, long=long), counts

    def masks(self, job: Job) -> tuple[Report, dict[str, Array]]:
        """The dropout masks of the next step: `[samples, features]`, or one number a weight."""
        arrays = {
            name: np.zeros((len(job.x), features), self._spec.real)
            if features
            else np.zeros(self.nnz(self._spec.by_name[name]), self._spec.real)
            for name, features in self._spec.masks
        }
        buffers = [self._ffi.from_buffer("real *", array) for array in arrays.values()]
        pointers = self._ffi.new("real *[]", [*buffers, self._ffi.NULL])
        return self._call(self._lib.nerva_masks, job, pointers), arrays

    def predict(self, job: Job, output: Array, *, long: bool) -> Report:
        """Outputs in evaluation mode."""
        pointer = self._ffi.from_buffer("real *", output, require_writable=True)
        return self._call(self._lib.nerva_predict, job, pointer, long=long)

    def predict_few(self, x: Array, output: Array) -> Report | None:
        """Outputs in evaluation mode for at most `few` samples.

        Here microseconds count: it is called outside `exclusive`, and does what that does.

        Args:
            x: samples, as of a `Job`.
            output: takes the outputs.

        Returns:
            None if all went well.

        Raises:
            RuntimeError: as `exclusive` does.
        """
        if self._process != os.getpid():
            self._enter_child()
        from_buffer, report = self._ffi.from_buffer, self._report
        with self._lock:
            self._check_idle()
            error = self._lib.nerva_predict_few(
                self._model, from_buffer(x), len(x), report, from_buffer(output)
            )
            return self._read(report) if error else None

    def gradients(self, job: Job) -> tuple[Report, dict[str, Array]]:
        """Gradients of the mean loss by parameter; for `csr`, of the non-zeros in order."""
        ffi = self._ffi
        arrays = {
            parameter.name: np.zeros(parameter.nnz, self._spec.real)
            for parameter in self._spec.parameters
            if parameter.trained
        }
        pointers = ffi.new("real *[]", max(1, len(self._spec.parameters)))
        buffers = []  # keep the arrays' memory in place
        for parameter in self._spec.parameters:
            if parameter.name in arrays:
                buffers.append(ffi.from_buffer("real *", arrays[parameter.name]))
                pointers[parameter.index] = buffers[-1]
        report = self._call(self._lib.nerva_gradients, job, pointers)
        for parameter in self._spec.parameters:
            if parameter.sparse and parameter.name in arrays:
                arrays[parameter.name] = arrays[parameter.name][: self.nnz(parameter)]
        return report, arrays

    def regrow(self, job: Job, rewiring: Rewiring, commit: Callable[[Report], None]) -> Report:
        """Change the patterns; all or none."""
        how = self._ffi.new("nerva_rewiring *")
        how.prune, how.grow = PRUNERS.index(rewiring.prune), GROWERS.index(rewiring.grow)
        how.amount = rewiring.amount
        return self._call(self._lib.nerva_regrow, job, how, commit=commit)

    def dense_gradient(
        self, job: Job, parameter: ParameterSpec, first: int, last: int
    ) -> tuple[Report, Array]:
        """Rows `first` … `last - 1` of a growing weight's gradient, at all positions."""
        rows = np.zeros((last - first, parameter.shape[1]), self._spec.real)
        pointer = self._ffi.from_buffer("real *", rows, require_writable=True)
        extra = (parameter.index, first, last, pointer)
        return self._call(self._lib.nerva_dense_gradient, job, *extra), rows

    def settle(self, job: Job) -> Report:
        """Sample other positions for averages, after patterns were given from outside."""
        return self._call(self._lib.nerva_settle, job)

    def moved(self) -> dict[str, int]:
        """How many weights the C code has moved since the model was made, by weight."""
        growing = () if self._spec.regrow is None else self._spec.regrow.weights
        by_name, lib = self._spec.by_name, self._lib
        return {
            weight.name: int(lib.nerva_moved(self._model, by_name[weight.name].index))
            for weight in growing
        }

    def amount(self, epoch: int, epochs: int, step: int) -> float:
        """The file's fraction or threshold of weights that go."""
        return float(self._lib.nerva_amount(float(epoch), float(epochs), float(step)))

    def learning_rate(self, epoch: int, epochs: int, step: int) -> float:
        """The file's schedule."""
        return float(self._lib.nerva_learning_rate(float(epoch), float(epochs), float(step)))

    def nnz(self, parameter: ParameterSpec) -> int:
        """Current number of non-zeros, or of numbers where all are stored."""
        if not parameter.sparse:
            return parameter.nnz
        row_start = self._lib.nerva_row_start(self._model, parameter.index)
        return int(row_start[parameter.shape[0]])

    def pattern(self, parameter: ParameterSpec) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Row starts and columns of a sparse parameter, as they are now."""
        _, _, row_start, column = self._views(parameter)
        if row_start is None or column is None:
            raise TypeError(f"{parameter.name} is not sparse")
        return row_start, column[: self.nnz(parameter)].astype(np.int32)

    def contents(self, parameter: ParameterSpec) -> Contents:
        """A copy of everything stored of a parameter."""
        count = self.nnz(parameter)
        value, states, row_start, column = self._views(parameter)
        return Contents(
            value[:count].copy(),
            tuple(state[:count].copy() for state in states),
            None if row_start is None else row_start.copy(),
            None if column is None else column[:count].astype(np.int32),
        )

    def install(self, parameter: ParameterSpec, contents: Contents) -> None:
        """Write everything stored of a parameter, and derive all indices from its pattern.

        Creation, loading, `set_parameters` and whatever changes a pattern go through here.
        The contents must have been checked.

        Raises:
            MemoryError: MKL found none for what it keeps of a pattern.
        """
        count = len(contents.value)
        value, states, row_start, column = self._views(parameter)
        value[:count] = contents.value
        value[count:] = 0
        for state, new in zip(states, contents.states, strict=True):
            state[:count] = new
            state[count:] = 0
        if row_start is not None and column is not None:
            self.revision += 1
            row_start[:] = contents.row_start
            column[:count] = contents.column
            column[count:] = 0
        if self._lib.nerva_index(self._model, parameter.index):
            raise MemoryError(f"not enough memory for the index of {parameter.name}")

    def _views(
        self, parameter: ParameterSpec
    ) -> tuple[Array, list[Array], Array | None, Array | None]:
        """The C arrays themselves: value, states, row starts, columns."""
        lib, model, index = self._lib, self._model, parameter.index
        real, count = self._spec.real, parameter.nnz
        value = self._view(lib.nerva_value(model, index), count, real)
        states = [
            self._view(lib.nerva_state(model, index, state), count, real)
            for state in range(len(parameter.states))
        ]
        if not parameter.sparse:
            return value, states, None, None
        rows = parameter.shape[0]
        row_start = self._view(lib.nerva_row_start(model, index), rows + 1, np.dtype(np.int64))
        kind = np.dtype(np.uint16 if self._ffi.sizeof("Index") == 2 else np.int32)
        column = self._view(lib.nerva_column(model, index), count, kind)
        return value, states, row_start, column

    def _view(self, pointer: Any, count: int, dtype: np.dtype[Any]) -> Array:
        if count == 0:
            return np.empty(0, dtype)
        return np.frombuffer(self._ffi.buffer(pointer, count * dtype.itemsize), dtype)

    def _call(
        self,
        function: Callable[..., int],
        job: Job,
        *extra: object,
        long: bool = False,
        commit: Callable[[Report], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Report:
        """Fill the C structs, call, and read the report."""
        report = self._report
        buffers = self._fill(job)
        reports: list[Report] = []

        def call() -> None:
            try:
                function(self._model, self._job, report, *extra)
            finally:  # an interrupt comes as soon as the call returns
                buffers.clear()  # held until now, whatever becomes of the caller
                reports.append(self._read(report))
                self.revision += reports[0].regrows - job.regrows
                if commit is not None:
                    commit(reports[0])

        def stop() -> None:
            report.stop = 1

        def show() -> None:
            if progress is not None:
                progress(report.samples)

        self._work = work = Work(call)
        if long or forked():
            run_interruptible(work, stop, show)
        else:
            work.run()
            work.result()
        return reports[0]

    def _fill(self, job: Job) -> list[object]:
        """Write the C structs; what is returned keeps the arrays' memory in place."""
        ffi, into, report = self._ffi, self._job, self._report
        x = ffi.from_buffer(job.x)
        t = ffi.NULL if job.t is None else ffi.from_buffer(job.t)
        order = ffi.NULL if job.order is None else ffi.from_buffer("int64_t *", job.order)
        into.x, into.t, into.order = x, t, order
        into.samples, into.first = len(job.x), job.first
        into.learning_rate = job.learning_rate
        into.epoch, into.epochs, into.step = job.epoch, job.epochs, job.step
        into.seed = job.seed
        into.threads = 1 if alone() else job.threads
        if self._spec.regrow is not None:
            into.begins_epoch = job.begins_epoch
            into.regrows, into.regrown = job.regrows, job.regrown
            report.regrows, report.regrown = job.regrows, job.regrown
        report.samples, report.step = job.first, job.step
        report.stop = report.error = 0
        report.row = report.feature = report.layer = -1
        report.totals = job.totals
        return [x, t, order]

    def _read(self, report: Any) -> Report:
        regrows = self._spec.regrow is not None
        return Report(
            report.samples,
            report.step,
            report.error,
            report.row,
            report.feature,
            report.layer,
            tuple(report.totals),
            report.regrows if regrows else 0,
            report.regrown if regrows else -1,
        )
