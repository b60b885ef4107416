"""Regrowth in compiled code: exact choices, compared with NumPy, on layers of many shapes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from regrowing import (
    GROWING,
    compiled,
    contents,
    data,
    dense_gradients,
    drawn,
    empty,
    grown_stream,
    largest,
    new_values,
    positions,
    removed,
    text,
)

from nerva_dsl.check import check_source
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir import interpret
from nerva_dsl.machine import Machine
from nerva_dsl.source import Source

PRUNING = [("magnitude", 0.3), ("set", 0.45), ("threshold", 0.02), ("magnitude", 0.02)]


@pytest.fixture(scope="module")
def models():
    return compiled()


def trained(model, **options):
    """A model after some steps, of whose weights many are equal in size and some are zero."""
    net = model(seed=3, **options)
    X, t = data(20)
    for _ in range(3):
        net.train_step(X, t)
    rounded = {}
    for name in GROWING:
        value = net.parameters()[name]
        value.data = np.round(value.data, 2)
        rounded[name] = value
    net.set_parameters(rounded)
    return net


def regrown(net, *arguments, **named):
    """What each growing weight holds before and after a regrowth."""
    before = {name: contents(net, name) for name in GROWING}
    moved = net.regrow(*arguments, **named)
    return moved, [(name, before[name], contents(net, name)) for name in GROWING]


def assert_regrown(net, name, before, after, gone, grown):
    """Survivors stay with their state, the others are where they should be, and new."""
    columns = net.parameters()[name].shape[1]
    old, now = positions(before, columns), positions(after, columns)
    assert (np.diff(now) > 0).all()
    np.testing.assert_array_equal(now, np.sort(np.concatenate((old[~gone], grown))))
    stays = np.isin(now, old[~gone])
    np.testing.assert_array_equal(after.value[stays], before.value[~gone])
    for state, earlier in zip(after.states, before.states, strict=True):
        np.testing.assert_array_equal(state[stays], earlier[~gone])
        assert not state[~stays].any()


def assert_largest_grow(net, layers, gradients, prune, amount):
    """The smallest weights go, and of the empty positions those of the largest gradients grow."""
    for name, before, after in layers:
        gradient = gradients[name]
        empties = empty(positions(before, gradient.shape[1]), gradient.size)
        gone = removed(before.value, prune, amount, len(empties))
        grown = largest(gradient.ravel(), empties, gone.sum())
        assert_regrown(net, name, before, after, gone, grown)


@pytest.mark.parametrize("variant", ["float32", "float64"])
@pytest.mark.parametrize(("prune", "amount"), PRUNING)
def test_random_growth(models, variant, prune, amount):
    """Positions and first values are those of the stream of seed, weight and round."""
    net = trained(models[variant])
    moved, layers = regrown(net, f"{prune}({amount})", "random()")
    for name, before, after in layers:
        shape = net.parameters()[name].shape
        old = positions(before, shape[1])
        empties = empty(old, shape[0] * shape[1])
        gone = removed(before.value, prune, amount, len(empties))
        grown = drawn(grown_stream(net, name, 0), empties, gone.sum())
        assert moved[name] == gone.sum()
        assert_regrown(net, name, before, after, gone, grown)
        fresh = np.isin(positions(after, shape[1]), grown)
        expected = new_values(net, name, gone.sum(), 0)
        np.testing.assert_allclose(after.value[fresh], expected, rtol=1e-6)
    assert sum(moved.values()) > 0


@pytest.mark.parametrize("variant", ["float32", "float64"])
@pytest.mark.parametrize(("prune", "amount"), PRUNING)
def test_growth_by_the_gradient(models, variant, prune, amount):
    net = trained(models[variant])
    X, t = data(20, seed=1)
    X[:, :9] = 0  # columns without a gradient: many ties
    gradients = dense_gradients(net, X, t)
    _, layers = regrown(net, f"{prune}({amount})", "gradient()", X=X, t=t)
    assert_largest_grow(net, layers, gradients, prune, amount)


def test_growth_where_most_gradients_are_equal(models):
    """All are zero but a few: the first positions grow."""
    net = models["float32"](seed=3)
    X, t = np.zeros((20, 600), np.float32), data(20)[1]
    X[:, 590] = 1
    gradients = dense_gradients(net, X, t)
    _, layers = regrown(net, "magnitude(0.5)", "gradient()", X=X, t=t)
    assert_largest_grow(net, layers, gradients, "magnitude", 0.5)


def test_growth_where_large_gradients_are_together(models):
    """All that are not zero are where the first sample is taken: what it promises is not there."""
    net = models["float32"](seed=3)
    weight = net.parameters()["small.weight"]
    weight.data[weight.indices >= 48] = 0
    net.set_parameters({"small.weight": weight})
    X, t = np.zeros((20, 600), np.float32), data(20)[1]
    X[:, :6] = np.random.default_rng(0).normal(size=(20, 6))
    gradients = dense_gradients(net, X, t)
    assert 96 < np.count_nonzero(gradients["big.weight"]) <= 48 * 6
    _, layers = regrown(net, "magnitude(0.3)", "gradient()", X=X, t=t)
    assert_largest_grow(net, layers, gradients, "magnitude", 0.3)


@pytest.mark.parametrize("variant", ["float32", "float64"])
def test_dense_gradients_are_those_of_the_interpreter(models, variant):
    """And rows of them are the same bits."""
    net = trained(models[variant])
    X, t = data(17, seed=1)
    model = check_source(Source("changing.nerva", text()), {}).model
    *_, (_, program) = ir_stages(model, backend="native", machine=Machine(32))
    given = {name: value for name, value in net.parameters().items() if "average" not in name}
    outcome = interpret.run(program, "growth", parameters=given, x=X, t=t)
    gradients = dense_gradients(net, X, t)
    for name in GROWING:
        expected = outcome.results[name]
        np.testing.assert_allclose(
            gradients[name], expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )
        stored = net.gradients(X, t)[name].tocoo()
        at = gradients[name][stored.coords]
        np.testing.assert_allclose(at, stored.data, rtol=0, atol=1e-5 * np.abs(at).max())

    def rows(name, weights, gradient):
        last = weights.shape[0] // 2 + 1
        np.testing.assert_array_equal(gradient(1, last), gradients[name][1:last])
        return weights

    net.regrow(rule=rows, X=X, t=t)


def test_growth_by_an_average_of_the_gradient(models):
    """At sampled positions it follows the gradients of all steps; the largest ones grow."""
    net = models["float32"](seed=3)
    expected = dict.fromkeys(GROWING, 0)
    for step in range(4):
        X, t = data(20, seed=step)
        for name, gradient in dense_gradients(net, X, t).items():
            expected[name] = 0.9 * expected[name] + 0.1 * gradient
        net.train_step(X, t)
    averages = {name: net.parameters()[f"{name}.average"] for name in GROWING}
    _, layers = regrown(net, "magnitude(0.3)", "momentum()")
    for name, before, after in layers:
        average = averages[name]
        rows, columns = average.shape
        at = positions(contents_of(average), columns)
        tolerance = 1e-5 * np.abs(expected[name]).max()
        np.testing.assert_allclose(average.data, expected[name].ravel()[at], rtol=0, atol=tolerance)
        assert not np.isin(at, positions(before, columns)).any()
        gone = removed(before.value, "magnitude", 0.3, len(at))
        grown = at[np.argsort(-np.abs(average.data), kind="stable")[: gone.sum()]]
        assert_regrown(net, name, before, after, gone, np.sort(grown))
        again = net.parameters()[f"{name}.average"]
        assert not again.data.any()
        assert again.nnz == min(before.value.size, rows * columns - before.value.size)
        now = positions(after, columns)
        assert not np.isin(positions(contents_of(again), columns), now).any()


def contents_of(array):
    """A CSR array with the names of `Contents`."""
    return type("Pattern", (), {"row_start": array.indptr, "column": array.indices})


@pytest.mark.parametrize("grow", ["random()", "gradient()", "momentum()"])
def test_any_number_of_threads(models, grow):
    X, t = data(20)
    results = []
    for threads in (1, 2, 3):
        net = trained(models["float32"], threads=threads)
        net.regrow("set(0.4)", grow, X=X, t=t)
        net.train_step(X, t)
        results.append(net.parameters())
    for other in results[1:]:
        for name, value in results[0].items():
            same = (
                value.toarray() == other[name].toarray()
                if sp.issparse(value)
                else (value == other[name])
            )
            assert np.all(same), name


@pytest.mark.parametrize("variant", ["float32", "epochs"])
def test_derived_indices_follow(models, variant):
    """After a regrowth the model computes what PyTorch does with its parameters."""
    import torch

    net = models[variant](seed=2)
    X, t = data(20)
    net.regrow("magnitude(0.4)", "random()")
    tensors = {
        name: torch.tensor(
            value.toarray() if sp.issparse(value) else value,
            dtype=torch.float64,
            requires_grad=True,
        )
        for name, value in net.parameters().items()
    }

    def linear(name, x):
        bias = tensors.get(f"{name}.bias", torch.zeros(()))
        return x @ tensors[f"{name}.weight"].T + bias

    x = torch.tensor(X, dtype=torch.float64)
    small = torch.tanh(linear("small", torch.tanh(linear("big", x))))
    parts = [torch.tanh(linear(name, small)) for name in ("full", "fixed")]
    y = linear("y", torch.cat([*parts, torch.tanh(linear("thin", x))], 1))
    torch.nn.functional.cross_entropy(y, torch.tensor(t)).backward()
    for name, gradient in net.gradients(X, t).items():
        expected = tensors[name].grad.numpy()
        found = gradient.tocoo().data if sp.issparse(gradient) else gradient
        at = expected[gradient.tocoo().coords] if sp.issparse(gradient) else expected
        np.testing.assert_allclose(found, at, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_random_growth_is_uniform(models):
    """Chi-square over 10^5 new positions of `small`, the same empty ones each time."""
    net = models["epochs"](seed=11)
    start = net.parameters()["small.weight"]
    rows, columns = start.shape
    empties = empty(positions(contents_of(start), columns), rows * columns)
    counts = np.zeros(rows * columns)
    each = round(0.3 * start.nnz)
    trials = -(-100_000 // each)
    for _ in range(trials):
        net.set_parameters({"small.weight": start})
        net.regrow("magnitude(0.3)", "random()")
        counts[positions(contents(net, "small.weight"), columns)] += 1
    grown = counts[empties]
    assert grown.sum() == trials * each
    expected = trials * each / len(empties)
    # Without replacement, counts vary less than those of independent draws.
    statistic = ((grown - expected) ** 2 / expected).sum() / (1 - (each - 1) / (len(empties) - 1))
    from scipy.stats import chi2

    assert 0.001 < chi2.sf(statistic, len(empties) - 1) < 0.999


def test_other_layers_stay(models):
    net = trained(models["float32"])
    before = net.parameters()
    net.regrow("set(0.3)", "random()")
    after = net.parameters()
    assert (before["fixed.weight"] != after["fixed.weight"]).nnz == 0
    np.testing.assert_array_equal(before["y.weight"], after["y.weight"])
    assert net.nnz == {
        name: value.nnz if sp.issparse(value) else value.size
        for name, value in before.items()
        if name.endswith(".weight")
    } | {"total": net.nnz["total"]}
