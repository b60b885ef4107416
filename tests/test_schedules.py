"""Schedules, their arithmetic and products, against PyTorch and closed formulas."""

from __future__ import annotations

import ctypes
import math
import subprocess

import numpy as np
import pytest
import torch
from checking import checked
from torch.optim import lr_scheduler

import nerva_dsl
from nerva_dsl.driver import emit_model
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.ir.parse import parse_program
from nerva_dsl.ir.text import print_program
from nerva_dsl.lower import lower
from nerva_dsl.scalar.evaluate import evaluate
from oracle import dense

EPOCHS = 12


def rates(text, *, top="", epochs=EPOCHS, step=1):
    """The learning rate of each epoch, by the scalar evaluation."""
    schedule = checked(top=top, train=f"learning_rate = {text}\nepochs = {epochs}").schedule
    operands = {"epochs": np.float64(epochs), "step": np.float64(step)}
    return [
        float(evaluate(schedule, {**operands, "epoch": np.float64(epoch)}, np.float64))
        for epoch in range(epochs)
    ]


def torch_rates(make, lr):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(EPOCHS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("constant(0.3)", lambda o: lr_scheduler.ConstantLR(o, factor=1)),
        ("multistep(0.3, [2, 5, 6])", lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 6])),
        (
            "multistep(0.3, milestones = [4], gamma = 0.5)",
            lambda o: lr_scheduler.MultiStepLR(o, [4], 0.5),
        ),
        ("exponential(0.3, 0.2)", lambda o: lr_scheduler.ExponentialLR(o, math.exp(-0.2))),
        ("cosine(0.3)", lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS - 1)),
        ("cosine(0.3, 0.1)", lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS - 1, 0.1)),
        (
            "0.3 * warmup(5)",
            lambda o: lr_scheduler.LambdaLR(o, lambda epoch: min((epoch + 1) / 5, 1)),
        ),
    ],
)
def test_as_in_torch(text, make):
    np.testing.assert_allclose(rates(text), torch_rates(make, 0.3), rtol=1e-12, atol=1e-16)


def test_time_based_is_the_recurrence():
    rate, expected = 0.5, []
    for epoch in range(EPOCHS):
        rate /= 1 + 0.07 * epoch
        expected.append(rate)
    np.testing.assert_allclose(rates("time_based(0.5, 0.07)"), expected, rtol=1e-12)


