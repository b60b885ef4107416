"""PyTorch: the fastest of its forms, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.yardstick import forms_csr, forms_dense
from benchmarks.yardstick.agreement import check_losses, check_outputs
from benchmarks.yardstick.measure import Plan, Task, calls, interleave
from benchmarks.yardstick.torch_setup import Trainer, losses, train
from benchmarks.yardstick.workload import Data, FloatArray, IntArray, Network, weights_in
from benchmarks.yardstick.workloads import Workload

_WARM_STEPS = 3
_SELECTION_STEPS = 10


class Form(Protocol):
    """A way to write a contender."""

    @property
    def name(self) -> str:
        """For tables."""
        ...

    @property
    def compiles(self) -> bool:
        """Whether it needs a C++ compiler at run time."""
        ...


@dataclass
class Selection:
    """Which form is the fastest.

    Attributes:
        milliseconds: a step or call takes in each form that works.
        failures: what the others said.
        best: of `milliseconds`.
    """

    milliseconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The fastest form."""
        return min(self.milliseconds, key=lambda name: self.milliseconds[name])

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "best": self.best,
            "milliseconds": self.milliseconds,
            "failures": self.failures,
        }


def dense_trainers(
    workload: Workload, network: Network, data: Data, *, masked: bool, compile_too: bool
) -> dict[str, Callable[[], Trainer]]:
    """Makers of each form of dense training, with masks or without."""
    return {
        form.name: lambda form=form: forms_dense.DenseTrainer(  # type: ignore[misc]
            workload, network, data, form, masked=masked
        )
        for form in forms_dense.FORMS
        if compile_too or not form.compiles
    }


def csr_trainers(
    workload: Workload, network: Network, data: Data, *, compile_too: bool
) -> dict[str, Callable[[], Trainer]]:
    """Makers of each form of training with CSR weights."""
    return {
        form.name: lambda form=form: forms_csr.CsrTrainer(  # type: ignore[misc]
            workload, network, data, form
        )
        for form in forms_csr.FORMS
        if form.fits(weights_in(network)) and (compile_too or not form.compiles)
    }


def fastest_trainer(
    contender: str,
    workload: Workload,
    makers: dict[str, Callable[[], Trainer]],
    batches: list[IntArray],
    reference: Sequence[float] | None,
    order: IntArray,
    plan: Plan,
) -> tuple[Trainer, Selection]:
    """Make, check and time every form, and keep the fastest.

    Args:
        contender: its name, for messages.
        workload: its batch and precision.
        makers: by form.
        batches: to check the losses on.
        reference: the losses expected; None takes those of the first form that works.
        order: samples to train on.
        plan: how much to measure.

    Raises:
        DisagreementError: a form computes something else.
        RuntimeError: no form works.
    """
    selection = Selection()
    trainers: dict[str, Trainer] = {}
    for name, make in makers.items():
        try:
            trainer = make()
            found = losses(trainer, batches)
        except Exception as error:  # whatever PyTorch raises where a form does not work
            selection.failures[name] = _first_line(error)
            continue
        reference = found if reference is None else reference
        check_losses(f"{contender}, {name}", found, reference, workload.precision)
        trainers[name] = trainer
    if not trainers:
        raise RuntimeError(f"{contender}: no form works: {selection.failures}")
    few = order[: _SELECTION_STEPS * workload.batch]
    tasks = [training_task(name, workload, trainer, few) for name, trainer in trainers.items()]
    for name, timing in interleave(tasks, plan).items():
        selection.milliseconds[name] = timing.summary()["median"] * 1e3
    return trainers[selection.best], selection


def training_task(name: str, workload: Workload, trainer: Trainer, order: IntArray) -> Task:
    """An epoch of a trainer."""
    indices, batch = torch.from_numpy(order), workload.batch
    return Task(
        name,
        lambda: train(trainer, indices, batch),
        len(indices) // batch,
        lambda: train(trainer, indices[: _WARM_STEPS * batch], batch),
    )


def fastest_predictor(
    network: Network, x: FloatArray, expected: NDArray[Any], *, compile_too: bool, plan: Plan
) -> tuple[Callable[[], Tensor], Selection]:
    """Dense prediction of some samples in its fastest form.

    Raises:
        DisagreementError: a form computes something else.
    """
    model, samples = _module(network), torch.from_numpy(np.ascontiguousarray(x))
    makers: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {"eager": lambda: model}
    if compile_too:
        makers["compiled"] = lambda: torch.compile(model, dynamic=False)
        makers["compiled, weights frozen"] = lambda: torch.compile(
            model, dynamic=False, options={"freezing": True}
        )
    selection = Selection()
    predictors: dict[str, Callable[[], Tensor]] = {}
    for name, make in makers.items():
        try:
            predict = _predictor(make(), samples)
            outputs = predict()
        except Exception as error:  # whatever PyTorch raises where a form does not work
            selection.failures[name] = _first_line(error)
            continue
        check_outputs(f"PyTorch dense, {name}", outputs.numpy(), expected)
        predictors[name] = predict
    tasks = [Task(name, *calls(predict)) for name, predict in predictors.items()]
    for name, timing in interleave(tasks, plan).items():
        selection.milliseconds[name] = timing.summary()["median"] * 1e3
    return predictors[selection.best], selection


def _predictor(model: Callable[[Tensor], Tensor], samples: Tensor) -> Callable[[], Tensor]:
    @torch.inference_mode()
    def predict() -> Tensor:
        return model(samples)

    return predict


def _module(network: Network) -> nn.Module:
    """The network with all its weights, zeros where a pattern has none."""
    parts: list[nn.Module] = []
    for layer in network:
        weight = torch.from_numpy(layer.dense().copy())
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(torch.from_numpy(layer.bias))
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"
