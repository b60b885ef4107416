"""Models at the edges of the language: compiled, run, and compared with the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from nerva_dsl.check import check_source
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.source import Source
from oracle import assert_close, assert_interpreter_agrees, compiled, observe, programs

FRAME = """model odd
input  x : float32[6]
target t : class[3]
{body}
output = y
loss   = softmax_cross_entropy(y, t)
train {{ batch = 5; {train} }}
"""

STATE = """optimizer own(w, g, lr) {{
    state {name} = 0
    {name} = 0.5 * {name} + g
    w = w - lr * {name}
}}
y = linear(x, 3, density = 0.5)"""

BODIES = {
    "two constants without a name": "y = linear(normalize(x, [1, 2], 1), 3)"
    " + linear(normalize(x, [3, 4], [1, 2]), 3) + linear(normalize(x, [1, 2], 3), 3)",
    "a value called like what it is": "normalize = normalize(x, [1, 2], 1)\n"
    "y = linear(normalize, 3) + linear(normalize(x, [3, 4], 1), 3)",
    "names that differ in case": "H1 = relu(linear(x, 4, density = 0.5))\n"
    "h1 = relu(linear(H1, 4))\ny = linear(h1, 3) + linear(H1, 3)",
    "names of the generated C": "step = relu(linear(x, 4, density = 0.5))\n"
    "arena = relu(linear(step, 4))\nARRAYS = relu(linear(arena, 4))\ny = linear(ARRAYS, 3)",
    "no bias": "h = relu(linear(x, 4, bias = false))\ny = linear(h, 3, bias = false)",
    "a long sum": f"function f(z) = {' + '.join(['0.002 * tanh(z)'] * 190)}\ny = f(linear(x, 3))",
    "a long product": f"function f(z) = {' * '.join(['z'] * 300)}\ny = f(linear(x, 3))",
    "deep calls": f"function f(z) = {'tanh(' * 100}z{')' * 100}\ny = f(linear(x, 3))",
    "factors whose product is no float32": "function f(z) = 1e-30 * (1e-30 * (1e35 * z)) * 1e24\n"
    "y = f(linear(x, 3))",
    "a linear that the loss does not reach": "h = relu(linear(x, 4))\ny = linear(h, 3)\n"
    "aside = linear(x, 3)",
    "many layers": "h0 = relu(linear(x, 4))\n"
    + "".join(f"h{i + 1} = relu(linear(h{i}, 4, density = 0.5) + h{i})\n" for i in range(20))
    + "y = linear(h20, 3)",
}


def model_of(text):
    return check_source(Source("odd.nerva", text), {}).model


def agrees(model, precision, classes, count):
    module = compiled(model, precision)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, (count, model.input.features))
    t = rng.integers(0, classes, count)
    net = module.Model(seed=1)
    seen = observe(module.Model, net, x, t)
    first, *_, last = programs(model, precision)
    for stage, program in (first, last):
        assert_interpreter_agrees(program, seen, precision, stage)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_model_with(body, precision):
    agrees(model_of(FRAME.format(body=body, train="")), precision, 3, 4)


@pytest.mark.parametrize("name", ["NULL", "INT64_MAX", "_Bool", "__x86_64__", "int", "exp", "w_"])
def test_an_optimizer_with_a_state_called(name):
    text = FRAME.format(body=STATE.format(name=name), train="optimizer = own()")
    agrees(model_of(text), "float64", 3, 4)


@pytest.mark.parametrize(
    "name", ["slope", "grad", "mask", "product", "linear", "sum", "var", "exp"]
)
def test_a_learned_option_called(name):
    """What passes make has names of its own."""
    body = (
        f"function own(x; learn {name} = 0.3) = tanh(x) * {name} + exp({name} * x)\n"
        "h = dropout(batch_norm(linear(x, 4, bias = false)), 0.2)"
        " * own(own(linear(x, 4, drop_connect = 0.2)))\n"
        "y = softmax(linear(h, 3))"
    )
    agrees(model_of(FRAME.format(body=body, train="clip_norm = 0.1")), "float64", 3, 4)


@pytest.mark.parametrize("batch", [1, 7])
def test_one_feature_and_one_class(batch):
    text = (
        "model one\ninput x : float32[1]\ntarget t : class[1]\ny = 2 * linear(x, 1)\n"
        "output = y\nloss = softmax_cross_entropy(y, t) + squared_error(y, t)\n"
        f"train {{ batch = {batch} }}"
    )
    agrees(model_of(text), "float64", 1, batch)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_clipping_where_a_weight_is_one_number(precision):
    """Its gradient's square is the norm's part as it is, and is no more at a weight's position."""
    body = (
        "h = tanh(linear(x, 3))\nside = linear(slice(h, 0, 1), 1)\ny = linear(concat(h, side), 3)"
    )
    agrees(model_of(FRAME.format(body=body, train="clip_norm = 0.1")), precision, 3, 4)


