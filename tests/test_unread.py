"""Features of a batch of bytes that no weight reads: they are not gathered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from nerva_dsl.check import check_source
from nerva_dsl.driver import emit_model
from nerva_dsl.machine import Machine
from nerva_dsl.record import replace
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.source import Source
from oracle import assert_interpreter_agrees, dense, observe, programs

FEATURES, BATCH = 1003, 37
TEXT = """model few
input  x : {element}[1003]
target t : class[3]
scaled = {scaled}
h = relu(linear(scaled, 20, density = {density}))
g = tanh(linear(scaled, 10, density = 0.004))
y = linear({read}, 3)
output = y
loss   = softmax_cross_entropy(y, t)
train {{ batch = 37; optimizer = nesterov(momentum = 0.9) }}
{regrow}"""


def model_of(
    scaled="x / 255", element="uint8", density=0.004, read="concat(h, g)", regrow="", **changes
):
    text = TEXT.format(scaled=scaled, element=element, density=density, read=read, regrow=regrow)
    checked = check_source(Source("few.nerva", text), {})
    assert checked.model is not None, checked
    return replace(checked.model, **changes)


def generated(model, backend="native", vector_bytes=32):
    # With a cache that holds hardly anything, bytes pay.
    machine = Machine(vector_bytes, 1 << 14, near=1.0, pick=0.0, non_zero=0.0, row=0.0)
    return emit_model(model, backend=backend, machine=machine, target="native")


def compiled(model, **how):
    return load_module(build(generated(model, **how), resolve_target("native")))


def data(samples=BATCH, seed=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (samples, FEATURES), np.uint8), rng.integers(0, 3, samples)


@pytest.mark.parametrize(
    ("vector_bytes", "precision", "scaled", "kernel"),
    [
        (16, "float32", "x / 255", "gather_bytes"),
        (64, "float32", "x / 255", "gather_bytes"),
        (16, "float64", "tanh(x / 255)", "gather"),
        (64, "float32", "tanh(x / 255)", "gather"),
    ],
)
def test_results_are_the_interpreters(vector_bytes, precision, scaled, kernel):
    model = model_of(scaled, precision=precision)
    text = generated(model, vector_bytes=vector_bytes)
    assert f"KERNEL {kernel}" in text.c_source
    assert "mark_read(model)" in text.c_source
    module = load_module(build(text, resolve_target("native")))
    seen = observe(module.Model, module.Model(seed=1), *data())
    stage, program = next(programs(model, precision))
    assert_interpreter_agrees(program, seen, precision, stage)


@pytest.mark.parametrize(
    "changes",
    [
        {"density": 0.01},  # some two non-zeros for each block of features
        {"element": "float32"},  # of which every number has to be looked at
        {"read": "concat(h, g, slice(scaled, 0, 5))"},
    ],
)
def test_everything_is_gathered_where_everything_is_read(changes):
    assert "mark_read" not in generated(model_of(**changes)).c_source


@pytest.mark.parametrize("backend", ["native", "mkl"])
def test_other_patterns_read_other_features(backend):
    module = compiled(model_of(), backend=backend)
    net, (x, _) = module.Model(seed=1), data()
    net.predict(x)
    rng = np.random.default_rng(5)
    for _ in range(3):
        given = {
            name: sparse.random_array(value.shape, density=0.004, rng=rng, format="csr")
            for name, value in net.parameters().items()
            if sparse.issparse(value)
        }
        net.set_parameters(given)
        p = {name: dense(value) for name, value in net.parameters().items()}
        scaled = x / 255
        h = np.maximum(scaled @ p["h.weight"].T + p["h.bias"], 0)
        g = np.tanh(scaled @ p["g.weight"].T + p["g.bias"])
        expected = np.concatenate((h, g), axis=1) @ p["y.weight"].T + p["y.bias"]
        np.testing.assert_allclose(net.predict(x), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_patterns_change_while_training(grow):
    """Of two models, one has patterns that its C code changed, the other was given them."""
    regrow = f"regrow {{ every = steps(2); prune = magnitude(0.5); grow = {grow}() }}"
    module = compiled(model_of(regrow=regrow))
    net, (x, t) = module.Model(seed=1), data(10 * BATCH)
    before = net.parameters()["h.weight"].indices.copy()
    net.train_epoch(x, t, lr=0.1)
    assert not np.array_equal(before, net.parameters()["h.weight"].indices)
    other = module.Model(seed=2)
    other.set_parameters(net.parameters())
    np.testing.assert_array_equal(net.predict(x), other.predict(x))
    assert net.evaluate(x, t) == other.evaluate(x, t)


def test_threads_do_not_change_a_bit():
    module = compiled(model_of())
    x, t = data(3 * BATCH)
    nets = [module.Model(seed=1, threads=threads) for threads in (1, 2, 3)]
    for net in nets:
        net.train_epoch(x, t, lr=0.1)
    one, *others = ({n: dense(v) for n, v in net.parameters().items()} for net in nets)
    for other in others:
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
