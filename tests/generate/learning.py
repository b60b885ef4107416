"""Optimizers and schedules, of the prelude and defined in the file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import optim

from generate.program import Optimizer


class OwnAdam(optim.Adam):
    """`own_adam` of the definitions."""

    def __init__(self, parameters: list[torch.Tensor], lr: float) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.99), eps=1e-8)


def _of(make: Callable[..., optim.Optimizer], **options: object) -> Callable[..., optim.Optimizer]:
    return lambda parameters, lr: make(parameters, lr=lr, **options)


_momentum = partial(_of, optim.SGD)
OPTIMIZERS = [
    Optimizer("sgd()", _of(optim.SGD), 0.01),
    Optimizer("momentum(0.9)", _momentum(momentum=0.9), 0.003),
    Optimizer("nesterov(momentum = 0.8)", _momentum(momentum=0.8, nesterov=True), 0.003),
    Optimizer("own_momentum()", _momentum(momentum=0.9), 0.003),
    Optimizer("own_adam()", OwnAdam, 0.002),
]

# text → epoch, epochs → learning rate
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "0.02": lambda i, n: 0.02,
    "constant(0.03)": lambda i, n: 0.03,
    "multistep(0.1, milestones = [2, 5], gamma = 0.2)": lambda i, n: (
        0.1 * 0.2 ** ((i >= 2) + (i >= 5))
    ),
    "halving(0.1)": lambda i, n: 0.1 * 0.5 ** (i // 3),
    "rising(0.1)": lambda i, n: 0.1 * min(1, (i + 1) / (0.5 * n)),
}
