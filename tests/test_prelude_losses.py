"""The losses of the prelude: values and gradients against PyTorch and differences, and extremes."""

from __future__ import annotations

from functools import cache

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nerva_dsl.check import check_source
from nerva_dsl.check.prelude import prelude
from nerva_dsl.differentiate import differentiate
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir.interpret import run
from nerva_dsl.lower import lower
from nerva_dsl.machine import Machine
from nerva_dsl.source import Source

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


@cache
def programs(name, precision, count):
    """Of a model whose output is the input plus a row of its own for each of so many samples.

    The program before the passes, and after them.
    """
    wide = 2 * K + count
    own = f"linear(slice(x, {2 * K}, {wide}), {K}, weights = zero(), bias = false)"
    loss = f"{name}(z, w{OPTIONS.get(name, '')})".replace("w", f"slice(x, {K}, {2 * K})", 1)
    text = (
        f"model losses\ninput x : float32[{wide}]\ntarget t : class[3]\n"
        f"z = slice(x, 0, {K}) + {own}\noutput = z\nloss = {loss}\n"
        f"train {{\n precision = {precision}\n}}\n"
    )
    model = check_source(Source("losses.nerva", text)).model
    *_, (_, last) = ir_stages(model, backend="native", machine=Machine(32))
    return differentiate(lower(model)), last


def loss_and_gradient(program, y, t):
    """The losses of samples and their gradients by y: those of each sample's own row."""
    dtype, count = getattr(np, program.precision), len(y)
    (weight,) = (parameter.value.name for parameter in program.parameters)
    given = {
        "parameters": {weight: np.zeros((K, count), dtype)},
        "x": np.concatenate([y, t, np.eye(count)], axis=1).astype(dtype),
        "t": np.zeros(count, np.int32),
    }
    with np.errstate(all="ignore"):
        gradient = run(program, "gradients", **given).results[weight]
        losses = run(program, "evaluate", **given).results["loss"][0]
    return losses, count * np.asarray(gradient).T


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
    for program in programs(name, "float64", len(y)):
        losses, gradients = loss_and_gradient(program, y, t)
        np.testing.assert_allclose(losses, expected.detach(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(gradients, at.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_against_central_differences(name):
    """10,000 points, 2,500 samples of 4 features, away from the kinks."""
    y, t = data(name, np.random.default_rng(4), 2500)
    y += 0.01 * (np.abs(y - t) < 1e-3)
    program, _ = programs(name, "float64", len(y))
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
    for program in programs(name, precision, len(y)):
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
    for program in programs("binary_cross_entropy", "float64", len(y)):
        losses, gradients = loss_and_gradient(program, y, t)
        np.testing.assert_allclose(losses, expected.detach().sum(1), rtol=1e-14)
        np.testing.assert_allclose(gradients, right, rtol=1e-12)


def _log_sigmoid(x):
    return -mpmath.log1p(mpmath.exp(-x)) if x > -1000 else x


def _softmax_cross_entropy(y, t):
    top = max(y)
    total = top + mpmath.log(mpmath.fsum(mpmath.exp(x - top) for x in y))
    return mpmath.fsum(b * (total - a) for a, b in zip(y, t, strict=True))


def _each(function):
    return lambda y, t: mpmath.fsum(function(a, b) for a, b in zip(y, t, strict=True))


EXACT = {
    "squared_error": _each(lambda y, t: (y - t) ** 2),
    "mean_squared_error": lambda y, t: EXACT["squared_error"](y, t) / K,
    "absolute_error": _each(lambda y, t: abs(y - t)),
    "huber": _each(
        lambda y, t: (
            (y - t) ** 2 / 2
            if abs(y - t) < 0.7
            else mpmath.mpf(0.7) * (abs(y - t) - mpmath.mpf(0.7) / 2)
        )
    ),
    "cross_entropy": _each(lambda y, t: -t * mpmath.log(y) if t else mpmath.mpf(0)),
    "softmax_cross_entropy": _softmax_cross_entropy,
    "logistic_cross_entropy": _each(lambda y, t: -t * _log_sigmoid(y)),
    "binary_cross_entropy": _each(lambda y, t: -(t * _log_sigmoid(y) + (1 - t) * _log_sigmoid(-y))),
    "negative_log_likelihood": lambda y, t: (
        -mpmath.log(mpmath.fsum(a * b for a, b in zip(y, t, strict=True)))
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_of_tiny_and_huge_arguments(name):
    """Against mpmath with 60 digits, over 300 orders of magnitude."""
    rng = np.random.default_rng(8)
    count = 200
    sizes = 10.0 ** rng.uniform(-150, 150 if "squared" in name else 300, (count, K))
    y = sizes * rng.choice([-1, 1], (count, K))
    t = np.eye(K)[rng.integers(0, K, count)]
    if name in PROBABILITIES:
        y = 10.0 ** rng.uniform(-300, 0, (count, K))
    with mpmath.workdps(60):
        exact = [
            float(EXACT[name]([*map(mpmath.mpf, a)], [*map(mpmath.mpf, b)]))
            for a, b in zip(y.tolist(), t.tolist(), strict=True)
        ]
    for program in programs(name, "float64", count):
        losses, _ = loss_and_gradient(program, y, t)
        np.testing.assert_allclose(losses, exact, rtol=1e-12, atol=1e-15)
