"""Random programs of the language, each with the same model written in PyTorch.

The PyTorch side uses PyTorch's own activations and losses, so that it shares nothing with the
compiler but the meaning of the program.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

Tensors = dict[str, torch.Tensor]
Torch = Callable[[Tensors], torch.Tensor]

DEFINITIONS = """
function soft(x) = if x > 0 then x + log1p(exp(-x)) else log1p(exp(x))
function square(x) = x^2
function rectified(x) = max(x, 0)
function clipped(x; bound = 1) = min(max(x, -bound), bound)
function inverse(x) = 1 / (2 + tanh(x))
function gauss(x) = exp(-(x * x))
function gate(a, b) = a * sigmoid(b)
function magnitude(x) = abs(x) + 0.25 * sqrt(1 + x^2)
function normal(x) = 0.5 * x * (1 + erf(x / sqrt(2)))

loss largest_error(y, t) = max(abs(y - t)) + mean((y - t)^2)
loss own_cross_entropy(y, t) = -sum(t * log(softmax(y) + 1e-9))

optimizer own_adam(w, g, lr; beta = 0.9, gamma = 0.99) {
    state m = 0
    state v = 0
    m = beta * m + (1 - beta) * g
    v = gamma * v + (1 - gamma) * g^2
    w = w - lr * (m / (1 - beta ^ step)) / (sqrt(v / (1 - gamma ^ step)) + 1e-8)
}
"""


# Of a linear layer; some are drawn more often.
OPTIONS = [
    "",
    "",
    ", density = 1",
    ", density = 0.5",
    ", bias = false",
    ", weights = he()",
    ", weights = uniform(-0.3, 0.3), density = 0.3",
    ', weights = glorot(fan_in = "sparse")',
]

# name → (PyTorch's function, where it has kinks)
ACTIVATIONS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[float, ...]]] = {
    "relu": (F.relu, (0,)),
    "leaky_relu": (F.leaky_relu, (0,)),
    "sigmoid": (torch.sigmoid, ()),
    "tanh": (torch.tanh, ()),
    "soft": (F.softplus, ()),
    "square": (torch.square, ()),
    "rectified": (lambda x: torch.maximum(x, torch.zeros_like(x)), (0,)),
    "clipped": (F.hardtanh, (-1, 1)),
    "inverse": (lambda x: 1 / (2 + torch.tanh(x)), ()),
    "gauss": (lambda x: torch.exp(-x * x), ()),
    "magnitude": (lambda x: x.abs() + 0.25 * torch.sqrt(1 + x * x), (0,)),
    "normal": (F.gelu, ()),
}


@dataclass(frozen=True)
class Program:
    """A program and its PyTorch twin.

    Attributes:
        text: the `.nerva` file.
        batch, features: of its input.
        element: `uint8` or `float32`.
        target: `class`, `real` or `none`.
        outputs: features of the output.
        forward: parameters, x, t → output, loss and distances from kinks, of each sample.
    """

    text: str
    batch: int
    features: int
    element: str
    target: str
    outputs: int
    forward: Callable[[Tensors, torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]

    def data(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        if self.element == "uint8":
            x = rng.integers(0, 256, (count, self.features), dtype=np.uint8)
        else:
            x = rng.normal(size=(count, self.features)).astype(np.float32)
        if self.target == "class":
            return x, rng.integers(0, self.outputs, count)
        if self.target == "real":
            return x, rng.normal(size=(count, self.outputs)).astype(np.float32)
        return x, None


class _Values(dict[str, torch.Tensor]):
    """The values of a program, each computed when it is first read."""

    def __init__(self, parameters: Tensors, x: torch.Tensor, steps: dict[str, Torch]) -> None:
        super().__init__(parameters, x=x)
        self.steps = steps

    def __missing__(self, name: str) -> torch.Tensor:
        self[name] = self.steps[name](self)
        return self[name]


@dataclass
class _Writer:
    """Lines of the file so far, and the steps of the twin."""

    random: random.Random
    lines: list[str] = field(default_factory=list)
    steps: list[tuple[str, Torch]] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)
    kinks: list[tuple[str, Torch, tuple[float, ...]]] = field(default_factory=list)
    current: str = ""  # the binding that is being written

    def bind(self, name: str, width: int, text: str, twin: Torch) -> None:
        self.lines.append(f"{name} = {text}")
        self.steps.append((name, twin))
        self.widths[name] = width

    def value(self, width: int | None = None) -> str:
        names = [n for n, w in self.widths.items() if width is None or w == width]
        # Mostly the newest, so that networks are deep as well as wide.
        return names[-1] if self.random.random() < 0.6 else self.random.choice(names)

    def linear(self, layer: str, width: int) -> tuple[str, Torch]:
        source = self.value()
        options = self.random.choice(OPTIONS)
        if "density = 0.3" in options and width * self.widths[source] < 8:
            options = ""  # too few weights for one to be left

        def twin(env: Tensors) -> torch.Tensor:
            bias = env.get(f"{layer}.bias")
            return F.linear(env[source], env[f"{layer}.weight"], bias)

        return f"linear({source}, {width}{options})", twin

    def activation(self, text: str, twin: Torch) -> tuple[str, Torch]:
        name = self.random.choice(list(ACTIVATIONS))
        function, kinks = ACTIVATIONS[name]
        if kinks:
            self.kinks.append((self.current, twin, kinks))
        return f"{name}({text})", lambda env: function(twin(env))


def generate(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    writer = _Writer(rng)
    features, batch = rng.randint(2, 40), rng.choice([1, 2, 7, 16, 31, 32, 33, 64, 100, 129, 130])
    element = rng.choice(["uint8", "float32"])
    target = rng.choice(["class", "class", "real", "none"])
    outputs = features if target == "none" else rng.randint(1, 12)

    scale = 255.0 if element == "uint8" else 2.0
    writer.widths["x"] = features
    if features % 3 == 0 and rng.random() < 0.7:
        means = torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64).repeat_interleave(features // 3)
        writer.bind(
            "scaled",
            features,
            f"normalize(x / {scale:g}, mean = [0.4, 0.5, 0.6], std = 0.5)",
            lambda env: (env["x"] / scale - means) / 0.5,
        )
    else:
        writer.bind("scaled", features, f"x / {scale:g}", lambda env: env["x"] / scale)
    del writer.widths["x"]

    for index in range(rng.randint(1, 4)):
        _hidden(writer, f"h{index + 1}", rng.randint(2, 40))
    text, twin = writer.linear("y", outputs)
    writer.bind("y", outputs, text, twin)
    loss_text, loss = _loss(rng, target, outputs)

    sparsity = rng.choice(["", "sparsity = uniform(0.4)", "sparsity = erdos_renyi(0.5)"])
    optimizer = rng.choice(["sgd()", "momentum(0.9)", "nesterov(momentum = 0.8)", "own_adam()"])
    declaration = {
        "class": f"target t : class[{outputs}]",
        "real": f"target t : float32[{outputs}]",
    }
    text = "\n".join(
        [
            f"model generated_{seed}",
            f"input x : {element}[{features}]",
            declaration.get(target, ""),
            DEFINITIONS,
            sparsity,
            *writer.lines,
            "output = y",
            f"loss = {loss_text}",
            f"train {{\n    batch = {batch}\n    optimizer = {optimizer}\n    seed = {seed}\n}}",
            "",
        ]
    )

    def forward(
        parameters: Tensors, x: torch.Tensor, t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        env = _Values(parameters, x, dict(writer.steps))
        output = env["y"]  # computes what it needs; layers that nothing reads do not exist
        distances = [
            (twin(env) - kink).abs()
            for owner, twin, kinks in writer.kinks
            for kink in kinks
            if owner in env
        ]
        near = torch.cat(distances, 1) if distances else torch.ones(len(x), 1)
        return output, loss(output, x if target == "none" else t), near

    return Program(text, batch, features, element, target, outputs, forward)


def _hidden(writer: _Writer, name: str, width: int) -> None:
    rng, writer.current = writer.random, name
    kind = rng.choice(["plain", "plain", "plain", "residual", "two", "gate", "scaled"])
    if kind == "residual":
        skip = writer.value()
        width = writer.widths[skip]
        text, twin = writer.activation(*writer.linear(name, width))
        sign = rng.choice("+-")
        factor = 1.0 if sign == "+" else -1.0
        writer.bind(
            name, width, f"{skip} {sign} {text}", lambda env: env[skip] + factor * twin(env)
        )
    elif kind in ("two", "gate"):
        first, one = writer.linear(f"{name}.1", width)
        second, two = writer.linear(f"{name}.2", width)
        if kind == "gate":
            writer.bind(
                name, width, f"gate({first}, {second})", lambda env: one(env) * two(env).sigmoid()
            )
        else:
            text, twin = writer.activation(second, two)
            writer.bind(name, width, f"{first} + {text}", lambda env: one(env) + twin(env))
    elif kind == "scaled":
        text, twin = writer.activation(*writer.linear(name, width))
        writer.bind(name, width, f"0.5 * {text} - 0.1", lambda env: 0.5 * twin(env) - 0.1)
    else:
        writer.bind(name, width, *writer.activation(*writer.linear(name, width)))


def _loss(
    rng: random.Random, target: str, outputs: int
) -> tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    if target == "class":
        # With one class this loss is -log(1 + 1e-9), of which float32 keeps nothing.
        if rng.random() < 0.3 and outputs > 1:
            return (
                "own_cross_entropy(y, t)",
                lambda y, t: -torch.log(y.softmax(1).gather(1, t[:, None])[:, 0] + 1e-9),
            )
        return "softmax_cross_entropy(y, t)", lambda y, t: F.cross_entropy(y, t, reduction="none")
    other = "x" if target == "none" else "t"
    squared = (
        f"squared_error(y, {other})",
        lambda y, t: F.mse_loss(y, t, reduction="none").sum(1),
    )
    huber = (
        f"huber(y, {other}, delta = 0.7) + 0.5 * squared_error(y, {other})",
        lambda y, t: (
            F.huber_loss(y, t, reduction="none", delta=0.7).sum(1)
            + 0.5 * F.mse_loss(y, t, reduction="none").sum(1)
        ),
    )
    largest = (
        f"largest_error(y, {other})",
        lambda y, t: (y - t).abs().amax(1) + ((y - t) ** 2).mean(1),
    )
    return rng.choice([squared, squared, huber, largest])
