"""Activations and losses in PyTorch, by the names that the models' files use.

Each in two ways: for autograd, and with its derivative for a step that is written without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Activation:
    """An elementwise function.

    Attributes:
        traced: for autograd.
        forward: the value; it may take its argument's memory, where the derivative allows it.
        backward: from the value's gradient, the argument as `forward` left it, and the value, the
            argument's gradient.
    """

    traced: Callable[[Tensor], Tensor]
    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


def _all_relu(slope: float) -> Activation:
    """PyTorch's leaky_relu; with a negative slope the value does not tell the argument's sign."""
    aten = torch.ops.aten
    if slope < 0:
        return Activation(
            lambda z: functional.leaky_relu(z, slope),
            lambda z: functional.leaky_relu(z, slope),
            lambda gradient, z, _: aten.leaky_relu_backward(gradient, z, slope, False),
        )
    return Activation(
        lambda z: functional.leaky_relu(z, slope),
        lambda z: functional.leaky_relu_(z, slope),
        lambda gradient, _, y: aten.leaky_relu_backward(gradient, y, slope, True),
    )


ACTIVATIONS = {
    "relu": Activation(
        functional.relu,
        torch.relu_,
        lambda gradient, _, y: torch.ops.aten.threshold_backward(gradient, y, 0),
    ),
    "all_relu(0.6)": _all_relu(0.6),
    "all_relu(-0.6)": _all_relu(-0.6),
    "sigmoid": Activation(
        torch.sigmoid,
        torch.sigmoid_,
        lambda gradient, _, y: torch.ops.aten.sigmoid_backward(gradient, y),
    ),
}


def _cross_entropy_head(logits: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    log_probabilities = torch.log_softmax(logits, 0)
    loss = functional.nll_loss(log_probabilities.t(), t)
    chosen = torch.full((1, len(t)), -1.0, dtype=logits.dtype)
    gradient = log_probabilities.exp().scatter_add(0, t[None], chosen) / len(t)
    return loss, gradient


def _squared_error(y: Tensor, t: Tensor) -> Tensor:
    return functional.mse_loss(y, t, reduction="sum") / len(t)


def _squared_error_head(y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    difference = y - t.t()
    return difference.square().sum() / len(t), difference * (2 / len(t))


# Mean loss of outputs `[batch, features]` and targets, for autograd.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax_cross_entropy": functional.cross_entropy,
    "squared_error": _squared_error,
}

# Mean loss of outputs `[features, batch]` and targets `[batch]` or `[batch, features]`, and its
# gradient by the outputs.
HEADS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "softmax_cross_entropy": _cross_entropy_head,
    "squared_error": _squared_error_head,
}


@cache
def network_loss(
    activations: tuple[str, ...], loss: str
) -> Callable[[Tensor, Tensor, Sequence[Tensor], Sequence[Tensor]], Tensor]:
    """Forward through dense layers, for autograd.

    Returns:
        A function of samples `[batch, features]`, targets, weights and biases: the mean loss. The
        same one for the same names, so that it is compiled once.
    """
    hidden, head = [ACTIVATIONS[name].traced for name in activations], LOSSES[loss]

    def forward(
        x: Tensor, t: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
    ) -> Tensor:
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            x = functional.linear(x, weight, bias)
            if number < len(hidden):
                x = hidden[number](x)
        return head(x, t)

    return forward
