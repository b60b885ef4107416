"""Shipped models learn their tasks, from the data that `nervac train` gives them."""

from __future__ import annotations

import pytest

from nerva_dsl.check import check
from nerva_dsl.driver import explain
from nerva_dsl.runtime.data import load_data
from oracle import compiled

# Accuracy on the held-out fifth after the file's epochs; each reaches one or two hundredths more.
ACCURACIES = {
    "regularized": 0.97,
    "branches": 0.94,
    "residual_blocks": 0.96,
    "srelu": 0.94,
    "warmup": 0.95,
    "swish_lion": 0.95,
    "set": 0.91,
    "rigl": 0.95,
}


@pytest.mark.parametrize("name", ACCURACIES)
def test_digits_are_learned(name, models):
    module = compiled(check(models / f"{name}.nerva", {}).model, "float32")
    data = load_data("digits", module.SPEC, seed=1)
    net = module.Model()
    history = net.fit(data.X_train, data.t_train)
    assert net.evaluate(data.X_test, data.t_test)["accuracy"] >= ACCURACIES[name]
    assert history.loss[-1] < 0.3 * history.loss[0]


def test_the_progression_of_diabetes_is_learned(models):
    """The held-out error is near that of a linear model, and far from that of the mean."""
    from sklearn.linear_model import HuberRegressor

    module = compiled(check(models / "regression.nerva", {}).model, "float32")
    data = load_data(None, module.SPEC, seed=1)
    net = module.Model()
    net.fit(data.X_train, data.t_train)
    linear = HuberRegressor(max_iter=1000).fit(21 * data.X_train, data.t_train[:, 0])
    expected = abs(linear.predict(21 * data.X_test) - data.t_test[:, 0]).mean()
    mean = abs(data.t_train.mean() - data.t_test).mean()
    error = net.evaluate(data.X_test, data.t_test)["error"]
    assert error <= 1.08 * expected
    assert error <= 0.8 * mean


def test_an_optimizer_of_ones_own_is_one_fused_kernel_for_each_weight(models):
    """The gradient of each weight is made and used in the same kernel, never stored."""
    operations = explain(models / "swish_lion.nerva", backend="native").operations
    kernels = {name: part.kernel for part in operations for name in part.name.split(", ")}
    weights = {name: kernel for name, kernel in kernels.items() if "weight" in name}
    # Blocked or not is the cost model's choice for the machine at hand.
    assert {name: kernel.removesuffix("_blocked") for name, kernel in weights.items()} == {
        "h1.weight": "sddmm",
        "h2.weight": "sddmm",
        "y.weight": "gemm_gradient",
    }
