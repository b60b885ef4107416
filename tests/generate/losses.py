"""Losses, of the prelude and defined in the file, with PyTorch's versions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        text: a call on `y`, with `{}` for what it is compared with.
        twin: outputs and targets → a number for each sample. A class target is one-hot.
        targets: the kinds of targets that it is for; see `Program`.
        probabilities: the outputs must be probabilities.
        kinks: of |y - t|, where a derivative jumps.
        largest: it reads the largest |y - t|, whose derivative jumps where two are equal.
    """

    text: str
    twin: Callable[[Tensor, Tensor], Tensor]
    targets: tuple[str, ...] = ("real", "part", "none", "class")
    probabilities: bool = False
    kinks: tuple[float, ...] = ()
    largest: bool = False


def _squared(y: Tensor, t: Tensor) -> Tensor:
    return F.mse_loss(y, t, reduction="none").sum(1)


def _absolute(y: Tensor, t: Tensor) -> Tensor:
    return F.l1_loss(y, t, reduction="none").sum(1)


def _huber(delta: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda y, t: F.huber_loss(y, t, reduction="none", delta=delta).sum(1)


def _cross_entropy(y: Tensor, t: Tensor) -> Tensor:
    return F.cross_entropy(y, t, reduction="none")


def _binary(y: Tensor, t: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(y, t, reduction="none").sum(1)


def _largest(y: Tensor, t: Tensor) -> Tensor:
    return (y - t).abs().amax(1) + ((y - t) ** 2).mean(1)


_LABELS = ("class",)
_PARTS = ("class", "part")
LOSSES = [
    Loss("softmax_cross_entropy(y, {})", _cross_entropy, _PARTS),
    Loss("softmax_cross_entropy(y, {})", _cross_entropy, _PARTS),
    Loss("squared_error(y, {})", _squared),
    Loss("mean_squared_error(y, {})", lambda y, t: F.mse_loss(y, t, reduction="none").mean(1)),
    Loss("absolute_error(y, {})", _absolute, kinks=(0.0,)),
    Loss("huber(y, {})", _huber(1.0), kinks=(1.0,)),
    Loss("huber(y, {}, delta = 0.7)", _huber(0.7), kinks=(0.7,)),
    Loss("binary_cross_entropy(y, {})", _binary, _PARTS),
    Loss("logistic_cross_entropy(y, {})", lambda y, t: -(t * F.logsigmoid(y)).sum(1), _PARTS),
    Loss("cross_entropy(y, {})", lambda y, t: -(t * y.log()).sum(1), _PARTS, probabilities=True),
    Loss(
        "negative_log_likelihood(y, {})",
        lambda y, t: -(t * y).sum(1).log(),
        _PARTS,
        probabilities=True,
    ),
    Loss(
        "own_huber(y, {0}, delta = 0.7) + 0.5 * squared_error(y, {0})",
        lambda y, t: _huber(0.7)(y, t) + 0.5 * _squared(y, t),
        kinks=(0.7,),
    ),
    Loss("largest_error(y, {})", _largest, kinks=(0.0,), largest=True),
    Loss(
        "own_cross_entropy(y, {})",
        lambda y, t: -(t * torch.log(y.softmax(1) + 1e-9)).sum(1),
        _LABELS,
    ),
    Loss(
        "smoothed(y, {}, amount = 0.05)",
        lambda y, t: F.cross_entropy(y, t, reduction="none", label_smoothing=0.05),
        _LABELS,
    ),
]

SINGLE = {"own_cross_entropy"}
"""With one class it is -log(1 + 1e-9), of which float32 keeps nothing."""


def choose(rng: random.Random, target: str, outputs: int, *, probabilities: bool) -> Loss:
    """A loss that fits."""
    fitting = [
        loss
        for loss in LOSSES
        if target in loss.targets
        and loss.probabilities == probabilities
        and (outputs > 1 or loss.text.partition("(")[0] not in SINGLE)
    ]
    return rng.choice(fitting)
