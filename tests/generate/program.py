"""A generated program, and what its twin computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]


class Env(dict[str, torch.Tensor]):
    """The values of one run, each computed when it is first read.

    Attributes:
        parameters: by name.
        training: whether batch norm uses the batch's statistics, and dropout its masks.
        masks: of dropout and drop_connect, in training.
        running: the running statistics after this step, by parameter.
        near: distances from kinks, `[n, …]` each.
        products: input and output of each linear layer, whose gradient is kept.
        shared: learned numbers, repeated for each place that reads them; their gradient is kept.
        standards: of each batch norm, the sizes of the terms of what it scales, by its name.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.Tensor],
        x: torch.Tensor,
        masks: Mapping[str, torch.Tensor] | None,
        steps: Mapping[str, Callable[[Env], torch.Tensor]],
    ) -> None:
        super().__init__(x=x)
        self.parameters = parameters
        self.training = masks is not None
        self.masks = masks or {}
        self.running: Tensors = {}
        self.near: list[torch.Tensor] = []
        self.products: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.shared: Tensors = {}
        self.standards: Tensors = {}
        self._steps = steps

    def __missing__(self, name: str) -> torch.Tensor:
        self[name] = self._steps[name](self)
        return self[name]

    def kink(self, value: torch.Tensor, place: torch.Tensor | float) -> None:
        """Remember how far a value is from a place where a derivative jumps."""
        self.near.append((value - place).abs().detach())


Twin = Callable[[Env], torch.Tensor]


@dataclass(frozen=True)
class Term:
    """A part of an expression: how it is written, and what it is."""

    text: str
    width: int
    twin: Twin


@dataclass(frozen=True)
class Run:
    """What the twin computes of one batch.

    Attributes:
        output: `[n, K]`.
        loss: of each sample.
        near: distances from kinks of each sample, `[n, m]`.
        running: the running statistics after a step, by parameter.
        products: input and output of each linear layer, `[n, D]` and `[n, K]`.
        shared: learned numbers, repeated for each place that reads them, `[n, K]`, by parameter.
        standards: sizes of the terms of what batch norms scale, `[n, K]`, by their names.
    """

    output: torch.Tensor
    loss: torch.Tensor
    near: torch.Tensor
    running: Tensors
    products: dict[str, tuple[torch.Tensor, torch.Tensor]]
    shared: Tensors
    standards: Tensors


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is called, and PyTorch's of the same meaning.

    Attributes:
        text: in the program.
        make: parameters, learning rate → the twin.
        rate: a learning rate with which most models do not get worse.
    """

    text: str
    make: Callable[[list[torch.Tensor], float], torch.optim.Optimizer]
    rate: float


@dataclass(frozen=True)
class Program:
    """A program and its PyTorch twin.

    Attributes:
        name: of the model.
        text: the `.nerva` file.
        batch, features: of its input.
        element: `uint8` or `float32`.
        target: `class`, `real`, `part` (real, in 0 … 1) or `none`.
        outputs: features of the output.
        normalizes: it has a batch norm.
        optimizers: by the first parts of parameters' names; "" is of all others.
        schedule: epoch, epochs → learning rate.
        weight_decay, clip_norm: of `train`.
        metrics: outputs and targets (one-hot for a class) → the number, by name.
        forward: environment, x, t → output and loss of each sample.
        steps: the named values.
    """

    name: str
    text: str
    batch: int
    features: int
    element: str
    target: str
    outputs: int
    normalizes: bool
    optimizers: Mapping[str, Optimizer]
    schedule: Callable[[int, int], float]
    weight_decay: float
    clip_norm: float | None
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], Any]]
    forward: Callable[[Env, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    steps: Mapping[str, Twin] = field(repr=False)

    def data(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Random samples."""
        if self.element == "uint8":
            x = rng.integers(0, 256, (count, self.features), dtype=np.uint8)
        else:
            x = rng.normal(size=(count, self.features)).astype(np.float32)
        shape = (count, self.outputs)
        match self.target:
            case "class":
                return x, rng.integers(0, self.outputs, count)
            case "real":
                return x, rng.normal(size=shape).astype(np.float32)
            case "part":
                return x, rng.uniform(0.05, 0.95, shape).astype(np.float32)
        return x, None

    def run(
        self,
        parameters: Mapping[str, torch.Tensor],
        x: np.ndarray,
        t: np.ndarray | None,
        masks: Mapping[str, torch.Tensor] | None = None,
    ) -> Run:
        """Run the twin in double precision, in training if there are masks, even none."""
        inputs = torch.tensor(x, dtype=torch.float64)
        target = inputs if t is None else torch.tensor(t)
        target = target.double() if target.is_floating_point() else target
        env = Env(parameters, inputs, masks, self.steps)
        output, loss = self.forward(env, target)
        near = torch.cat(env.near, 1) if env.near else torch.ones(len(x), 1)
        return Run(output, loss, near, env.running, env.products, env.shared, env.standards)
