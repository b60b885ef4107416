"""The optimizers of the prelude against torch.optim, 20 steps in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nerva_dsl

STEPS, RATE = 20, 0.01

OPTIMIZERS = {
    "sgd()": lambda p: torch.optim.SGD(p, lr=RATE),
    "gradient_descent()": lambda p: torch.optim.SGD(p, lr=RATE),
    "momentum(0.8)": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.8),
    "nesterov(0.8)": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.8, nesterov=True),
    "adam()": lambda p: torch.optim.Adam(p, lr=RATE),
    "adam(0.8, 0.95, 1e-3)": lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.8, 0.95), eps=1e-3),
    "adamw()": lambda p: torch.optim.AdamW(p, lr=RATE),
    "adamw(weight_decay = 0.3)": lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=0.3),
    "rmsprop()": lambda p: torch.optim.RMSprop(p, lr=RATE),
    "adagrad()": lambda p: torch.optim.Adagrad(p, lr=RATE),
}


@pytest.fixture(scope="module", params=["float64", "float32"])
def module(request, tmp_path_factory):
    """One model with a layer for each optimizer: the output is their sum."""
    layers = [
        f"h{place} = tanh(linear(x, 3, optimizer = {text}))"
        for place, text in enumerate(OPTIMIZERS)
    ]
    lines = [
        "model optimizers\ninput x : float32[5]\ntarget t : float32[3]",
        *layers,
        "y = " + " + ".join(f"h{place}" for place in range(len(layers))),
        "output = y\nloss = squared_error(y, t)",
        f"train {{ batch = 8; precision = {request.param}; learning_rate = {RATE} }}",
    ]
    path = tmp_path_factory.mktemp("optimizers") / "optimizers.nerva"
    path.write_text("\n".join(lines), encoding="utf-8")
    return nerva_dsl.compile(path, backend="native")


def test_twenty_steps(module):
    dtype = getattr(torch, module.SPEC["precision"])
    rng = np.random.default_rng(5)
    net = module.Model(seed=1)
    ours = {name: torch.tensor(p, dtype=dtype) for name, p in net.parameters().items()}
    for parameter in ours.values():
        parameter.requires_grad_()
    makers = list(OPTIMIZERS.values())
    optimizers = [
        make([ours[f"h{place}.weight"], ours[f"h{place}.bias"]])
        for place, make in enumerate(makers)
    ]
    for _ in range(STEPS):
        x = rng.normal(size=(8, 5)).astype(np.float32)
        t = rng.normal(size=(8, 3)).astype(np.float32)
        net.train_step(x, t)
        outputs = [
            torch.tanh(
                torch.nn.functional.linear(
                    torch.tensor(x, dtype=dtype), ours[f"h{place}.weight"], ours[f"h{place}.bias"]
                )
            )
            for place in range(len(makers))
        ]
        loss = ((sum(outputs) - torch.tensor(t, dtype=dtype)) ** 2).sum(1).mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    for name, value in net.parameters().items():
        place = int(name[1 : name.index(".")])
        np.testing.assert_allclose(
            value, ours[name].detach(), atol=tolerance, err_msg=list(OPTIMIZERS)[place]
        )


def test_first_step_of_adam_in_single_precision(tmp_path):
    """1 - 0.999^1 in single precision would be off by 5e-5, and the step by half of that."""
    path = tmp_path / "first.nerva"
    path.write_text(
        "model first\ninput x : float32[1]\ntarget t : float32[1]\n"
        "y = linear(x, 1, weights = zero())\noutput = y\nloss = squared_error(y, t)\n"
        "train { optimizer = adam(epsilon = 0.25); learning_rate = 1 }\n",
        encoding="utf-8",
    )
    net = nerva_dsl.compile(path, backend="native").Model(seed=1)
    one = np.ones((1, 1), np.float32)
    net.train_step(one, one)
    # The gradient is -2, so m / (1 - beta1) = -2 and √(v / (1 - beta2)) = 2.
    assert net.parameters()["y.weight"][0, 0] == pytest.approx(2 / 2.25, rel=1e-6)
