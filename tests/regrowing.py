"""A model with growing layers of many shapes, and what NumPy says of their regrowth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import scipy.sparse as sp

from nerva_dsl.check import check_source
from nerva_dsl.driver import emit_model
from nerva_dsl.runtime.mkl import find_mkl
from nerva_dsl.runtime.philox import Purpose, Stream
from nerva_dsl.source import Source
from together import build_together

# `big` has more than one slice, more than one span of columns, and rows that fill no panel.
TEXT = """\
model changing
input  x : float32[600]
target t : class[3]

big   = tanh(linear(x, 701, density = 0.01, weights = normal(0, 0.1)))
small = tanh(linear(big, 33, density = 0.3, optimizer = sgd()))
thin  = tanh(linear(x, 1, density = 0.2, bias = false))
full  = tanh(linear(small, 9, density = 0.85))
fixed = tanh(linear(small, 9, density = 0.5, regrow = false))
y     = linear(concat(concat(full, fixed), thin), 3)

output = y
loss   = softmax_cross_entropy(y, t)

train {{ batch = 20; epochs = 4; optimizer = adam(); learning_rate = 0.01 }}

regrow {{
    every   = {every}
    prune   = {prune}
    grow    = {grow}
    weights = {weights}
    until   = {until}
}}
"""
GROWING = ("big.weight", "small.weight", "thin.weight", "full.weight")
VARIANTS = {
    "float32": ("float32", "native", {"grow": "momentum()", "weights": "normal(0.5, 0.1)"}),
    "float64": ("float64", "native", {"grow": "gradient()", "every": "steps(3)"}),
    "epochs": ("float32", "mkl", {"prune": "magnitude(exponential(0.4, 0.3))", "until": "0.75"}),
}
DEFAULTS = {
    "every": "epochs(1)",
    "prune": "set(0.3)",
    "grow": "random()",
    "weights": "uniform(-1, 1)",
    "until": "1",
}


def text(**settings) -> str:
    """The model with some settings of `regrow`."""
    return TEXT.format(**{**DEFAULTS, **settings})


@cache
def compiled():
    """The `Model` classes of all variants, built together."""
    generated = {}
    for name, (precision, backend, settings) in VARIANTS.items():
        own = backend if find_mkl() is not None else "native"
        model = check_source(Source("changing.nerva", text(**settings)), {}).model
        generated[name] = emit_model(replace(model, precision=precision), backend=own)
    return build_together(generated)


def data(count, seed=0):
    """Samples and labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 600)).astype(np.float32)
    return X, rng.integers(0, 3, count)


def contents(net, name):
    """What the model stores of a weight."""
    return net._engine.contents(net._description.by_name[name])


def positions(stored, columns):
    """Row · columns + column of each non-zero."""
    rows = np.repeat(np.arange(len(stored.row_start) - 1), np.diff(stored.row_start))
    return rows * columns + stored.column


def removed(values, prune, amount, places):
    """Which weights go, as a mask; ties by position."""
    sides = [values > 0, values < 0] if prune == "set" else [np.ones(len(values), bool)]
    counts = [int(np.floor(amount * side.sum() + 0.5)) for side in sides]
    if prune == "threshold":
        counts = [int((np.abs(values) <= amount).sum())]
    if sum(counts) > places:
        rest = places * counts[-1] // sum(counts) if len(counts) > 1 else places
        counts = [places - rest, rest] if len(counts) > 1 else [places]
    gone = np.zeros(len(values), bool)
    for side, count in zip(sides, counts, strict=True):
        of_side = np.flatnonzero(side)
        order = np.argsort(np.abs(values[of_side]), kind="stable")
        gone[of_side[order[:count]]] = True
    return gone


def empty(before, size):
    """The empty positions, listed."""
    return np.setdiff1d(np.arange(size), before, assume_unique=True)


def drawn(stream, empties, count):
    """Those of the first distinct ranks that are drawn; if more than half, the others are drawn."""
    limit = len(empties)
    wanted = limit - count if 2 * count > limit else count
    integers = stream.integers64(8 * wanted + 64)
    ranks = integers[integers < (1 << 64) // limit * limit] % np.uint64(limit)
    _, first = np.unique(ranks, return_index=True)
    chosen = ranks[np.sort(first)[:wanted]].astype(int)
    if wanted != count:
        chosen = np.setdiff1d(np.arange(limit), chosen)
    return empties[np.sort(chosen)]


def largest(gradient, empties, count):
    """The empty positions with the largest absolute values; ties by position."""
    order = np.argsort(-np.abs(gradient[empties]), kind="stable")
    return np.sort(empties[order[:count]])


def new_values(net, name, count, round_):
    """The first values of new weights."""
    growing = next(each for each in net._description.regrow.weights if each.name == name)
    index = net._description.by_name[name].index
    stream = Stream(net.seed, Purpose.GROWN_VALUE, index, round_)
    distribution, first, second = growing.initial
    if distribution == "normal":
        return first + second * stream.normal(count)
    return first + (second - first) * stream.uniform(count)


def grown_stream(net, name, round_):
    """The random numbers of a weight's new positions."""
    return Stream(net.seed, Purpose.GROWN, net._description.by_name[name].index, round_)


def dense_gradients(net, X, t):
    """The gradient at all positions of each growing weight, as the compiled model makes it."""
    seen = {}

    def look(name, weights, gradient):
        seen[name] = gradient()
        return weights

    net.regrow(rule=look, X=X, t=t)
    return seen


def csr(values, rows, columns, shape):
    """A CSR array of a pattern."""
    return sp.csr_array((values, (rows, columns)), shape)
