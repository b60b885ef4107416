"""Training in PyTorch with dense weights, and with masks.

A mask is applied to the weights after the step. That is exact: a weight's update needs no other
weight's, so what happens at masked positions is forgotten before anybody reads it; and it is
cheaper than a mask in the forward pass, which autograd would apply once more in the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.yardstick.functions import network_loss
from benchmarks.yardstick.torch_setup import (
    OPTIMIZERS,
    Batches,
    Optimizer,
    compiled,
    make_optimizer,
)
from benchmarks.yardstick.workload import Data, Network
from benchmarks.yardstick.workloads import MOMENTUM, Workload


@dataclass(frozen=True)
class DenseForm:
    """A way to write it.

    Attributes:
        optimizer: which of PyTorch's implementations, or `compiled`: written out, the mask with
            it, for `torch.compile` to fuse.
        network: `eager`, or `compiled`: forward and backward by `torch.compile`.
    """

    optimizer: Optimizer | str
    network: str = "eager"

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.network} network, {self.optimizer} optimizer"

    @property
    def compiles(self) -> bool:
        """Whether it needs a C++ compiler at run time."""
        return "compiled" in (self.optimizer, self.network)


FORMS = (
    *(DenseForm(kind) for kind in OPTIMIZERS),
    DenseForm("compiled"),
    DenseForm("fused", "compiled"),
    DenseForm("compiled", "compiled"),
)


class DenseTrainer:
    """Training with dense weights.

    Args:
        workload: the functions of its layers, its batch and its learning rate.
        network: initial weights; zeros where a sparse one has none.
        data: what to train on.
        form: how it is written.
        masked: keep the pattern by masks.
    """

    def __init__(
        self, workload: Workload, network: Network, data: Data, form: DenseForm, *, masked: bool
    ) -> None:
        self._batches = Batches(data, workload.batch)
        self._weights = [torch.from_numpy(layer.dense().copy()) for layer in network]
        self._biases = [torch.from_numpy(layer.bias.copy()) for layer in network]
        masks = [layer.mask() if masked else None for layer in network]
        self._masked = [w for w, mask in zip(self._weights, masks, strict=True) if mask is not None]
        self._masks = [torch.from_numpy(mask) for mask in masks if mask is not None]
        self._parameters = [*self._weights, *self._biases]
        for parameter in self._parameters:
            parameter.requires_grad_()
        loss = network_loss(workload.activations, workload.loss)
        self._loss = compiled(loss) if form.network == "compiled" else loss
        self._rate = workload.learning_rate
        self._optimizer: torch.optim.SGD | None = None
        if form.optimizer == "compiled":
            self._velocities = [torch.zeros_like(parameter) for parameter in self._parameters]
            every: list[Tensor | None] = [
                None if mask is None else torch.from_numpy(mask) for mask in masks
            ]
            self._every_mask = [*every, *(None for _ in self._biases)]
        else:
            self._optimizer = make_optimizer(self._parameters, form.optimizer, self._rate)  # type: ignore[arg-type]

    def step(self, index: Tensor) -> Tensor:
        """One update; the mean loss before it."""
        self._batches.gather(index)
        loss = self._loss(self._batches.x, self._batches.t, self._weights, self._biases)
        loss.backward()
        self._update()
        for parameter in self._parameters:
            parameter.grad = None
        return loss.detach()

    @torch.no_grad()
    def _update(self) -> None:
        if self._optimizer is None:
            gradients = [parameter.grad for parameter in self._parameters]
            compiled(_nesterov)(
                self._parameters, gradients, self._velocities, self._every_mask, self._rate
            )
            return
        self._optimizer.step()
        if self._masks:
            torch._foreach_mul_(self._masked, self._masks)


def _nesterov(
    parameters: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    masks: list[Tensor | None],
    rate: float,
) -> None:
    """PyTorch's SGD with Nesterov's momentum, written out, and the mask."""
    for w, g, v, mask in zip(parameters, gradients, velocities, masks, strict=True):
        v.mul_(MOMENTUM).add_(g)
        step = rate * (g + MOMENTUM * v)
        w.copy_(w - step if mask is None else (w - step) * mask)
