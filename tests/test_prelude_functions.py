"""The functions of the prelude against central differences, PyTorch and mpmath; and their C."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checking import checked

from nerva_dsl.check.prelude import prelude
from nerva_dsl.driver import emit_model
from nerva_dsl.scalar import Number, Var, apply, substitute, without_stated
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.evaluate import evaluate
from nerva_dsl.scalar.simplify import simplify
from nerva_dsl.scalar.text import to_text

OPTIONS = {
    "leaky_relu": {"alpha": 0.2},
    "all_relu": {"alpha": -0.6},
    "srelu": {"al": 0.3, "tl": -1.5, "ar": -0.4, "tr": 2.0},
    "trelu": {"epsilon": 0.5},
    "elu": {"alpha": 1.7},
}
KINKS = {"srelu": (-1.5, 2.0), "trelu": (0.5,), "hard_tanh": (-1.0, 1.0)}
TORCH = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "all_relu": lambda x: F.leaky_relu(x, -0.6),
    "srelu": lambda x: torch.where(
        x <= -1.5, -1.5 + 0.3 * (x + 1.5), torch.where(x < 2, x, 2 - 0.4 * (x - 2))
    ),
    "trelu": lambda x: torch.where(x < 0.5, 0 * x, x),
    "sigmoid": torch.sigmoid,
    "hard_tanh": F.hardtanh,
    "softplus": lambda x: F.softplus(x, threshold=40),
    "silu": F.silu,
    "gelu": F.gelu,
    "elu": lambda x: F.elu(x, 1.7),
}
EXACT = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "elu": lambda x: x if x > 0 else 1.7 * mpmath.expm1(x),
    "relu": lambda x: max(x, mpmath.mpf(0)),
}
PRELUDE = prelude().functions


def body_of(name):
    """The expression of a function, with numbers for its options."""
    given = {key: Number(value) for key, value in OPTIONS.get(name, {}).items()}
    return substitute(PRELUDE[name].body, given)


def slopes(name):
    """The derivative, as differentiated and as compiled."""
    slope = derivative(body_of(name), "x")
    return slope, simplify(without_stated(slope))


def test_all_functions_are_here():
    assert set(PRELUDE) == set(TORCH)


@pytest.mark.parametrize("name", TORCH)
def test_values_and_derivatives_as_in_torch(name):
    """At the kinks and at both zeros too."""
    x = np.concatenate([np.linspace(-30, 30, 601), [0.0, -0.0], KINKS.get(name, ())])
    at = torch.tensor(x, requires_grad=True)
    expected = TORCH[name](at)
    expected.sum().backward()
    value = evaluate(body_of(name), {"x": x}, np.float64)
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-12, atol=1e-14)
    for slope in slopes(name):
        found = np.broadcast_to(evaluate(slope, {"x": x}, np.float64), x.shape)
        np.testing.assert_allclose(found, at.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", TORCH)
def test_derivatives_against_central_differences(name):
    x = np.random.default_rng(7).uniform(-8, 8, 10_000)
    step = 1e-5
    kinks = (0.0, *KINKS.get(name, ()))
    x = x[np.min([np.abs(x - kink) for kink in kinks], axis=0) > 2 * step]
    high, low = (evaluate(body_of(name), {"x": x + h}, np.float64) for h in (step, -step))
    for slope in slopes(name):
        found = evaluate(slope, {"x": x}, np.float64)
        np.testing.assert_allclose(found + 0 * x, (high - low) / (2 * step), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", TORCH)
def test_finite_everywhere(name, precision):
    largest = float(np.finfo(precision).max)
    ends = [1e-300, 1e-40, 1e-20, 1e-3, 1, 20, 88, 89, 100, 710, 1e4, 1e20, 1e38, largest]
    x = np.array([sign * end for end in ends for sign in (1, -1)] + [0.0, -0.0]).astype(precision)
    if name == "srelu":  # its largest values are no numbers of the precision's range
        x = x[np.abs(x) < largest]
    for expression in (body_of(name), *slopes(name)):
        assert np.all(np.isfinite(evaluate(expression, {"x": x}, precision)))


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_values_and_derivatives_against_mpmath(name, precision):
    epsilon = float(np.finfo(precision).eps)
    x = np.array([s * v for v in (1e-30, 1e-8, 0.1, 3, 17, 40, 85, 1e3, 1e30) for s in (1, -1)])
    x = x.astype(precision)
    value = evaluate(body_of(name), {"x": x}, precision)
    (_, compiled) = slopes(name)
    slope = np.broadcast_to(evaluate(compiled, {"x": x}, precision), x.shape)
    with mpmath.workdps(60):
        for place, at in enumerate(map(float, x)):
            exact = float(EXACT[name](mpmath.mpf(at)))
            # What is 0 up to rounding beside 1, or is flushed to 0, need not have right digits.
            atol = 40 * epsilon * min(1, abs(at))
            assert value[place] == pytest.approx(exact, rel=8 * epsilon, abs=atol)
            if abs(at) < 100:
                right = float(mpmath.diff(EXACT[name], mpmath.mpf(at), h=mpmath.mpf(10) ** -38))
                assert slope[place] == pytest.approx(right, rel=40 * epsilon, abs=40 * epsilon)


CALLS = {
    "sigmoid(@)": {"exp": 1},
    "tanh(@)": {"tanh": 1},
    "softplus(@)": {"exp": 1, "log1p": 1},
    "silu(@)": {"exp": 1},
    "gelu(@)": {"exp": 1, "erf": 1},
    "elu(@)": {"expm1": 1},
    "relu(@)": {},
    "hard_tanh(@)": {},
    "srelu(@)": {},
}


@pytest.mark.parametrize("text", CALLS)
def test_calls_in_a_step(text):
    """Nothing is computed again in the backward pass: each function is called once in a step."""
    model = checked(
        f"h = {text.replace('@', 'linear(x, 64)')}\ny = linear(h, 3)", loss="squared_error(y, t)"
    )
    source = emit_model(model, backend="native").c_source
    step = source[source.index("static void step(") :]
    step = step[: step.index("\n}\n", step.index("static void step_update("))]
    kernels = {
        match[1]: match[0]
        for match in re.finditer(r"^KERNEL (\w+)\(.*?^}$", source, flags=re.MULTILINE | re.DOTALL)
    }
    called = re.findall(r"^ +(\w+)\(", step, re.MULTILINE)
    bodies = [kernels[name] for name in called if name in kernels]
    assert bodies
    calls = re.findall(r"\b(exp|expm1|log|log1p|tanh|erf)(?:f|_float)?\(", "\n".join(bodies))
    assert {name: calls.count(name) for name in calls} == CALLS[text]


def test_a_stated_derivative_is_used():
    top = (
        "function straight(x; k = 1) = if x > 0 then k else 0 "
        "derivative if abs(x) < k then 1 else 0"
    )
    model = checked("y = straight(linear(x, 3), k = 2)", top=top)
    expression = model.output.expression
    x = np.array([-3.0, -1.0, 0.5, 5.0])
    slope = derivative(expression, "a0")
    assert evaluate(slope, {"a0": x}, np.float64).tolist() == [0, 1, 1, 0]
    assert evaluate(expression, {"a0": x}, np.float64).tolist() == [0, 0, 2, 2]


def test_a_stated_derivative_through_others():
    """By the chain rule through its argument, symbolically by what it learns."""
    stated = apply("stated", apply("mul", Var("k"), Var("x")), Var("x"), Number(7.0))
    inside = substitute(stated, {"x": apply("mul", Var("z"), Var("z"))})
    assert derivative(inside, "z") == simplify(
        apply("mul", Number(7.0), apply("add", Var("z"), Var("z")))
    )
    assert derivative(inside, "k") == apply("mul", Var("z"), Var("z"))
    flat = substitute(stated, {"x": apply("floor", Var("z"))})
    assert derivative(flat, "z") == Number(0.0)


def test_nested_stated_derivatives_stay_small():
    top = "function once(x) = 1 / (1 + exp(-x)) derivative y * (1 - y)\n"
    names = ["once"]
    for depth in range(40):
        top += f"function nested{depth}(x) = once({names[-1]}(x)) derivative y * (1 - y) * x\n"
        names.append(f"nested{depth}")
    expression = checked(f"y = {names[-1]}(linear(x, 3))", top=top).output.expression
    slope = derivative(expression, "a0")
    assert np.isfinite(evaluate(slope, {"a0": np.ones(1)}, np.float64)).all()


def test_a_stated_derivative_around_another_repeats_no_text():
    """The IR is text, in which nothing is shared."""
    size = {}
    for depth in (2, 4, 8):
        nested = "x"
        for _ in range(depth):
            nested = f"sigmoid({nested})"
        model = checked("y = deep(linear(x, 3))", top=f"function deep(x) = {nested}")
        size[depth] = len(to_text(model.output.expression))
    assert size[8] < 8 * size[4] < 64 * size[2]
    expression = model.output.expression
    slope = evaluate(derivative(expression, "a0"), {"a0": np.float64(0.3)}, np.float64)
    z = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    y = z
    for _ in range(depth):
        y = torch.sigmoid(y)
    y.backward()
    assert slope == pytest.approx(z.grad.item(), rel=1e-12)