def test_step_based():
    expected = [0.5 * 0.7 ** ((1 + epoch) // 3) for epoch in range(EPOCHS)]
    np.testing.assert_allclose(rates("step_based(0.5, 0.7, 3)"), expected, rtol=1e-12)


def test_cosine_of_one_epoch_begins_at_its_rate():
    assert rates("cosine(0.3, 0.1)", epochs=1) == [pytest.approx(0.3)]


def test_arithmetic():
    first, second = rates("warmup(5)"), rates("cosine(0.1)")
    np.testing.assert_allclose(
        rates("0.5 * warmup(5) * cosine(0.1) + 0.01", top="param half = 0.5"),
        [0.5 * a * b + 0.01 for a, b in zip(first, second, strict=True)],
    )
    assert rates("min(warmup(5), half) - 0.1", top="param half = 0.5")[:3] == pytest.approx(
        [0.1, 0.3, 0.4]
    )
    assert rates("constant(1) / 4 - -sqrt(4)") == [2.25] * EPOCHS


PRODUCTS = """
schedule factorial(epoch; scale) = scale * product(i in 1 .. epoch, i)
schedule nested(epoch) = product(i in 2 .. epoch - 1, product(j in i .. epochs - 4, i / (j + step)))
schedule shadowed(epoch) = product(epoch in 1 .. 3, 2 * epoch) + epoch
schedule vanishing(epoch; top) = product(i in 0 .. top * epoch, if i > 3 then 0 else 0.5)
"""


def expected_products(epoch, epochs, step):
    nested = math.prod(i / (j + step) for i in range(2, epoch) for j in range(i, int(epochs) - 3))
    vanishing = 0.5 if epoch == 0 else 0.0
    return math.factorial(epoch) * 0.25 + nested + 48 + epoch + vanishing


SUM = "factorial(0.25) + nested() + shadowed() + vanishing(1e9)"


def test_products():
    found = rates(SUM, top=PRODUCTS, step=3)
    assert found == pytest.approx([expected_products(e, EPOCHS, 3) for e in range(EPOCHS)])


def test_products_as_text_and_c(tmp_path):
    model = checked(top=PRODUCTS, train=f"learning_rate = {SUM} + time_based(1, 0.1)")
    program = lower(model)
    assert parse_program(print_program(program)) == program
    text = emit_model(model, backend="native").c_source
    begin = text.index("static double product_1")
    source = tmp_path / "schedule.c"
    source.write_text(
        "#include <math.h>\n" + text[begin : text.index("/* The learning rate of the step")],
        encoding="utf-8",
    )
    library = tmp_path / "schedule.so"
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-shared"]
    subprocess.run([*command, "-fPIC", str(source), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).nerva_learning_rate
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * 3
    for epoch in range(EPOCHS):
        decay = math.prod(1 / (1 + 0.1 * i) for i in range(1, epoch + 1))
        assert function(epoch, EPOCHS, 3) == pytest.approx(
            expected_products(epoch, EPOCHS, 3) + decay
        )
    # The product is 0 after some hundred factors, and then the loop is left.
    assert function(0, EPOCHS, 3) == pytest.approx(expected_products(0, EPOCHS, 3) + 1)


ENDLESS = """
schedule endless(epoch; top) = 0.1 * product(i in 1 .. top * epoch, 1)
"""


def test_a_product_that_does_not_end_is_not_a_number(monkeypatch):
    monkeypatch.setattr("nerva_dsl.scalar.evaluate.MAX_FACTORS", 1000)
    found = rates("endless(1001)", top=ENDLESS)
    assert found[0] == 0.1
    assert np.isnan(found[1])


@pytest.mark.parametrize("bounds", ["1 .. 1e12", "0 - 1e12 .. 0", "1 .. 1000001"])
def test_a_product_of_too_many_factors(bounds):
    with pytest.raises(DiagnosticError) as caught:
        checked(
            top=f"schedule long(epoch) = product(i in {bounds}, 1)", train="learning_rate = long()"
        )
    assert [problem.code for problem in caught.value.diagnostics] == ["N0301"]


def test_bounds_beyond_exact_numbers_have_an_end():
    top = "schedule far(epoch) = 1e-60 * product(i in 1e16 .. 1e16 + 4, i)"
    assert rates("far()", top=top)[0] == pytest.approx(1e20)


@pytest.mark.parametrize("text", ["0.1 / epoch", "endless(1e7)"])
def test_a_rate_that_is_not_finite_changes_nothing(tmp_path, text):
    (tmp_path / "rate.nerva").write_text(
        f"""model rate
input x : float32[4]
target t : class[3]
{ENDLESS}
schedule falling(epoch) = 0.1 / epoch
sparsity = erdos_renyi(0.5)
y = linear(x, 3)
output = y
loss = softmax_cross_entropy(y, t)
train {{ batch = 2; learning_rate = {"falling()" if "/" in text else text} }}
""",
        encoding="utf-8",
    )
    net = nerva_dsl.compile(tmp_path / "rate.nerva", backend="native").Model()
    X, t = np.ones((4, 4), np.float32), np.array([0, 1, 2, 0])
    if "endless" in text:
        net.train_epoch(X, t)
    before = net.parameters()
    with pytest.raises(FloatingPointError, match=r"the learning rate is (inf|nan) in epoch"):
        net.train_epoch(X, t)
    for name, value in net.parameters().items():
        assert np.array_equal(dense(value), dense(before[name]))
