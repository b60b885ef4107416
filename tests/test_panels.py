"""Products whose activations are larger than the cache: compiled for a machine with a small one."""

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
from nerva_dsl.tiling import number_bytes, tiling
from oracle import assert_close, assert_interpreter_agrees, dense, observe, programs

# Rows of no, of a few and of many non-zeros in a panel; `clip_norm` keeps the gradients, and the
# last layer but one needs the transposed product.
TEXT = """model panels
input  x : float32[301]
target t : class[3]
h = relu(linear(x, 270, density = 0.6))
g = tanh(linear(h, 150, density = {density}))
y = linear(g, 3, density = 0.9)
output = y
loss   = softmax_cross_entropy(y, t)
train {{ batch = {batch}; optimizer = nesterov(momentum = 0.9){clip} }}
"""


def module_of(model, machine):
    generated = emit_model(model, backend="native", machine=machine)
    return generated.c_source, load_module(build(generated, resolve_target("native")))


@pytest.mark.parametrize(
    ("precision", "vector_bytes", "batch", "clip"),
    [  # all widths in both precisions, and with both each number of samples
        ("float64", 16, 3, ""),
        ("float64", 16, 110, ""),
        ("float64", 32, 33, "; clip_norm = 0.01"),
        ("float64", 64, 110, ""),
        ("float32", 16, 33, "; clip_norm = 0.01"),
        ("float32", 32, 3, ""),
        ("float32", 32, 110, ""),
        ("float32", 64, 33, "; clip_norm = 0.01"),
        ("float32", 64, 110, ""),
    ],
)
def test_panels_give_what_the_interpreter_gives(precision, vector_bytes, batch, clip):
    text = TEXT.format(batch=batch, clip=clip, density=0.5)
    model = replace(check_source(Source("panels.nerva", text), {}).model, precision=precision)
    # Sixty rows of activations are as large as the cache, and multiplying is so slow that no
    # product is one of blocks with their zeros.
    size = number_bytes(precision)
    row_bytes = tiling(batch, precision, vector_bytes).stride * size
    machine = Machine(vector_bytes, cache_bytes=60 * row_bytes, multiply=9.0)
    source, module = module_of(model, machine)
    assert "sparse_part" in source
    rng = np.random.default_rng(3)
    x = rng.standard_normal((batch, 301))
    t = rng.integers(0, 3, batch)
    seen = observe(module.Model, module.Model(seed=1), x, t)
    stage, program = next(programs(model, precision))
    assert_interpreter_agrees(program, seen, precision, stage)


def test_neither_panels_nor_threads_change_a_product():
    """Sums are added up in the order of the non-zeros, wherever they wait in between.

    Those of a gradient are over the samples, and their order depends on whether it has panels; it
    does not depend on threads.
    """
    text = TEXT.format(batch=50, clip="", density=0.3)
    model = check_source(Source("panels.nerva", text), {}).model
    rng = np.random.default_rng(4)
    x = rng.standard_normal((75, 301), dtype=np.float32)
    t = rng.integers(0, 3, 75)
    predictions, trained = [], []
    for cache_bytes in (1 << 13, 1 << 14, 1 << 24):
        source, module = module_of(model, Machine(32, cache_bytes=cache_bytes, multiply=9.0))
        assert ("sparse_part" in source) == (cache_bytes < 1 << 20)
        weights = []
        for threads in (1, 2, 3, 20):  # of the last, some share a queue
            net = module.Model(seed=1, threads=threads)
            predictions.append(net.predict(x))
            net.train_epoch(x, t, lr=0.1)
            weights.append([dense(value) for value in net.parameters().values()])
        for other in weights[1:]:
            for a, b in zip(weights[0], other, strict=True):
                np.testing.assert_array_equal(a, b)
        trained.append(weights[0])
    for other in predictions[1:]:
        np.testing.assert_array_equal(predictions[0], other)
    for other in trained[1:]:
        for a, b in zip(trained[0], other, strict=True):
            assert_close(a, b, "float32", "weights")
