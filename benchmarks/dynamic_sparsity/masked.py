"""SET and RigL in PyTorch, written from the papers: dense weights and masks of zeros and ones."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

Tensor = torch.Tensor

BATCH, EPOCHS, RATE, MOMENTUM = 100, 10, 0.05, 0.9
FRACTION, UNTIL, STEPS = 0.3, 0.75, 100


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        accuracy: on the test images.
        seconds: of training.
    """

    accuracy: float
    seconds: float


class Layer:
    """A linear layer whose weights are multiplied by a mask.

    Args:
        shape: outputs and inputs.
        nnz: ones of the mask.
        generator: of the random numbers.
    """

    def __init__(self, shape: tuple[int, int], nnz: int, generator: torch.Generator) -> None:
        self.scale = math.sqrt(2 * shape[0] / nnz)  # He et al., for the mean number of inputs
        self.nnz = nnz
        self.mask = torch.zeros(shape)
        self.mask.view(-1)[torch.randperm(self.mask.numel(), generator=generator)[:nnz]] = 1
        self.weight = torch.randn(shape, generator=generator) * self.scale * self.mask
        self.bias = torch.zeros(shape[0])
        self.parameters = (self.weight, self.bias)
        self.velocity = tuple(torch.zeros_like(each) for each in self.parameters)
        for parameter in self.parameters:
            parameter.requires_grad_()

    def update(self, rate: float) -> None:
        """Nesterov's momentum; of the weights, only where the mask is."""
        with torch.no_grad():
            for parameter, v in zip(self.parameters, self.velocity, strict=True):
                assert parameter.grad is not None
                gradient = parameter.grad
                if parameter is self.weight:
                    gradient = gradient * self.mask
                v.mul_(MOMENTUM).sub_(gradient, alpha=rate)
                parameter.add_(v, alpha=MOMENTUM).sub_(gradient, alpha=rate)
                parameter.grad = None

    def set_step(self, generator: torch.Generator) -> None:
        """SET: the smallest positive and the largest negative weights go, others come at random."""
        with torch.no_grad():
            flat, mask = self.weight.view(-1), self.mask.view(-1)
            empty = torch.nonzero(mask == 0).view(-1)
            for side in (flat > 0, flat < 0):
                places = torch.nonzero(side & (mask == 1)).view(-1)
                count = int(FRACTION * len(places) + 0.5)
                mask[places[flat[places].abs().argsort()[:count]]] = 0
            count = int(self.nnz - mask.sum())
            grown = empty[torch.randperm(len(empty), generator=generator)[:count]]
            mask[grown] = 1
            self.velocity[0].mul_(self.mask)
            self.velocity[0].view(-1)[grown] = 0
            flat.mul_(mask)
            flat[grown] = torch.randn(count, generator=generator) * self.scale

    def rigl_step(self, fraction: float) -> None:
        """RigL: the smallest weights go, others come where the dense gradient is largest, at 0."""
        with torch.no_grad():
            assert self.weight.grad is not None
            flat, mask = self.weight.view(-1), self.mask.view(-1)
            size = self.weight.grad.view(-1).abs()
            size = torch.where(mask == 1, torch.full_like(size, -1), size)
            places = torch.nonzero(mask).view(-1)
            count = int(fraction * len(places) + 0.5)
            count = min(count, mask.numel() - len(places))
            mask[places[flat[places].abs().argsort()[:count]]] = 0
            grown = size.topk(count).indices
            mask[grown] = 1
            flat.mul_(mask)
            flat[grown] = 0
            self.velocity[0].mul_(self.mask)
            self.velocity[0].view(-1)[grown] = 0


def train(
    method: str,
    nnz: dict[tuple[int, int], int],
    data: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> Outcome:
    """Train by the protocol.

    Args:
        method: `static`, `set` or `rigl`.
        nnz: non-zeros of each layer, by its shape, in order.
        data: training and test images, bytes `[n, 784]`, with labels.
        seed: of everything random.
    """
    generator = torch.Generator().manual_seed(seed)
    (X, t), (X_test, t_test) = (
        (torch.tensor(x).float() / 255, torch.tensor(labels).long()) for x, labels in data
    )
    layers = [Layer(shape, count, generator) for shape, count in nnz.items()]
    begin, step = time.perf_counter(), 0
    for epoch in range(EPOCHS):
        rate = RATE / 2 * (1 + math.cos(math.pi * epoch / (EPOCHS - 1)))
        if method == "set" and 0 < epoch < UNTIL * EPOCHS:
            for layer in layers:
                layer.set_step(generator)
        order = torch.randperm(len(X), generator=generator)
        for first in range(0, len(X), BATCH):
            batch = order[first : first + BATCH]
            now = epoch + first / len(X)
            if method == "rigl" and step and step % STEPS == 0 and now < UNTIL * EPOCHS:
                _loss(layers, X[batch], t[batch]).backward()
                fraction = FRACTION / 2 * (1 + math.cos(math.pi * epoch / (UNTIL * EPOCHS)))
                for layer in layers:
                    layer.rigl_step(fraction)
                    layer.weight.grad = layer.bias.grad = None
            _loss(layers, X[batch], t[batch]).backward()
            for layer in layers:
                layer.update(rate)
            step += 1
    seconds = time.perf_counter() - begin
    with torch.no_grad():
        right = (_output(layers, X_test).argmax(1) == t_test).float().mean()
    return Outcome(float(right), seconds)


def _output(layers: list[Layer], x: Tensor) -> Tensor:
    for number, layer in enumerate(layers):
        x = functional.linear(x, layer.weight, layer.bias)
        x = functional.relu(x) if number + 1 < len(layers) else x
    return x


def _loss(layers: list[Layer], x: Tensor, t: Tensor) -> Tensor:
    return functional.cross_entropy(_output(layers, x), t)
