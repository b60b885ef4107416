"""Optimizers and schedules, of the prelude and defined in the file."""

from __future__ import annotations

import math
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
    Optimizer("gradient_descent()", _of(optim.SGD), 0.01),
    Optimizer("momentum(0.9)", _momentum(momentum=0.9), 0.003),
    Optimizer("nesterov(momentum = 0.8)", _momentum(momentum=0.8, nesterov=True), 0.003),
    Optimizer("own_momentum()", _momentum(momentum=0.9), 0.003),
    Optimizer("adam()", _of(optim.Adam), 0.002),
    Optimizer("adam(0.8, 0.95, 1e-6)", _of(optim.Adam, betas=(0.8, 0.95), eps=1e-6), 0.002),
    Optimizer("adamw()", _of(optim.AdamW), 0.002),
    Optimizer("adamw(weight_decay = 0.1)", _of(optim.AdamW, weight_decay=0.1), 0.002),
    Optimizer("rmsprop()", _of(optim.RMSprop), 0.001),
    Optimizer("rmsprop(decay = 0.9)", _of(optim.RMSprop, alpha=0.9), 0.001),
    Optimizer("adagrad()", _of(optim.Adagrad), 0.005),
    Optimizer("own_adam()", OwnAdam, 0.002),
]
TOUCHY = {"adagrad()"}
"""Where a gradient is 0 but for rounding, they make a step of it: `epsilon` is tiny."""


def _cosine(epoch: int, epochs: int, lr: float, floor: float = 0.0) -> float:
    if epochs == 1:
        return lr
    return floor + (lr - floor) * (1 + math.cos(math.pi * epoch / (epochs - 1))) / 2


def _time_based(epoch: int, lr: float, decay: float) -> float:
    for i in range(epoch + 1):
        lr /= 1 + decay * i
    return lr


# text → epoch, epochs → learning rate
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "0.02": lambda i, n: 0.02,
    "constant(0.03)": lambda i, n: 0.03,
    "time_based(0.1, decay = 0.2)": lambda i, n: _time_based(i, 0.1, 0.2),
    "step_based(0.1, drop_rate = 0.5, change_rate = 3)": lambda i, n: 0.1 * 0.5 ** ((1 + i) // 3),
    "multistep(0.1, milestones = [2, 5], gamma = 0.2)": lambda i, n: (
        0.1 * 0.2 ** ((i >= 2) + (i >= 5))
    ),
    "exponential(0.1, change_rate = 0.3)": lambda i, n: 0.1 * math.exp(-0.3 * i),
    "cosine(0.1)": lambda i, n: _cosine(i, n, 0.1),
    "cosine(0.1, floor = 0.01)": lambda i, n: _cosine(i, n, 0.1, 0.01),
    "warmup(5) * cosine(0.1)": lambda i, n: min(1, (i + 1) / 5) * _cosine(i, n, 0.1),
    "0.5 * multistep(0.1, [3]) + constant(0.001)": lambda i, n: 0.05 * 0.1 ** (i >= 3) + 0.001,
    "halving(0.1)": lambda i, n: 0.1 * 0.5 ** (i // 3),
    "rising(0.1)": lambda i, n: 0.1 * min(1, (i + 1) / (0.5 * n)),
    "factors(0.1, decay = 0.1)": lambda i, n: _time_based(i, 0.1, 0.1),
}
