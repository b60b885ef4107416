"""Batch normalisation and dropout: what holds for any data, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nerva_dsl.check import check_source
from nerva_dsl.runtime.masks import activation_mask, weight_mask
from nerva_dsl.source import Source
from oracle import compiled, dense

TEXT = """model regular
input  x : float32[24]
target t : class[3]
h = relu(batch_norm(linear(x, 32, density = 0.5, drop_connect = 0.25)))
d = dropout(h, 0.5)
y = linear(d, 3)
output = y
loss = softmax_cross_entropy(y, t)
train { batch = 100; seed = 3 }
"""


@pytest.fixture(scope="module", params=["float64", "float32"])
def module(request):
    return compiled(check_source(Source("regular.nerva", TEXT), {}).model, request.param)


def _data(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 24)).astype(np.float32), rng.integers(0, 3, count)


def test_evaluation_does_not_depend_on_the_batch(module):
    net = module.Model()
    x, t = _data(230)
    for _ in range(3):
        net.train_step(x[:100], t[:100])
    together = net.predict(x)
    alone = np.concatenate([net.predict(row[None]) for row in x[:20]])
    scaled = np.concatenate(
        [net.predict(x[:1]), net.predict(np.vstack([x[:1], 1e3 * x[1:60]]))[:1]]
    )
    bound = 1e-12 if module.SPEC["precision"] == "float64" else 1e-5
    np.testing.assert_allclose(together[:20], alone, atol=bound * np.abs(together).max())
    np.testing.assert_allclose(scaled[0], scaled[1], atol=bound * np.abs(together).max())


def test_dropout_keeps_the_mean(module):
    """The share of what is kept is within five standard deviations of the binomial's."""
    net = module.Model(seed=11)
    x, t = _data(100)
    counts = {"d": [0, 0], "h.weight": [0, 0]}
    for _ in range(40):
        masks = net.masks(100)
        assert set(masks) == set(counts)
        for name, keep in (("d", 0.5), ("h.weight", 0.75)):
            mask = masks[name] if name == "d" else masks[name].data
            zero = mask == 0
            np.testing.assert_allclose(mask[~zero], 1 / keep, rtol=1e-6)
            counts[name][0] += int((~zero).sum())
            counts[name][1] += mask.size
        net.train_step(x, t)
    for name, keep in (("d", 0.5), ("h.weight", 0.75)):
        kept, count = counts[name]
        deviation = math.sqrt(keep * (1 - keep) / count)
        assert abs(kept / count - keep) <= 5 * deviation


@pytest.mark.parametrize("count", [1, 7, 100])
def test_masks_do_not_depend_on_threads_and_are_those_of_philox(module, count):
    x, t = _data(100)
    seen = []
    for threads in (1, 2, 3):
        net = module.Model(seed=5, threads=threads)
        net.train_step(x, t)
        seen.append({name: dense(mask) for name, mask in net.masks(count).items()})
    for name, mask in seen[0].items():
        for other in seen[1:]:
            np.testing.assert_array_equal(mask, other[name])
    streams = ["h.weight", "d"]  # in the order of evaluation
    weight = net.parameters()["h.weight"]
    rows = np.repeat(np.arange(32), np.diff(weight.indptr))
    kept = weight_mask(0.75, 5, streams.index("h.weight"), 1, rows * 24 + weight.indices)
    np.testing.assert_array_equal(net.masks(count)["h.weight"].data != 0, kept)
    kept = activation_mask(0.5, 5, streams.index("d"), 1, 32, count)
    np.testing.assert_array_equal(seen[0]["d"] != 0, kept.T)


def test_masks_change_with_step_and_seed(module):
    net, other = module.Model(seed=1), module.Model(seed=2)
    first = net.masks(100)["d"]
    assert not np.array_equal(first, other.masks(100)["d"])
    np.testing.assert_array_equal(first, net.masks(100)["d"])
    np.testing.assert_array_equal(first[:40], net.masks(40)["d"])
    net.train_step(*_data(100))
    assert not np.array_equal(first, net.masks(100)["d"])


@pytest.mark.parametrize("method", ["fit", "train_epoch"])
def test_an_epoch_that_ends_in_a_batch_of_one_is_refused_before_it_starts(module, method):
    net = module.Model()
    before = net.parameters()
    with pytest.raises(ValueError, match="101") as caught:
        getattr(net, method)(*_data(101))
    assert "batch" in str(caught.value)
    assert net.step == 0
    assert net.epoch == 0
    for name, value in net.parameters().items():
        np.testing.assert_array_equal(dense(value), dense(before[name]))
    getattr(net, method)(*_data(102), **({"epochs": 1} if method == "fit" else {}))
    assert net.step == 2


def test_a_batch_of_one_is_refused(module):
    net = module.Model()
    for method in (net.train_step, net.gradients):
        with pytest.raises(ValueError, match="2"):
            method(*_data(1))
    assert net.predict(_data(1)[0]).shape == (1, 3)