def test_constants_of_two_normalizations_are_two():
    model = model_of(
        FRAME.format(
            body="y = linear(normalize(x, [1, 2], 1), 3) + linear(normalize(x, [3, 4], 1), 3)",
            train="",
        )
    )
    net = compiled(model, "float64").Model()
    x = np.random.default_rng(0).normal(size=(5, 6))
    parts = [
        (x - np.repeat(means, 3)) @ net.parameters()[f"y.{i}.weight"].T
        for i, means in ((1, [1, 2]), (2, [3, 4]))
    ]
    assert_close(net.predict(x), sum(parts), "float64", "output")


def test_the_layer_of_a_loss_that_is_not_finite():
    """`side` stands first in the file, but only the loss reads it."""
    text = FRAME.format(
        body="side = linear(x, 3)\nh = relu(linear(x, 4))\ny = linear(h, 3)", train=""
    ).replace("(y, t)", "(y, t) + softmax_cross_entropy(side, t)")
    module = compiled(model_of(text), "float32")
    net = module.Model()
    names = [name for name in net.parameters() if name.endswith(".weight")]
    assert names == [f"{layer['name']}.weight" for layer in module.SPEC["layers"]]
    net.set_parameters({"side.weight": np.full((3, 6), 3e38)})
    with pytest.raises(FloatingPointError, match="layer side is the first"):
        net.train_step(np.full((2, 6), 9.0), [1, 2])


@pytest.mark.parametrize("value", ["1e39 * h", "h * 1e39", "1e30 * (1e30 * h)"])
def test_constants_beyond_float32_are_infinite_there(value):
    model = model_of(FRAME.format(body=f"h = linear(x, 3)\ny = {value}", train=""))
    net = compiled(model, "float32").Model()
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        net.train_step(np.ones((2, 6)), [1, 2])
    assert np.isfinite(compiled(model, "float64").Model().predict(np.ones((2, 6)))).all()


@pytest.mark.parametrize("body", ["y = sign(linear(x, 3))", "y = linear(x, 3) * 0 + 1"])
def test_a_loss_without_a_slope(body):
    with pytest.raises(DiagnosticError, match="nothing to learn"):
        model_of(FRAME.format(body=body, train=""))


def test_constants_do_not_count_in_the_norm_that_is_clipped():
    """A step of size 1 along the gradient, scaled to norm 0.01, has this length."""
    body = "h = tanh(linear(normalize(x, [1, 2], [2, 3]), 4))\ny = linear(h, 3)"
    train = "optimizer = sgd(); clip_norm = 0.01"
    net = compiled(model_of(FRAME.format(body=body, train=train)), "float64").Model()
    before = net.parameters()
    net.train_step(np.random.default_rng(0).normal(size=(5, 6)), [0, 1, 2, 0, 1], lr=1.0)
    moved = [np.sum((value - before[name]) ** 2) for name, value in net.parameters().items()]
    assert np.sqrt(np.sum(moved)) == pytest.approx(0.01, rel=1e-12)
