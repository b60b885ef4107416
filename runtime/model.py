"""The base class of compiled models: what users call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerva_dsl.runtime import arguments, checkpoint
from nerva_dsl.runtime.arguments import Samples
from nerva_dsl.runtime.checkpoint import State
from nerva_dsl.runtime.engine import Engine
from nerva_dsl.runtime.failures import check_report
from nerva_dsl.runtime.given_patterns import Pattern
from nerva_dsl.runtime.history import AnyCallback, Callback, Callbacks, History, Row
from nerva_dsl.runtime.parameters import (
    as_user_sees,
    csr,
    initial_contents,
    known_parameter,
    replacements,
)
from nerva_dsl.runtime.regrowing import regrow_of, rewiring
from nerva_dsl.runtime.rules import Rule, apply_rule
from nerva_dsl.runtime.spec import ModelSpec, ParameterSpec
from nerva_dsl.runtime.trainer import Trainer

__all__ = ["Callback", "History", "Model", "Row"]


class Model:
    """A multilayer perceptron that trains, predicts, saves and loads.

    In what follows `n` is the number of samples, `D` of input features and `K` of output features.
    `X` is a `[n, D]` array of float32, float64 or uint8; if the model's input is uint8, floats must
    be integers in 0 … 255. `t` holds integer labels `[n]` in 0 … K - 1, or real numbers `[n, K]`,
    or is None for a model without a target. Views and lists are copied.

    Methods that take arrays raise ValueError for a wrong shape, type or label and for a value that
    is not finite; the message names the argument, what was expected and what came. Those that
    train raise FloatingPointError if the loss is not finite. Either leaves the model as it was
    before the batch in question.

    Ctrl-C ends training after the batch at work. The model stays valid, and remembers its position
    in the epoch, which `save` stores: the next `train_epoch` without `order`, or `fit`, with as
    many samples goes on from there, and ends with the same bits as without the interruption.
    With another number of samples, or after an error, the epoch begins anew.

    A model may be used from several threads: its calls wait for each other.

    Args:
        seed: of patterns, weights and the order of samples; None takes the file's. The same seed
            gives the same bits.
        threads: how many to compute with; None leaves it to OpenMP. Results do not depend on it.

    Raises:
        ValueError: the seed is not in 0 … 2^64 - 1, or threads is less than 1.
        MemoryError: the arrays do not fit in memory.
    """

    _spec: ClassVar[Mapping[str, Any]]
    _extension: ClassVar[Any]
    _description: ClassVar[ModelSpec]
    _patterns: ClassVar[Mapping[str, Pattern]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "_spec" in vars(cls):
            cls._description = ModelSpec.read(cls._spec)

    def __init__(self, seed: int | None = None, threads: int | None = None) -> None:
        if not hasattr(self, "_description"):
            raise TypeError("Model is the base class of compiled models: use a module's Model")
        spec = self._description
        self._allocate(spec.seed if seed is None else seed, threads)
        for parameter, contents in initial_contents(spec, self.seed, self._patterns, self.threads):
            self._engine.install(parameter, contents)
        self._settle()

    def _allocate(self, seed: int, threads: int | None) -> None:
        spec = self._description
        checked = arguments.seed(seed), arguments.threads(threads)
        self._engine = Engine(spec, self._extension)
        self._trainer = Trainer(spec, self._engine, *checked)

    def _settle(self) -> None:
        """Averages of gradients begin anew, at empty positions of the weights as they are now."""
        spec = self._description
        if spec.averages:
            samples = arguments.blank(spec, 1)
            check_report(spec, self._engine.settle(self._trainer.job(samples)), samples)

    @property
    def seed(self) -> int:
        """Of patterns, weights and the order of samples."""
        return self._trainer.seed

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self._trainer.epoch

    @property
    def step(self) -> int:
        """How many steps (batches) are done."""
        return self._trainer.step

    @property
    def threads(self) -> int | None:
        """How many threads to compute with; None leaves it to OpenMP. May be set."""
        return self._trainer.threads

    @threads.setter
    def threads(self, threads: int | None) -> None:
        self._trainer.threads = arguments.threads(threads)

    # Training

    def train_step(
        self, X: ArrayLike, t: ArrayLike | None = None, lr: float | None = None
    ) -> float:
        """One update from one batch.

        Args:
            X: `[n, D]`, n at most the model's batch.
            t: targets.
            lr: learning rate; None takes the file's schedule at the current epoch.

        Returns:
            The mean loss of the batch before the update.
        """
        samples = arguments.batch(self._description, X, t)
        arguments.trainable(self._description, len(samples))
        rate = arguments.learning_rate(self._description, lr)
        with self._engine.exclusive():
            return self._trainer.run_step(samples, rate)

    def train_epoch(
        self,
        X: ArrayLike,
        t: ArrayLike | None = None,
        lr: float | None = None,
        order: ArrayLike | None = None,
    ) -> float:
        """One update for each batch of an epoch, in one call of C code.

        Args:
            X: `[n, D]`.
            t: targets.
            lr: learning rate; None takes the file's schedule.
            order: permutation of 0 … n - 1 in which to use the samples; None is the model's own,
                shuffled as a function of seed and epoch unless the file says `shuffle = false`.
                An interrupted epoch with an `order` of yours is not continued.

        Returns:
            The mean over the samples of the losses before each update.
        """
        samples = arguments.samples(self._description, X, t)
        arguments.trainable(self._description, len(samples))
        rate = arguments.learning_rate(self._description, lr)
        own = None if order is None else arguments.order(order, len(samples))
        with self._engine.exclusive():
            means = self._trainer.run_epoch(samples, rate, own)
            self._trainer.finish_epoch()
        return means["loss"]

    def fit(
        self,
        X: ArrayLike,
        t: ArrayLike | None = None,
        epochs: int | None = None,
        validation: tuple[ArrayLike, ArrayLike | None] | None = None,
        callbacks: Iterable[AnyCallback] = (),
    ) -> History:
        """Train for several epochs.

        Args:
            X: `[n, D]`.
            t: targets.
            epochs: how many more; None: the file's number less those done. For schedules, the
                training has the file's number of epochs, or more if this goes beyond it.
            validation: `(X, t)` to evaluate after each epoch.
            callbacks: objects like `Callback`, or functions of the model and an epoch's row.

        Returns:
            One row an epoch; see `Row` in `runtime/history.py`.
        """
        spec = self._description
        samples = arguments.samples(spec, X, t)
        arguments.trainable(spec, len(samples))
        held_out = None if validation is None else self._validation(validation)
        observers = Callbacks(self, callbacks)
        trainer = self._trainer
        if epochs is None:
            last = spec.epochs
        else:
            last = trainer.epoch + arguments.epochs(epochs, trainer.epoch)
        trainer.epochs = max(spec.epochs, last)
        history = History()
        while trainer.epoch < last:
            with self._engine.exclusive():
                row = trainer.fit_epoch(samples, held_out, observers)
                history.append(row)
                trainer.finish_epoch()
                observers.epoch(row)
        return history

    # Evaluation

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The `output` value for each sample.

        Args:
            X: `[n, D]`, any n.

        Returns:
            `[n, K]` in the model's precision.
        """
        spec = self._description
        samples = arguments.inputs(spec, X)
        output = np.empty((len(samples.x), spec.outputs), spec.real)
        if len(samples.x) <= self._engine.few:
            failed = self._engine.predict_few(samples.x, output)
            if failed is not None:
                check_report(spec, failed, samples)
            return output
        with self._engine.exclusive():
            long = len(samples) > spec.batch
            report = self._engine.predict(self._trainer.job(samples), output, long=long)
        check_report(spec, report, samples)
        return output

    def evaluate(self, X: ArrayLike, t: ArrayLike | None = None) -> dict[str, Any]:
        """Means over the samples, without an update.

        Args:
            X: `[n, D]`, any n.
            t: targets.

        Returns:
            `loss`; `accuracy` for a model that classifies: the fraction of samples whose largest
            output (the first of equal ones) is that of their label; and the file's metrics. A
            confusion matrix is an int64 array `[K, K]`: how many samples of each label (row) were
            taken for each class (column).
        """
        samples = arguments.samples(self._description, X, t)
        with self._engine.exclusive():
            return self._trainer.evaluate(samples, long=len(samples) > self._description.batch)

    def loss(self, X: ArrayLike, t: ArrayLike | None = None) -> float:
        """The mean loss, without an update.

        Args:
            X: `[n, D]`, any n.
            t: targets.
        """
        return float(self.evaluate(X, t)["loss"])

    def gradients(self, X: ArrayLike, t: ArrayLike | None = None) -> dict[str, Any]:
        """Gradients of the mean loss of one batch, as the next step would see it; no update.

        Args:
            X: `[n, D]`, n at most the model's batch.
            t: targets.

        Returns:
            By name, for each trained parameter, as `parameters` returns them.
        """
        samples = arguments.batch(self._description, X, t)
        arguments.trainable(self._description, len(samples))
        with self._engine.exclusive():
            report, arrays = self._engine.gradients(self._trainer.job(samples))
            check_report(self._description, report, samples)
            return {
                name: self._like(self._description.by_name[name], array)
                for name, array in arrays.items()
            }

    def _like(self, parameter: ParameterSpec, numbers: NDArray[Any]) -> Any:
        """Numbers in the order of a parameter's own, as `parameters` returns those."""
        if not parameter.sparse:
            return numbers.reshape(parameter.shape)
        contents = self._engine.contents(parameter)
        return csr(parameter, contents.row_start, contents.column, numbers)

    def masks(self, count: int) -> dict[str, Any]:
        """The dropout masks that the next step on a batch of `count` samples uses.

        They are a function of seed, step and position only.

        Args:
            count: at most the model's batch.

        Returns:
            0 where a number is dropped and 1 / (1 - rate) where it is kept: `[count, features]` by
            the name of a value with `dropout`; like the weight, by its name, for `drop_connect`.
            Empty for a model that drops nothing.
        """
        spec = self._description
        samples = arguments.blank(spec, arguments.integer("count", count, 1, spec.batch))
        with self._engine.exclusive():
            report, arrays = self._engine.masks(self._trainer.job(samples))
            check_report(spec, report, samples)
            for name, array in arrays.items():
                if array.ndim == 1:
                    arrays[name] = self._like(spec.by_name[name], array)
        return arrays

    # Parameters

    def parameters(self) -> dict[str, Any]:
        """Copies of all parameters by name, in the model's precision.

        Returns:
            A `scipy.sparse.csr_array` `[outputs, inputs]` for a sparse weight, explicit zeros
            included; an array for all others.
        """
        with self._engine.exclusive():
            return {
                parameter.name: as_user_sees(parameter, self._engine.contents(parameter))
                for parameter in self._description.parameters
            }

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Replace parameters; all are checked before any is changed.

        The stored positions of a sparse array become the weight's pattern, explicit zeros included.
        Optimizer state stays where a position stays and has its initial value elsewhere.

        Args:
            parameters: new values by name; a part of what `parameters` returns is enough.

        Raises:
            ValueError: an unknown name, a wrong shape, more non-zeros than are allocated, a
                position stored twice, an array that should be sparse, or a value that is not
                finite.
        """
        spec = self._description
        with self._engine.exclusive():
            names = parameters if isinstance(parameters, Mapping) else ()
            named = [known_parameter(spec, name) for name in names]
            current = {each.name: self._engine.contents(each) for each in named}
            for name, contents in replacements(spec, parameters, current).items():
                self._engine.install(spec.by_name[name], contents)

    def regrow(
        self,
        prune: str | None = None,
        grow: str | None = None,
        *,
        rule: Rule | None = None,
        X: ArrayLike | None = None,
        t: ArrayLike | None = None,
    ) -> dict[str, int]:
        """Change the patterns now, between two steps; those of all weights or, on an error, none.

        For a model whose file has a block `regrow`, beside what that does by itself.

        Args:
            prune: as in a file, such as `"magnitude(0.3)"`; None: the file's.
            grow: as in a file, such as `"random()"`; None: the file's.
            rule: instead of both, a function that is called once for each weight that may change,
                with its name, a copy of it as `csr_array`, and a function `gradient(first=0,
                last=None)`: rows `first` … `last - 1` of the loss's gradient by all its positions,
                also the empty ones, for the batch X. It returns a pattern with as many non-zeros: a
                `csr_array`, whose values do not matter, or a pair of row starts and columns. Where
                a position stays, so do weight and optimizer state; elsewhere they are new.
            X: `[n, D]`, n at most the model's batch, where a gradient is needed.
            t: targets.

        Returns:
            How many weights moved, by weight.

        Raises:
            ValueError: the model does not regrow, a choice is out of range, or a rule returns no
                pattern with as many non-zeros.
            RegrowError: a weight would lose all its non-zeros.
        """
        spec = self._description
        regrow_of(spec)
        if rule is not None and (prune is not None or grow is not None):
            raise ValueError("rule: expected a rule or prune and grow, got both")
        samples = None if X is None else arguments.batch(spec, X, t)
        if samples is not None:
            arguments.trainable(spec, len(samples))
        with self._engine.exclusive():
            if rule is not None:
                moved = apply_rule(spec, self._engine, self._trainer, rule, samples)
                if any(moved.values()):
                    self._settle()
                return moved
            how = rewiring(spec, prune, grow, self._trainer.amount)
            if samples is None:
                if how.grow == "gradient":
                    raise ValueError("X: expected a batch, for gradient() grows by its gradient")
                samples = arguments.blank(spec, 1)
            return self._trainer.rewire(samples, how)

    @property
    def nnz(self) -> dict[str, int]:
        """Number of non-zeros of each weight by name, and of all in `total`."""
        with self._engine.exclusive():
            counts = {each.name: self._engine.nnz(each) for each in self._description.weights}
        return {**counts, "total": sum(counts.values())}

    @property
    def density(self) -> dict[str, float]:
        """Fraction of non-zeros of each weight by name, and of all in `total`."""
        sizes = {each.name: each.size for each in self._description.weights}
        sizes["total"] = sum(sizes.values())
        return {name: count / max(1, sizes[name]) for name, count in self.nnz.items()}

    # Checkpoints

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save everything that training depends on: it goes on from the file bit for bit.

        Args:
            path: the file, `.npz` by custom; nothing is appended to it. An existing one is
                replaced at once, or not at all.

        Raises:
            OSError: the directory is missing or cannot be written.
        """
        with self._engine.exclusive():
            trainer = self._trainer
            state = State(
                seed=trainer.seed,
                epoch=trainer.epoch,
                epochs=trainer.epochs,
                step=trainer.step,
                position=trainer.position,
                parameters={
                    parameter.name: self._engine.contents(parameter)
                    for parameter in self._description.parameters
                },
                regrowth=trainer.regrowth,
            )
        checkpoint.save(path, self._description, state)

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int | None = None) -> Self:
        """The model that `save` saved. Nothing in the file is executed.

        Args:
            path: the file.
            threads: how many to compute with; None leaves it to OpenMP.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a checkpoint, is damaged, or is of another model.
        """
        state = checkpoint.load(path, cls._description)
        model = cls.__new__(cls)
        model._allocate(state.seed, threads)
        trainer = model._trainer
        trainer.epoch, trainer.epochs, trainer.step = state.epoch, state.epochs, state.step
        trainer.position, trainer.regrowth = state.position, state.regrowth
        for parameter in cls._description.parameters:
            model._engine.install(parameter, state.parameters[parameter.name])
        return model

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a model cannot be pickled or copied: use save and load")

    def __repr__(self) -> str:
        spec = self._description
        lines = [
            f"{spec.name}.Model: {spec.features} → {spec.outputs}, {spec.precision}, "
            f"seed {self.seed}, epoch {self.epoch}, step {self.step}"
        ]
        nnz, density = self.nnz, self.density
        for parameter in spec.weights:
            rows, columns = parameter.shape
            lines.append(
                f"  {parameter.name} [{rows}, {columns}] {parameter.format}: "
                f"{nnz[parameter.name]} non-zeros, density {density[parameter.name]:.4g}"
            )
        return "\n".join(lines)

    def _validation(self, validation: object) -> Samples:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise ValueError(f"validation: expected (X, t), got {type(validation).__name__}")
        try:
            return arguments.samples(self._description, *validation)
        except ValueError as error:
            raise ValueError(f"validation: {error}") from None
