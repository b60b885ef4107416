"""Elementwise functions, of the prelude and defined in the file, with PyTorch's versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


@dataclass(frozen=True)
class Function:
    """A function with its options.

    Attributes:
        text: a call, with `{}` for the argument.
        twin: the argument and what is learned, as large as that → value.
        kinks: what is learned → places where a derivative jumps.
        learned: the names that are.
    """

    text: str
    twin: Callable[..., Tensor]
    kinks: Callable[..., Sequence[Tensor | float]] = lambda *_: ()
    learned: tuple[str, ...] = ()


def _at(*places: float) -> Callable[..., Sequence[float]]:
    return lambda *_: places


def _srelu(x: Tensor, al: Tensor, tl: Tensor, ar: Tensor, tr: Tensor) -> Tensor:
    """Jin et al., AAAI 2016; torch has none."""
    above = torch.where(x < tr, x, tr + ar * (x - tr))
    return torch.where(x <= tl, tl + al * (x - tl), above)


def _bent(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scale times sqrt(1 + x^2) - 1, in the form that keeps its digits for a small x."""
    return scale * x**2 / (1 + torch.sqrt(1 + x**2)) + shift * x


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    """With a slope for every number: each is a channel."""
    return F.prelu(x.reshape(1, -1), slope.reshape(-1)).reshape(x.shape)


def _magnitude(x: Tensor) -> Tensor:
    return x.abs() + 0.25 * torch.sqrt(1 + x * x)


def _wavelet(x: Tensor) -> Tensor:
    return (1 - x * x) * torch.exp(-x * x / 2)


PRELUDE = [
    Function("relu({})", F.relu, _at(0)),
    Function("leaky_relu({})", F.leaky_relu, _at(0)),
    Function("leaky_relu({}, alpha = 0.2)", lambda x: F.leaky_relu(x, 0.2), _at(0)),
    Function("all_relu({}, 0.6)", lambda x: F.leaky_relu(x, 0.6), _at(0)),
    Function("all_relu({}, alpha = -0.3)", lambda x: F.leaky_relu(x, -0.3), _at(0)),
    Function("trelu({}, epsilon = 0.2)", lambda x: F.threshold(x, 0.2, 0.0), _at(0.2)),
    Function("sigmoid({})", torch.sigmoid),
    Function("tanh({})", torch.tanh),
    Function("softplus({})", lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    Function("silu({})", F.silu),
    Function("gelu({})", F.gelu),
    Function("elu({})", F.elu),
    Function("elu({}, alpha = 0.5)", lambda x: F.elu(x, 0.5), _at(0)),
    Function("hard_tanh({})", F.hardtanh, _at(-1, 1)),
    Function(
        "srelu({})",
        _srelu,
        lambda al, tl, ar, tr: (tl, tr),
        ("al", "tl", "ar", "tr"),
    ),
    Function(  # what is given is where learning begins
        "srelu({}, al = 0.1, tr = 2)",
        _srelu,
        lambda al, tl, ar, tr: (tl, tr),
        ("al", "tl", "ar", "tr"),
    ),
]

OWN = [
    Function("soft({})", lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    Function("square({})", torch.square),
    Function("rectified({})", lambda x: torch.maximum(x, torch.zeros_like(x)), _at(0)),
    Function("clipped({})", F.hardtanh, _at(-1, 1)),
    Function("clipped({}, 0.7)", lambda x: F.hardtanh(x, -0.7, 0.7), _at(-0.7, 0.7)),
    Function("bounded({})", lambda x: F.hardtanh(x, -0.9, 0.9), _at(-0.9, 0.9)),
    Function("inverse({})", lambda x: 1 / (2 + torch.tanh(x))),
    Function("gauss({})", lambda x: torch.exp(-x * x)),
    Function("magnitude({})", _magnitude, _at(0)),
    Function("normal({})", F.gelu),
    Function("logistic({})", torch.sigmoid),
    Function("wavelet({})", _wavelet),
    Function("prelu({})", _prelu, _at(0), ("slope",)),
    Function("bent({})", _bent, learned=("scale", "shift")),
    Function("bent({}, shift = -0.4)", _bent, learned=("scale", "shift")),
]

FUNCTIONS = [*PRELUDE, *OWN]
