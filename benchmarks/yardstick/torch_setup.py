"""PyTorch, set up as fast as it goes; and what its forms share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from benchmarks.yardstick.workload import Data, IntArray
from benchmarks.yardstick.workloads import MOMENTUM

Optimizer = Literal["plain", "foreach", "fused"]
OPTIMIZERS: tuple[Optimizer, ...] = ("plain", "foreach", "fused")


class Trainer(Protocol):
    """Training in PyTorch in one form."""

    def step(self, index: Tensor) -> Tensor:
        """One update from the samples of an index; the mean loss before it."""
        ...


def set_up(threads: int) -> None:
    """Set the threads, and flush subnormal numbers as nervac does.

    Call it before PyTorch has started its threads: they inherit the mode.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    warnings.filterwarnings("ignore", message=".*Sparse (CSR tensor support|invariant checks).*")


def make_optimizer(parameters: list[Tensor], kind: Optimizer, rate: float) -> torch.optim.SGD:
    """Nesterov's momentum in one of PyTorch's three implementations."""
    return torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=MOMENTUM,
        nesterov=True,
        foreach=kind == "foreach",
        fused=kind == "fused",
    )


class Batches:
    """Gathers a batch through an index into the same memory each time."""

    def __init__(self, data: Data, batch: int) -> None:
        self._samples = torch.from_numpy(data.X)
        self._targets = torch.from_numpy(data.t)
        self.x = self._samples.new_empty(batch, *self._samples.shape[1:])
        self.t = self._targets.new_empty(batch, *self._targets.shape[1:])

    def gather(self, index: Tensor) -> None:
        """Set `x` and `t` to the samples and targets of an index, of as many as the batch."""
        torch.index_select(self._samples, 0, index, out=self.x)
        torch.index_select(self._targets, 0, index, out=self.t)


def losses(trainer: Trainer, batches: list[IntArray]) -> list[float]:
    """Train on some batches; the loss before each update."""
    return [float(trainer.step(torch.from_numpy(batch))) for batch in batches]


def train(trainer: Trainer, order: Tensor, batch: int) -> float:
    """Train on the samples of an order; the mean of the losses, as nervac gives it."""
    total = torch.zeros((), dtype=torch.float64)
    indices = torch.split(order, batch)
    for index in indices:
        total += trainer.step(index)
    return float(total) / len(indices)


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile` of a function, once: contenders of other densities use it again."""
    # Silence about graph breaks and the like: what does not work is recorded by who tried.
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(function)
