"""The shipped models once more, written by hand in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from generate import Program
from generate.program import Env
from generate.writer import batch_norm, dropout, linear
from nerva_dsl.model import CheckedModel

Tensor = torch.Tensor
Outcome = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Twin:
    """Forward: output and loss of each sample; and data that fit.

    Attributes:
        forward: environment, targets → output and loss of each sample.
        features: of the input.
        element: of the input.
        classes: of the target; 0 without one, None for real numbers.
    """

    forward: Callable[[Env, Tensor], Outcome]
    features: int
    element: str = "float32"
    classes: int | None = 10

    def data(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        if self.element == "uint8":
            x = rng.integers(0, 256, (count, self.features), dtype=np.uint8)
        else:
            x = rng.integers(0, 17, (count, self.features)).astype(np.float32)
        if self.classes is None:
            return x / 160, rng.uniform(25, 346, (count, 1)).astype(np.float32)
        return x, rng.integers(0, self.classes, count) if self.classes else None

    def program(self, model: CheckedModel) -> Program:
        """The twin of a checked model, to be compared with it."""
        twin = self

        class Shipped(Program):
            def data(
                self, rng: np.random.Generator, count: int
            ) -> tuple[np.ndarray, np.ndarray | None]:
                return twin.data(rng, count)

        return Shipped(
            name=model.name,
            text=model.source.text,
            batch=model.batch,
            features=self.features,
            element=self.element,
            target={None: "real", 0: "none"}.get(self.classes, "class"),
            outputs=model.output.width,
            normalizes=any(name.endswith(".running_var") for name in model.parameters),
            optimizers={},
            schedule=lambda epoch, epochs: 0.0,
            weight_decay=0.0,
            clip_norm=None,
            metrics=METRICS.get(model.name, {}),
            forward=self.forward,
            steps={},
        )


def _relu(env: Env, z: Tensor) -> Tensor:
    env.kink(z, 0)
    return F.relu(z)


def _labels(y: Tensor, t: Tensor) -> Outcome:
    return y, F.cross_entropy(y, t, reduction="none")


def _relu_layers(env: Env, x: Tensor, t: Tensor) -> Outcome:
    h1 = _relu(env, linear(env, "h1", x))
    h2 = _relu(env, linear(env, "h2", h1))
    return _labels(linear(env, "y", h2), t)


def _digits(env: Env, t: Tensor) -> Outcome:
    return _relu_layers(env, env["x"] / 16, t)


def _cifar10(env: Env, t: Tensor) -> Outcome:
    mean = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64)
    std = torch.tensor([0.2470, 0.2435, 0.2616], dtype=torch.float64)
    images = env["x"].reshape(-1, 3, 1024) / 255
    scaled = (images - mean[:, None]) / std[:, None]
    return _relu_layers(env, scaled.reshape(-1, 3072), t)


def _autoencoder(env: Env, _: Tensor) -> Outcome:
    scaled = value = env["x"] / 16
    for name in ("hidden", "encoded", "decoded"):
        value = _relu(env, linear(env, name, value))
    image = torch.sigmoid(linear(env, "image", value))
    return image, F.mse_loss(image, scaled, reduction="none").sum(1)


def _residual(env: Env, t: Tensor) -> Outcome:
    value = _relu(env, linear(env, "stem", env["x"] / 16))
    for name in ("block1", "block2"):
        value = value + 0.5 * _relu(env, linear(env, name, value))
    return _labels(linear(env, "y", value), t)


def _custom(env: Env, t: Tensor) -> Outcome:
    z1 = linear(env, "h1", env["x"] / 16)
    z2 = linear(env, "h2", F.elu(z1))
    env.kink(z2, 0)  # that of elu with alpha = 1 is in its second derivative only
    y = linear(env, "y", F.elu(z2, alpha=0.5))
    return y, F.cross_entropy(y, t, reduction="none", label_smoothing=0.05)


def _regularized(env: Env, t: Tensor) -> Outcome:
    value = env["x"] / 16
    for name in ("h1", "h2"):
        value = _relu(env, batch_norm(env, name, linear(env, name, value), 0.1, 1e-5))
    return _labels(linear(env, "y", dropout(env, "dropout", value)), t)


def _branches(env: Env, t: Tensor) -> Outcome:
    scaled = env["x"] / 16
    wide = _relu(env, linear(env, "wide", scaled))
    narrow = torch.tanh(linear(env, "narrow", scaled[:, 16:48]))
    h = _relu(env, linear(env, "h", torch.cat([wide, narrow], 1)))
    return _labels(linear(env, "y", h), t)


def _residual_blocks(env: Env, t: Tensor) -> Outcome:
    value = _relu(env, linear(env, "stem", env["x"] / 16))
    for name, scale in (("first", 0.5), ("second", 0.25)):
        z = linear(env, f"{name}.inner", value)
        inner = _relu(env, batch_norm(env, f"{name}.inner", z, 0.1, 1e-5))
        value = value + scale * linear(env, name, inner)
    return _labels(linear(env, "y", value), t)


def _swish_lion(env: Env, t: Tensor) -> Outcome:
    value = env["x"] / 16
    for name in ("h1", "h2"):
        z = linear(env, name, value)
        value = z * torch.sigmoid(env.parameters[f"{name}.beta"] * z)
    return _labels(linear(env, "y", value), t)


def _srelu(env: Env, t: Tensor) -> Outcome:
    value = env["x"] / 16
    for name in ("h1", "h2"):
        z = linear(env, name, value)
        al, tl, ar, tr = (env.parameters[f"{name}.{part}"] for part in ("al", "tl", "ar", "tr"))
        for place in (tl, tr):
            env.kink(z, place)
        value = torch.where(z <= tl, tl + al * (z - tl), torch.where(z < tr, z, tr + ar * (z - tr)))
    return _labels(linear(env, "y", value), t)


def _warmup(env: Env, t: Tensor) -> Outcome:
    h1 = F.gelu(linear(env, "h1", env["x"] / 16))
    return _labels(linear(env, "y", F.gelu(linear(env, "h2", h1))), t)


def _regression(env: Env, t: Tensor) -> Outcome:
    y = 150 + 75 * linear(env, "y", torch.tanh(linear(env, "h", 21 * env["x"])))
    env.kink((y - t).abs(), 50)
    return y, F.huber_loss(y, t, reduction="none", delta=50).sum(1)


TWINS = {
    "digits": Twin(_digits, 64),
    "digits_dense": Twin(_digits, 64),
    "cifar10": Twin(_cifar10, 3072, "uint8"),
    "autoencoder": Twin(_autoencoder, 64, classes=0),
    "residual": Twin(_residual, 64),
    "custom": Twin(_custom, 64),
    "regularized": Twin(_regularized, 64),
    "branches": Twin(_branches, 64),
    "residual_blocks": Twin(_residual_blocks, 64),
    "swish_lion": Twin(_swish_lion, 64),
    "srelu": Twin(_srelu, 64),
    "warmup": Twin(_warmup, 64),
    "regression": Twin(_regression, 10, classes=None),
    "set": Twin(_digits, 64),
    "rigl": Twin(_digits, 64),
}


def _top2(y: np.ndarray, t: np.ndarray) -> float:
    from sklearn.metrics import top_k_accuracy_score

    return float(top_k_accuracy_score(t, y, k=2, labels=range(10)))


def _confusion(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(t, y.argmax(1), labels=range(10))


def _error(y: np.ndarray, t: np.ndarray) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(t, y))


METRICS = {
    "regression": {"error": _error},
    "regularized": {"top2": _top2},
    "branches": {"confusion": _confusion},
}
LIBRARIES = {"blocks"}
"""Files that others import, without a model."""
