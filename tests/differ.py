"""Comparing a generated program, compiled, with its twin in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from generate import Program, Run
from oracle import (
    LONGEST,
    SMOOTH,
    TOLERANCE,
    assert_close,
    at_pattern,
    clear,
    dense,
    gradients_of,
    is_firm,
    largest,
    tensors_of,
)

STEPS = 20
ATTEMPTS = 100
FARTHEST = 0.02  # that the parameters move in a first step along the gradient

Batch = tuple[np.ndarray, np.ndarray | None]


class TooNearError(AssertionError):
    """No batch was found without a pre-activation near a kink."""


def settled(
    program: Program,
    net: Any,
    rng: np.random.Generator,
    count: int,
    precision: str,
    *,
    training: bool,
) -> Batch:
    """A batch of which no pre-activation is near a kink.

    Samples that are near one are drawn again; with batch norm this moves the others.
    """
    tensors = tensors_of(net.parameters())
    masks = masks_of(net, count) if training else None
    x, t = program.data(rng, count)
    for _ in range(ATTEMPTS):
        with torch.no_grad():
            near = ~clear(program.run(tensors, x, t, masks).near, precision)
        if not near.any():
            return x, t
        new_x, new_t = program.data(rng, int(near.sum()))
        x[near] = new_x
        if t is not None:
            t[near] = new_t
    raise TooNearError(f"no batch of {count} samples is away from all kinks")


def masks_of(net: Any, count: int) -> dict[str, torch.Tensor]:
    """The masks of the next step, for the twin."""
    return {name: torch.tensor(dense(mask)).double() for name, mask in net.masks(count).items()}


def assert_evaluates(program: Program, net: Any, batch: Batch, precision: str) -> None:
    """Prediction, loss and metrics, in evaluation mode."""
    x, t = batch
    with torch.no_grad():
        run = program.run(tensors_of(net.parameters()), x, t)
    output = net.predict(x)
    assert_close(output, run.output, precision, "output")
    assert_close(net.predict(x[:1]), run.output[:1], precision, "output for one sample")
    evaluated = net.evaluate(x, t)
    loss = run.loss.numpy()
    assert_close([evaluated["loss"]], [loss.mean()], precision, "loss", np.abs(loss).mean())
    assert net.loss(x, t) == evaluated["loss"]
    expected = {name: measure(output, t) for name, measure in program.metrics.items()}
    if program.target == "class":
        expected["accuracy"] = (output.argmax(1) == t).mean()
    assert set(evaluated) == {"loss", *expected}
    for name, value in expected.items():
        assert_close(evaluated[name], value, precision, f"metric {name}")


def assert_differentiates(
    program: Program, net: Any, batch: Batch, precision: str
) -> dict[str, float]:
    """All gradients, in training mode with the masks of the next step.

    Returns:
        The sizes below which a gradient is 0 but for rounding, by parameter.
    """
    x, t = batch
    parameters = net.parameters()
    tensors = tensors_of(parameters)
    run = program.run(tensors, x, t, masks_of(net, len(x)))
    run.loss.mean().backward()
    expected = gradients_of(tensors)
    own = net.gradients(x, t)
    scales = _cancelled(run, expected, precision, normalizes=program.normalizes)
    for name, gradient in own.items():
        at_weights = at_pattern(expected[name], parameters[name])
        scale = scales.get(name, 0.0)
        assert_close(gradient, at_weights, precision, f"gradient of {name}", scale)
    for name in set(parameters) - set(own):
        assert name.endswith((".running_mean", ".running_var")), f"{name} is not trained"
    return scales


def _cancelled(
    run: Run, gradients: Mapping[str, np.ndarray], precision: str, *, normalizes: bool
) -> dict[str, float]:
    """A tenth of the terms' sizes of each gradient.

    A gradient is a sum over the batch, that of a learned number over all that it is used for, and
    rounding is in proportion to the sizes of the terms: Higham, Accuracy and Stability of Numerical
    Algorithms, 4.2. They may cancel; before a batch norm the gradient of a bias is exactly 0. Gamma
    multiplies a difference, x - mean, over the spread: if that is small, the terms are large.
    """
    sizes = dict.fromkeys(gradients, 0.0)
    for name, numbers in run.shared.items():
        if numbers.grad is not None:
            places = numbers.grad.abs().sum(0)
            sizes[name] = (places.sum() if gradients[name].size == 1 else places.max()).item()
    for name, terms in run.standards.items():
        flow = run.shared[f"{name}.beta"].grad
        if flow is not None:
            sizes[f"{name}.gamma"] = (flow.abs() * terms).sum(0).max().item()
    for name, (x, z) in run.products.items():
        if z.grad is not None:
            sizes[f"{name}.weight"] = (z.grad.abs().T @ x.abs()).max().item()
            sizes[f"{name}.bias"] = z.grad.abs().sum(0).max().item()
    # Before a batch norm the terms are themselves what is left of larger ones. Behind it is what is
    # left of the terms x and mean: their rounding, divided by a small spread.
    ill = max((terms.max().item() for terms in run.standards.values()), default=0.0)
    rounding = 2 * np.finfo(precision).eps * ill / TOLERANCE[precision]
    least = max(1e-3, rounding) * largest(gradients) if normalizes else 0.0
    return {name: max(0.1 * size, least) for name, size in sizes.items()}


def assert_trains(program: Program, net: Any, rng: np.random.Generator) -> None:
    """Loss and parameters over steps of the program's optimizers, in double precision."""
    count = program.batch
    twin = _Trainer(program, net, program.data(rng, count))
    for step in range(STEPS):
        x, t = program.data(rng, count if step % 3 else max(count // 2, 1 + program.normalizes))
        masks = masks_of(net, len(x))
        loss = net.train_step(x, t, lr=twin.rate)
        expected, scale = twin.step(x, t, masks, net)
        assert_close([loss], [expected], "float64", f"loss of step {step}", scale)
    for name, value in net.parameters().items():
        expected = twin.tensors[name].detach().numpy()
        assert_close(value, expected, "float64", f"{name} after {STEPS} steps", twin.rate)


class _Trainer:
    """The twin's training."""

    def __init__(self, program: Program, net: Any, first: Batch) -> None:
        self.program = program
        self.parameters = net.parameters()
        self.tensors = tensors_of(self.parameters)
        self.trained = [n for n in self.tensors if not n.endswith(("running_mean", "running_var"))]
        self.dividing: list[str] = []
        most = min(optimizer.rate for optimizer in program.optimizers.values())
        self.rate = min(most, FARTHEST / self._slope(first, masks_of(net, len(first[0]))))
        groups: dict[str, list[torch.Tensor]] = {}
        for name in self.trained:
            layer, _, part = name.rpartition(".")
            own = part in ("weight", "bias") and layer in program.optimizers
            owner = layer if own else ""
            groups.setdefault(owner, []).append(self.tensors[name])
            if not program.optimizers[owner].text.startswith(SMOOTH):
                self.dividing.append(name)
        self.optimizers = [
            program.optimizers[owner].make(tensors, self.rate) for owner, tensors in groups.items()
        ]

    def _slope(self, batch: Batch, masks: Mapping[str, torch.Tensor]) -> float:
        """The norm of the gradient, for a learning rate with which training does not diverge."""
        tensors = [self.tensors[name] for name in self.trained]
        loss = self.program.run(self.tensors, *batch, masks).loss.mean()
        gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
        return sum(g.square().sum().item() for g in gradients if g is not None) ** 0.5 + 1e-9

    def step(
        self, x: np.ndarray, t: np.ndarray | None, masks: Mapping[str, torch.Tensor], net: Any
    ) -> tuple[float, float]:
        """One update, after the model's; the mean loss before it, and the mean of its sizes."""
        run = self.program.run(self.tensors, x, t, masks)
        for tensor in self.tensors.values():
            tensor.grad = None
        run.loss.mean().backward()
        scales = _cancelled(
            run, gradients_of(self.tensors), "float64", normalizes=self.program.normalizes
        )
        factor = self._adjust()
        for optimizer in self.optimizers:
            optimizer.step()
        self._join({name: factor * scales[name] for name in self.dividing}, net)
        self._follow(run)
        return run.loss.mean().item(), run.loss.detach().abs().mean().item()

    def _adjust(self) -> float:
        """Leave gradients at the weights that there are; clip, by the result, then decay."""
        tensors = [self.tensors[name] for name in self.trained]
        for name in self.trained:
            gradient = self.tensors[name].grad
            gradient = torch.zeros_like(self.tensors[name]) if gradient is None else gradient
            kept = at_pattern(gradient.numpy(), self.parameters[name])
            self.tensors[name].grad = torch.tensor(kept)
        factor = 1.0
        if self.program.clip_norm is not None:
            norm = torch.cat([tensor.grad.ravel() for tensor in tensors]).norm()
            factor = self.program.clip_norm / max(norm.item(), self.program.clip_norm)
            for tensor in tensors:
                tensor.grad *= factor
        for name in self.trained:
            if name.endswith(".weight"):
                self.tensors[name].grad += self.program.weight_decay * self.tensors[name].detach()
        return factor

    def _join(self, scales: Mapping[str, float], net: Any) -> None:
        """Take the model's step where the gradient is rounding, and the step a matter of chance.

        No loss feels it, but the running mean of a batch norm follows the bias before it.
        """
        loose = {
            name: torch.tensor(~is_firm(self.tensors[name].grad.numpy(), scale))
            for name, scale in scales.items()
        }
        if not any(places.any() for places in loose.values()):
            return
        parameters = net.parameters()
        for name, places in loose.items():
            own = torch.tensor(dense(parameters[name]), dtype=torch.float64)[places]
            with torch.no_grad():
                apart = (self.tensors[name][places] - own).abs()
                assert (apart <= LONGEST * self.rate).all(), f"{name} moves too far"
                self.tensors[name][places] = own

    def _follow(self, run: Run) -> None:
        for name, value in run.running.items():
            self.tensors[name] = value


def assert_schedules(program: Program, rate: Callable[[float, float, float], float]) -> None:
    """The learning rate of each epoch."""
    for epochs in (2, 5, 12):
        for epoch in range(epochs):
            own = rate(epoch, epochs, 10 * epoch)
            expected = program.schedule(epoch, epochs)
            assert_close([own], [expected], "float64", f"learning rate {epoch} of {epochs}", 1e-3)
