"""Batches that stay bytes: sparse products convert what they read of them."""

from __future__ import annotations

import numpy as np
import pytest

from nerva_dsl.check import check_source
from nerva_dsl.driver import emit_model
from nerva_dsl.machine import Machine
from nerva_dsl.record import replace
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.source import Source
from oracle import assert_interpreter_agrees, dense, observe, programs

TEXT = """model bytes
input  x : uint8[{features}]
target t : class[3]
h = relu(linear({scaled}, 60, density = 0.4))
g = tanh(linear({scaled}, 31, density = 0.2))
y = linear(concat(h, g), 3, density = 0.9)
output = y
loss   = softmax_cross_entropy(y, t)
train {{ batch = {batch}; optimizer = nesterov(momentum = 0.9){clip} }}
"""
SCALED = {
    "as they are": "x",
    "scaled": "x / 255",
    "moved": "x / 127.5 - 1",
    "normalized": "normalize(x / 255, mean = [0.5, 0.25, 0.4], std = [0.25, 0.5, 0.3])",
}


def machine(vector_bytes, cache_bytes=1 << 16):
    """One whose cache no batch stays in, and where multiplying costs so much that sparse products
    are no products of blocks, and so little that bytes may be converted."""
    multiply = 0.6 * vector_bytes / 64
    times = {"near": 1.0, "multiply": multiply, "pick": 0.0, "non_zero": 0.0, "row": 0.0}
    return Machine(vector_bytes, cache_bytes, **times)


def text(features=303, scaled="normalized", batch=33, clip=""):
    return TEXT.format(features=features, scaled=SCALED[scaled], batch=batch, clip=clip)


def compiled(model, of, target="native"):
    generated = emit_model(model, backend="native", machine=of, target=target)
    return generated.c_source, load_module(build(generated, resolve_target(target)))


def data(features, samples):
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (samples, features), dtype=np.uint8), rng.integers(0, 3, samples)


@pytest.mark.parametrize(
    ("vector_bytes", "precision", "scaled", "features", "batch", "clip"),
    [
        (16, "float32", "as they are", 16, 40, ""),
        (64, "float32", "as they are", 16, 40, ""),
        (16, "float64", "scaled", 303, 33, "; clip_norm = 0.01"),
        (32, "float64", "scaled", 303, 33, "; clip_norm = 0.01"),
        (32, "float32", "moved", 13, 64, ""),
        (64, "float32", "moved", 13, 64, ""),
        (16, "float32", "normalized", 303, 110, ""),
        (32, "float32", "normalized", 303, 110, ""),
        (64, "float64", "normalized", 303, 110, ""),
    ],
)
def test_bytes_give_what_the_interpreter_gives(
    vector_bytes, precision, scaled, features, batch, clip
):
    source = Source("bytes.nerva", text(features, scaled, batch, clip))
    model = replace(check_source(source, {}).model, precision=precision)
    code, module = compiled(model, machine(vector_bytes))
    for kernel in ("gather_bytes", "spmm_bytes", "sddmm_bytes"):
        assert f"KERNEL {kernel}" in code
    seen = observe(module.Model, module.Model(seed=1), *data(features, batch))
    stage, program = next(programs(model, precision))
    assert_interpreter_agrees(program, seen, precision, stage)


def test_a_processor_without_the_instruction_converts_the_same():
    """The text of wide vectors, compiled for the narrowest instruction set."""
    model = check_source(Source("bytes.nerva", text()), {}).model
    wide = machine(64)
    results = [trained(compiled(model, wide, target)[1], 1) for target in ("native", "x86-64-v2")]
    for name, value in results[0].items():
        np.testing.assert_allclose(value, results[1][name], 1e-4, 1e-5)


def trained(module, threads):
    net = module.Model(seed=1, threads=threads)
    x, t = data(303, 75)
    for _ in range(2):
        net.train_epoch(x, t, lr=0.01)
    return {name: dense(value) for name, value in net.parameters().items()}


@pytest.mark.parametrize("cache_bytes", [1 << 16, 1 << 24])
def test_threads_do_not_change_a_bit(cache_bytes):
    model = check_source(Source("bytes.nerva", text()), {}).model
    _, module = compiled(model, machine(32, cache_bytes))
    one, *others = (trained(module, threads) for threads in (1, 2, 3))
    for other in others:
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
