"""Writing a program and its twin at the same time."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from generate.functions import FUNCTIONS
from generate.program import Env, Optimizer, Term, Twin

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
    ", weights = normal(0, 0.4)",
    ", drop_connect = 0.3",
    ", drop_connect = 0.5, density = 0.5",
]


@dataclass(eq=False)
class Holder:
    """What has parameters; its name is known when its binding is complete."""

    binding: str
    kind: str
    index: int


@dataclass
class Writer:
    """The lines of the file so far, and the steps of the twin.

    Attributes:
        random: chooses.
        gentle: no optimizer of the program makes a step of rounding errors.
        own_optimizers: what a `linear` may name as its own.
        lines, steps: of the file and of the twin.
        widths: of the values.
        optimizers: by layer's name.
        normalizes: it has a batch norm.
        current: the binding that is being written.
    """

    random: random.Random
    gentle: bool
    own_optimizers: list[Optimizer]
    lines: list[str] = field(default_factory=list)
    steps: dict[str, Twin] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    owners: list[tuple[Holder, Optimizer]] = field(default_factory=list)
    normalizes: bool = False
    current: str = ""
    _held: Counter[tuple[str, str]] = field(default_factory=Counter)

    def bind(self, name: str, term: Term) -> Term:
        """A line `name = …`; the term stands for the name afterwards."""
        self.lines.append(f"{name} = {term.text}")
        self.steps[name] = term.twin
        self.widths[name] = term.width
        return self.named(name)

    def named(self, name: str) -> Term:
        """A value that is bound."""
        return Term(name, self.widths[name], lambda env: env[name])

    def value(self, width: int | None = None) -> Term:
        """A value to use, of a width; mostly the newest, so that networks are deep and wide."""
        names = [n for n, w in self.widths.items() if width is None or w == width]
        last = self.random.random() < 0.6
        return self.named(names[-1] if last else self.random.choice(names))

    def hold(self, kind: str) -> Holder:
        """Something with parameters in this binding."""
        self._held[self.current, kind] += 1
        return Holder(self.current, kind, self._held[self.current, kind])

    def name(self, holder: Holder) -> str:
        """What the names of its parameters begin with."""
        several = self._held[holder.binding, holder.kind] > 1
        return f"{holder.binding}.{holder.index}" if several else holder.binding

    def linear(self, width: int, source: Term | None = None, *, bias: bool = True) -> Term:
        """A layer, of a value if none is given."""
        source = source or self.value()
        options = self.random.choice(OPTIONS)
        if width * source.width < 8:
            options = ", density = 1"  # of so few weights none might be left
        if not bias and "bias" not in options:
            options += ", bias = false"
        holder = self.hold("linear")
        if self.own_optimizers and self.random.random() < 0.4:
            optimizer = self.random.choice(self.own_optimizers)
            options += f", optimizer = {optimizer.text}"
            self.owners.append((holder, optimizer))

        def twin(env: Env) -> torch.Tensor:
            name = self.name(holder)
            return linear(env, name, source.twin(env))

        return Term(f"linear({source.text}, {width}{options})", width, twin)

    def activation(self, term: Term) -> Term:
        """A function of it."""
        function = self.random.choice(FUNCTIONS)
        holder = self.hold("function") if function.learned else None

        def twin(env: Env) -> torch.Tensor:
            x = term.twin(env)
            learned = []
            if holder is not None:
                name = self.name(holder)
                learned = [shared(env, f"{name}.{part}", x) for part in function.learned]
            for place in function.kinks(*learned):
                env.kink(x, place)
            return function.twin(x, *learned)

        return Term(function.text.format(term.text), term.width, twin)

    def batch_norm(self, term: Term) -> Term:
        """Batch normalisation of it."""
        self.normalizes = True
        text, momentum, epsilon = self.random.choice(
            [
                ("", 0.1, 1e-5),
                (", epsilon = 0.01", 0.1, 0.01),
                (", 0.3, 0.001", 0.3, 0.001),
                (", momentum = 0.5, epsilon = 0.1", 0.5, 0.1),
            ]
        )
        holder = self.hold("batch_norm")

        def twin(env: Env) -> torch.Tensor:
            return batch_norm(env, self.name(holder), term.twin(env), momentum, epsilon)

        return Term(f"batch_norm({term.text}{text})", term.width, twin)

    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers that layers have of their own, by the layer's name."""
        return {self.name(holder): optimizer for holder, optimizer in self.owners}


def linear(env: Env, name: str, x: torch.Tensor) -> torch.Tensor:
    """The layer `name` of x, its weights dropped in training if it does that."""
    weight, bias = env.parameters[f"{name}.weight"], env.parameters.get(f"{name}.bias")
    mask = env.masks.get(f"{name}.weight")
    z = F.linear(x, weight if mask is None else weight * mask, bias)
    if z.requires_grad:
        z.retain_grad()
        env.products[name] = x.detach(), z
    return z


def shared(env: Env, name: str, x: torch.Tensor) -> torch.Tensor:
    """The learned number `name`, or one a feature, once for each number of x."""
    repeated = env.parameters[name].expand(x.shape)
    if repeated.requires_grad:
        repeated.retain_grad()
        env.shared[name] = repeated
    return repeated


def batch_norm(
    env: Env, name: str, x: torch.Tensor, momentum: float, epsilon: float
) -> torch.Tensor:
    """Of PyTorch, its running statistics noted."""
    mean, var = (env.parameters[f"{name}.{part}"] for part in ("running_mean", "running_var"))
    running = mean.detach().clone(), var.detach().clone()
    normal = F.batch_norm(x, *running, None, None, env.training, momentum, epsilon)
    result = normal * shared(env, f"{name}.gamma", x) + shared(env, f"{name}.beta", x)
    if env.training:
        var, mean = torch.var_mean(x.detach(), 0, correction=0)
        env.standards[name] = (x.detach().abs() + mean.abs()) / (var + epsilon).sqrt()
        env.running[f"{name}.running_mean"], env.running[f"{name}.running_var"] = running
    return result


def dropout(env: Env, name: str, x: torch.Tensor) -> torch.Tensor:
    """x with the mask of the value `name`, in training."""
    return x * env.masks[name] if env.training else x
