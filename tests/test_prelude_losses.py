"""The losses of the prelude: values and gradients against PyTorch and differences, and extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checking import checked

from nerva_dsl.check.prelude import prelude
from nerva_dsl.differentiate import differentiate
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir.interpret import run
from nerva_dsl.lower import lower

K = 4


def _log_sum(y, t):
    return -torch.log((y * t).sum(1))


LOSSES = {
    "squared_error": lambda y, t: F.mse_loss(y, t, reduction="none").sum(1),
    "mean_squared_error": lambda y, t: F.mse_loss(y, t, reduction="none").mean(1),
    "absolute_error": lambda y, t: F.l1_loss(y, t, reduction="none").sum(1),
    "huber": lambda y, t: F.huber_loss(y, t, reduction="none", delta=0.7).sum(1),
    "cross_entropy": lambda y, t: -torch.special.xlogy(t, y).sum(1),
    "softmax_cross_entropy": lambda y, t: F.cross_entropy(y, t, reduction="none"),
    "logistic_cross_entropy": lambda y, t: -(t * F.logsigmoid(y)).sum(1),
    "binary_cross_entropy": lambda y, t: F.binary_cross_entropy_with_logits(
        y, t, reduction="none"
    ).sum(1),
    "negative_log_likelihood": _log_sum,
}
PROBABILITIES = {"cross_entropy", "negative_log_likelihood"}
OPTIONS = {"huber": ", delta = 0.7"}


def programs(name, precision):
    """The program of a model whose output is x + b, before and after the passes."""
    model = checked(
        f"y = linear(x, {K}, weights = zero())\nz = slice(x, 0, {K}) + y",
        top=f"let k = {K}",
        loss=f"{name}(z, w{OPTIONS.get(name, '')})".replace("w", f"slice(x, {K}, {2 * K})", 1),
        train=f"precision = {precision}",
    )
    *_, (_, last) = ir_stages(model, backend="native", vector_bytes=32)
    return differentiate(lower(model)), last


def loss_and_gradient(program, y, t):
    """The losses of samples, and the gradient of their sum by y, from the bias of each sample."""
    dtype = getattr(np, program.precision)
    weights = {"y.weight": np.zeros((K, 2 * K), dtype), "y.bias": np.zeros(K, dtype)}
    losses, gradients = [], []
    for row, target in zip(y, t, strict=True):
        x = np.concatenate([row, target])[None].astype(dtype)
        given = {"parameters": weights, "x": x, "t": np.zeros(1, np.int32)}
        with np.errstate(all="ignore"):
            outcome = run(program, "gradients", **given).results
            losses.append(run(program, "evaluate", **given).results["loss"][0, 0])
        gradients.append(np.asarray(outcome["y.bias"]).ravel())
    return np.array(losses), np.array(gradients)


def data(name, rng, count=40):
    y = rng.normal(size=(count, K)) * 3
    t = rng.uniform(size=(count, K))
    if name == "softmax_cross_entropy" or name in PROBABILITIES:
        t = t / t.sum(1, keepdims=True)
    if name in PROBABILITIES:
        y = rng.uniform(0.05, 1, (count, K))
    return y.astype(np.float32).astype(float), t.astype(np.float32).astype(float)


def test_all_losses_are_here():
    assert set(prelude().losses) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_as_in_torch(name):
    y, t = data(name, np.random.default_rng(3))
    if name not in PROBABILITIES:
        # A kink, a tie and both zeros of the difference or the logits.
        y[0], t[0] = [0.0, -0.0, 0.7, -0.7], [0.0, 0.0, 0.0, 0.0]
    at = torch.tensor(y, requires_grad=True)
    expected = LOSSES[name](at, torch.tensor(t))
    expected.sum().backward()
    for program in programs(name, "float64"):
        losses, gradients = loss_and_gradient(program, y, t)
        np.testing.assert_allclose(losses, expected.detach(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(gradients, at.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_against_central_differences(name):
    """100 samples of 4 features, away from the kinks."""
    y, t = data(name, np.random.default_rng(4), 100)
    y += 0.01 * (np.abs(y - t) < 1e-3)
    program, _ = programs(name, "float64")
    _, gradients = loss_and_gradient(program, y, t)
    for feature in range(K):
        step = np.zeros(K)
        step[feature] = 1e-6
        high, _ = loss_and_gradient(program, y + step, t)
        low, _ = loss_and_gradient(program, y - step, t)
        np.testing.assert_allclose(gradients[:, feature], (high - low) / 2e-6, 1e-6, 1e-7)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_finite_where_the_true_value_is(name, precision):
    """Huge logits, and probabilities of 0 where the target has none."""
    huge = {"float32": 1e38, "float64": 5e307}[precision]
    root = huge**0.5 / 4
    far = np.array([huge, -huge, 0.0, 1.0])
    ends = {
        "squared_error": [([root, -root, 0, 0], [0, 0, 0, 0])],
        "mean_squared_error": [([root, -root, 0, 0], [0, 0, 0, 0])],
        "absolute_error": [(far, [0, 0, 0, 1])],
        "huber": [(far, [0, 0, 0, 1]), (-far, [0, 0, 0, 0])],
        "cross_entropy": [([0, 1, 0, 0], [0, 1, 0, 0]), ([0, 0.5, 0.5, 0], [0, 0, 1, 0])],
        "softmax_cross_entropy": [
            (3 * far, [1, 0, 0, 0]),
            (-3 * far, [0, 1, 0, 0]),
            ([1e3, -1e3, 0, 0], [0, 1, 0, 0]),
        ],
        "logistic_cross_entropy": [(far, [1, 0, 1, 1]), (-far, [0, 1, 0, 0]), (far, [0, 1, 0, 0])],
        "binary_cross_entropy": [(far, [1, 0, 1, 0]), (far, [0, 1, 0, 1]), (-far, [1, 0, 0, 0])],
        "negative_log_likelihood": [([0, 1, 0, 0], [0, 1, 0, 0])],
    }[name]
    y, t = (np.array([pair[side] for pair in ends], float) for side in (0, 1))
    for program in programs(name, precision):
        losses, gradients = loss_and_gradient(program, y, t)
        assert np.isfinite(losses).all()
        assert np.isfinite(gradients).all()


@pytest.mark.parametrize("logit", [-90.0, -20.0, -1e-8, 1e-8, 20.0, 90.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_cross_entropy_keeps_its_digits(logit, target):
    """A small loss and a small gradient are right to the last digits, not only beside 1."""
    y, t = np.full((1, K), logit), np.full((1, K), target)
    at = torch.tensor(y, requires_grad=True)
    signed = at * (1 - 2 * target)
    expected = torch.log1p(torch.exp(-signed.abs())) + signed.clamp(min=0)
    expected.sum().backward()
    right = torch.sigmoid(signed.detach()) * (1 - 2 * target)
    for program in programs("binary_cross_entropy", "float64"):
        losses, gradients = loss_and_gradient(program, y, t)
        np.testing.assert_allclose(losses, expected.detach().sum(1), rtol=1e-14)
        np.testing.assert_allclose(gradients, right, rtol=1e-12)
