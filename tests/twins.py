"""The shipped models once more, written by hand in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Twin:
    """Forward: output, loss and distances from kinks of each sample; and data that fit."""

    forward: Callable[[Tensors, torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
    features: int
    element: str = "float32"
    classes: int = 10

    def data(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        if self.element == "uint8":
            x = rng.integers(0, 256, (count, self.features), dtype=np.uint8)
        else:
            x = rng.integers(0, 17, (count, self.features)).astype(np.float32)
        return x, rng.integers(0, self.classes, count) if self.classes else None


def _linear(p: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def _relu_layers(p: Tensors, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    z1 = _linear(p, "h1", x)
    z2 = _linear(p, "h2", F.relu(z1))
    y = _linear(p, "y", F.relu(z2))
    near = torch.cat([z1.abs(), z2.abs()], 1)
    return y, F.cross_entropy(y, t, reduction="none"), near


def _digits(p: Tensors, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return _relu_layers(p, x / 16, t)


def _cifar10(p: Tensors, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    mean = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64)
    std = torch.tensor([0.2470, 0.2435, 0.2616], dtype=torch.float64)
    images = x.reshape(-1, 3, 1024) / 255
    scaled = (images - mean[:, None]) / std[:, None]
    return _relu_layers(p, scaled.reshape(-1, 3072), t)


def _autoencoder(p: Tensors, x: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
    scaled = value = x / 16
    near = []
    for name in ("hidden", "encoded", "decoded"):
        z = _linear(p, name, value)
        near.append(z.abs())
        value = F.relu(z)
    image = torch.sigmoid(_linear(p, "image", value))
    return image, F.mse_loss(image, scaled, reduction="none").sum(1), torch.cat(near, 1)


def _residual(p: Tensors, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    z = _linear(p, "stem", x / 16)
    value, near = F.relu(z), [z.abs()]
    for name in ("block1", "block2"):
        z = _linear(p, name, value)
        near.append(z.abs())
        value = value + 0.5 * F.relu(z)
    y = _linear(p, "y", value)
    return y, F.cross_entropy(y, t, reduction="none"), torch.cat(near, 1)


def _custom(p: Tensors, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    z1 = _linear(p, "h1", x / 16)
    z2 = _linear(p, "h2", F.elu(z1))
    y = _linear(p, "y", F.elu(z2, alpha=0.5))
    # The kink of elu with alpha = 1 is in its second derivative only.
    loss = F.cross_entropy(y, t, reduction="none", label_smoothing=0.05)
    return y, loss, z2.abs()


TWINS = {
    "digits": Twin(_digits, 64),
    "digits_dense": Twin(_digits, 64),
    "cifar10": Twin(_cifar10, 3072, "uint8"),
    "autoencoder": Twin(_autoencoder, 64, classes=0),
    "residual": Twin(_residual, 64),
    "custom": Twin(_custom, 64),
}
