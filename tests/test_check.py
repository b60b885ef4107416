"""The checker: constants, densities, initialisers, definitions, and the models that come out."""

import math
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twins
from nerva_dsl import model
from nerva_dsl.check import check, check_source
from nerva_dsl.check.densities import erdos_renyi, least_overall, least_own, rounded
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.scalar import Apply, Number, Var, apply, variables, walk
from nerva_dsl.source import Source

ROOT = Path(__file__).parents[1]
MODELS = sorted(
    path for path in (ROOT / "models").glob("*.nerva") if path.stem not in twins.LIBRARIES
)

SIMPLE = """\
model simple
{top}
input x : float32[8]
target t : class[3]
{values}
output = y
loss = {loss}
train {{
{train}
}}
"""


def checked(
    values="y = linear(x, 3)",
    top="",
    loss="softmax_cross_entropy(y, t)",
    train="",
    **overrides,
):
    text = SIMPLE.format(top=top, values=values, loss=loss, train=train)
    return check_source(Source("simple.nerva", text), overrides).model


def codes(*arguments, **named):
    with pytest.raises(DiagnosticError) as caught:
        checked(*arguments, **named)
    return [problem.code for problem in caught.value.diagnostics]


def value_of(model_, name):
    return next(value for value in model_.values if value.name == name)


def evaluate(expression, **at):
    """The value of a scalar expression, by rules written down here once more."""
    done = {}
    for node in walk(expression):
        match node:
            case Number():
                done[id(node)] = node.value
            case Var():
                done[id(node)] = at[node.name]
            case Apply():
                operands = [done[id(argument)] for argument in node.arguments]
                done[id(node)] = RULES[node.operator](*operands)
    return done[id(expression)]


RULES = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "neg": lambda a: -a,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "not": lambda a: not a,
    "select": lambda c, a, b: a if c else b,
    "stated": lambda value, argument, slope: value,
    "min": min,
    "max": max,
    "abs": abs,
    "sign": lambda a: (a > 0) - (a < 0),
    "floor": math.floor,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "erf": math.erf,
}

# ---------------------------------------------------------------------------------- constants

CONSTANTS = {
    "7 // 2": 3,
    "-7 // 2": -4,
    "-7 % 3": 2,
    "7 % -3": -2,
    "7.5 // 2": 3,
    "-7.5 % 2": 0.5,
    "7 / 2": 3.5,
    "4 / 2": 2.0,
    "-2 ^ 2": -4,
    "2 ^ 3 ^ 2": 512,
    "2 ^ -1": 0.5,
    "2 ^ 0.5": math.sqrt(2),
    "(-1) ^ 9223372036854775807": -1,
    "0 ^ 0": 1,
    "1 ^ 9223372036854775807": 1,
    "2 ^ 62": 2**62,
    "1 + 2 * 3 - 4": 3,
    "if 1 < 2 and not 3 <= 2 then 10 else 1 / 0": 10,
    "if 1 == 1.0 or 1 / 0 > 1 then 1 else 2": 1,
    'if "a" == "a" and "a" != "b" then 1 else 2': 1,
    "if [1, 2] == [1, 2] then 1 else 2": 1,
    "sqrt(16) + exp(0) + log(1) + abs(-3)": 8.0,
    "min(3, 1, 2) + max(1, 2.5)": 3.5,
    "max([1, 5, 2])": 5,
    "floor(-2.5)": -3,
    'len([1, 2, 3]) + len("ab")': 5,
    "1e3": 1000.0,
    "00012": 12,
    "9223372036854775807": 2**63 - 1,
}


@pytest.mark.parametrize("text", CONSTANTS)
def test_constant(text):
    params = dict(checked(top=f"param p = {text}").params)
    assert params["p"] == CONSTANTS[text]
    assert type(params["p"]) is type(CONSTANTS[text])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("9^9^9^9", "N0301"),
        ("2 ^ 63", "N0301"),
        ("9223372036854775808", "N0301"),
        ("9223372036854775807 * 2", "N0301"),
        ("-9223372036854775807 - 2", "N0301"),
        ("9" * 100_000, "N0301"),
        ("0." + "1" * 100_000, "N0301"),
        ("1e309", "N0301"),
        ("1e308 * 10", "N0301"),
        ("10.0 ^ 400", "N0301"),
        ("exp(710)", "N0301"),
        ("floor(1e300)", "N0301"),
        ("1 / 0", "N0302"),
        ("1.5 % 0.0", "N0302"),
        ("0.0 ^ -1", "N0302"),
        ("sqrt(-1)", "N0303"),
        ("log(-1)", "N0303"),
        ("(-1) ^ 0.5", "N0303"),
        ("1 + true", "N0304"),
        ('"a" < "b"', "N0304"),
        ("max()", "N0205"),
        ("sqrt(1, 2)", "N0205"),
        ("sqrt(x = 1)", "N0206"),
        ("y", "N0201"),
    ],
)
def test_constant_that_is_none(text, code):
    start = time.perf_counter()
    assert codes(top=f"param p = {text}") == [code]
    assert time.perf_counter() - start < 1


@given(st.integers(-50, 50), st.integers(-50, 50), st.sampled_from(["+", "-", "*", "//", "%"]))
@settings(max_examples=200, deadline=None)
def test_integer_arithmetic_is_pythons(a, b, operator):
    if b == 0 and operator in ("//", "%"):
        return
    params = dict(checked(top=f"let a = {a}\nparam p = a {operator} ({b})").params)
    assert params["p"] == eval(f"({a}) {operator} ({b})")


# ---------------------------------------------------------------------------------- overrides


def test_overrides_replace_params_and_what_depends_on_them():
    top = 'param n = 4\nparam d = 0.5\nparam b = true\nparam s = "he"\nlet m = n * 2'
    values = "h = linear(x, m, density = d, bias = b)\ny = linear(h, 3)"
    given_ = {"n": "2 ^ 3", "d": 1, "b": "false", "s": "any text"}
    result = checked(top=top, values=values, **given_)
    assert result.params == (("n", 8), ("d", 1.0), ("b", False), ("s", "any text"))
    assert [type(value) for _, value in result.params] == [int, float, bool, str]
    assert (result.layers[0].outputs, result.layers[0].bias) == (16, False)


def test_overrides_may_be_numpys():
    top = "param n = 4\nparam d = 0.5"
    values = "y = linear(x, 3, density = d)"
    result = checked(top=top, values=values, n=np.int64(5), d=np.float32(0.25))
    assert result.params == (("n", 5), ("d", 0.25))
    assert [type(value) for _, value in result.params] == [int, float]


# ---------------------------------------------------------------------------------- densities


def closed_form(density, shapes):
    """Erdős–Rényi in floating point, by solving for ε again while a layer is too dense."""
    dense = set()
    while True:
        rest = [i for i in range(len(shapes)) if i not in dense]
        total = density * sum(d * k for d, k in shapes)
        total -= sum(shapes[i][0] * shapes[i][1] for i in dense)
        epsilon = total / sum(sum(shapes[i]) for i in rest)
        p = {i: epsilon * sum(shapes[i]) / (shapes[i][0] * shapes[i][1]) for i in rest}
        over = {i for i in rest if p[i] > 1}
        if not over:
            return [1.0 if i in dense else p[i] for i in range(len(shapes))]
        dense |= over


def layers_of(sizes, density, kind="erdos_renyi"):
    lines = [f"h0 = linear(x, {sizes[1]})"]
    lines += [f"h{i} = linear(h{i - 1}, {n})" for i, n in enumerate(sizes[2:], 1)]
    text = (
        f"model m\ninput x : float32[{sizes[0]}]\nsparsity = {kind}({density!r})\n"
        + "\n".join(lines)
        + f"\ny = linear(h{len(sizes) - 2}, {sizes[0]}, density = 1)\n"
        + "output = y\nloss = squared_error(y)\n"
    )
    return check_source(Source("m.nerva", text)).model.layers[:-1]


def test_densities_of_the_nerva_paper():
    layers = check(ROOT / "models" / "cifar10.nerva", {}).model.layers
    assert [layer.nnz for layer in layers] == [24461, 9173, 3117]
    densities = [layer.density for layer in layers]
    assert densities == pytest.approx([0.0077759423, 0.017496109, 0.6087891], rel=1e-7)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 0.7, 0.95, 1.0])
def test_erdos_renyi_against_the_closed_form(density):
    """Also where small layers are clipped to dense, more than once."""
    sizes = [300, 200, 50, 7, 3]
    shapes = list(pairwise(sizes))
    expected = closed_form(density, shapes)
    assert [float(p) for p in erdos_renyi(density, shapes)] == pytest.approx(expected, rel=1e-12)
    layers = layers_of(sizes, density)
    assert [layer.nnz for layer in layers] == [
        math.floor(p * d * k + 0.5) for p, (d, k) in zip(expected, shapes, strict=True)
    ]
    if density > 0.2:
        assert not layers[-1].sparse


@given(
    st.lists(st.integers(1, 400), min_size=2, max_size=6), st.floats(0.001, 1.0, exclude_min=True)
)
@settings(max_examples=100, deadline=None)
def test_erdos_renyi_keeps_the_overall_density(sizes, density):
    shapes = list(pairwise(sizes))
    spread = erdos_renyi(density, shapes)
    total = sum(p * d * k for p, (d, k) in zip(spread, shapes, strict=True))
    assert float(total) == pytest.approx(density * sum(d * k for d, k in shapes), rel=1e-9)
    assert all(0 < p <= 1 for p in spread)


def test_uniform_and_own_densities():
    values = "a = linear(x, 100)\nb = linear(a, 100, density = 0.5)\ny = linear(b, 3)"
    layers = checked(values, top="sparsity = uniform(0.3)").layers
    assert [layer.nnz for layer in layers] == [240, 5000, 90]
    layers = checked(values, top="sparsity = erdos_renyi(0.3)").layers
    spread = closed_form(0.3, [(8, 100), (100, 3)])
    assert [layer.nnz for layer in layers] == [
        math.floor(spread[0] * 800 + 0.5),
        5000,
        math.floor(spread[1] * 300 + 0.5),
    ]


def test_no_sparsity_is_dense():
    (layer,) = checked().layers
    assert (layer.nnz, layer.sparse, layer.density) == (24, False, 1.0)


@pytest.mark.parametrize(
    ("density", "nnz"), [(0.145, 15), (0.005, 1), (0.3, 30), (0.105, 11), (0.995, 100), (1, 100)]
)
def test_counts_are_those_of_the_decimal_number(density, nnz):
    """0.145 · 100 is 14.499999999999998 in floating point; what is written is 14.5."""
    assert rounded(float(density), 10, 10) == nnz


def test_the_suggested_density_is_enough_and_little_more():
    assert rounded(least_own(64, 32), 64, 32) == 1
    shapes = [(3072, 1024), (1024, 512), (512, 10)]
    enough = least_overall(shapes)
    counts = [rounded(p, *s) for p, s in zip(erdos_renyi(enough, shapes), shapes, strict=True)]
    assert min(counts) == 1
    less = erdos_renyi(enough * 0.9, shapes)
    assert min(rounded(p, *s) for p, s in zip(less, shapes, strict=True)) == 0


# ------------------------------------------------------------------------------- initialisers


@pytest.mark.parametrize(
    ("text", "distribution", "first", "second"),
    [
        ("xavier()", "uniform", -1 / math.sqrt(8), 1 / math.sqrt(8)),
        ("glorot()", "uniform", -math.sqrt(6 / 11), math.sqrt(6 / 11)),
        ("he()", "normal", 0, math.sqrt(2 / 8)),
        ("uniform()", "uniform", -1, 1),
        ("uniform(-2, high = 3)", "uniform", -2, 3),
        ("normal(1, 0.5)", "normal", 1, 0.5),
        ("zero()", "uniform", 0, 0),
        ('xavier(fan_in = "sparse")', "uniform", -1 / math.sqrt(4), 1 / math.sqrt(4)),
        ('glorot(fan_in = "sparse")', "uniform", -math.sqrt(6 / 7), math.sqrt(6 / 7)),
        ('he(fan_in = "sparse")', "normal", 0, math.sqrt(2 / 4)),
        ('he(fan_in = "dense")', "normal", 0, math.sqrt(2 / 8)),
        ('zero(fan_in = "sparse")', "uniform", 0, 0),
    ],
)
def test_initialiser(text, distribution, first, second):
    (layer,) = checked(f"y = linear(x, 3, density = 0.5, weights = {text})").layers
    assert layer.initialiser.distribution == distribution
    assert layer.initialiser.first == pytest.approx(first)
    assert layer.initialiser.second == pytest.approx(second)


# ------------------------------------------------------------------------------------- values


def test_a_function_becomes_one_elementwise():
    result = checked("h = relu(linear(x, 4))\ny = linear(h, 3)")
    h = value_of(result, "h")
    assert (h.label, h.width, len(h.operands)) == ("relu", 4, 1)
    assert h.expression == apply("select", apply("gt", Var("a0"), Number(0)), Var("a0"), Number(0))
    assert isinstance(h.operands[0], model.Linear)


def test_arithmetic_becomes_one_elementwise_with_each_operand_once():
    result = checked("h = linear(x, 3)\ny = 2 * h + h / 4 - relu(h)")
    y = value_of(result, "y")
    assert [type(operand).__name__ for operand in y.operands] == ["Linear", "Elementwise"]
    assert evaluate(y.expression, a0=3.0, a1=10.0) == 2 * 3 + 3 / 4 - 10
    assert y.label == "sub"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a // b", -3.0),
        ("a % b", 0.5),
        ("-a ^ 2", -6.25),
        ("if a < b and not b == 0 then a else b", -2.5),
        ("min(a, b) + max(a, b) * abs(a)", -0.0),
        ("sign(a) + floor(a)", -4.0),
        ("expm1(b) + log1p(b) + erf(a) + sqrt(b)", None),
        ("if true or a > 0 then b * 1 else a", 1.0),
        ("if a > 0 or true then b * 1 else a", 1.0),
        ("gate(a, b) - gate(b, a)", None),
        ("leaky(a)", -0.025),
        ("leaky(a, 0.5) + leaky(a, alpha = k)", -1.25 - 7.5),
        ("k * a", -7.5),
    ],
)
def test_function_bodies(text, expected):
    top = (
        "let k = 1 + 2\n"
        "function leaky(x; alpha = 0.01) = if x > 0 then x else alpha * x\n"
        "function gate(a, b) = a * sigmoid(b)\n"
        f"function f(a, b) = {text}"
    )
    result = checked("h = linear(x, 3)\ng = linear(x, 3)\nq = f(h, g)\ny = q + h", top=top)
    y = value_of(result, "q")
    a, b = -2.5, 1.0
    if expected is None:
        s = lambda v: 1 / (1 + math.exp(-v))  # noqa: E731
        expected = {
            "e": math.expm1(b) + math.log1p(b) + math.erf(a) + math.sqrt(b),
            "g": a * s(b) - b * s(a),
        }[text[0]]
    at = {f"a{i}": {"h": a, "g": b}[v.name] for i, v in enumerate(y.operands)}
    assert evaluate(y.expression, **at) == pytest.approx(expected)


def test_sigmoid_is_the_logistic_function():
    y = value_of(checked("h = linear(x, 3)\ny = sigmoid(h)"), "y")
    for at in (-100.0, -3.0, 0.0, 0.5, 100.0):
        assert evaluate(y.expression, a0=at) == pytest.approx(1 / (1 + math.exp(-at)), abs=1e-15)


def test_layer_names():
    values = (
        "a = linear(linear(x, 4), 5)\n"
        "b = relu(linear(a, 6)) + linear(a, 6)\n"
        "c = linear(b, 7)\n"
        "y = tanh(c)"
    )
    text = SIMPLE.format(top="", values=values, loss="squared_error(linear(y, 3), t)", train="")
    result = check_source(Source("m", text.replace("output = y", "output = linear(y, 2)"))).model
    assert [layer.name for layer in result.layers] == (
        ["a.1", "a.2", "b.1", "b.2", "c", "output", "loss"]
    )
    assert [layer.inputs for layer in result.layers[:2]] == [8, 4]
    assert (result.output.name, result.loss.name) == ("output", "loss")
    assert [value.name for value in result.values] == ["a", "b", "c", "y"]


def test_a_value_used_twice_is_one_value():
    result = checked("h = relu(linear(x, 3))\ny = h + linear(h, 3)")
    y = value_of(result, "y")
    assert y.operands[0] is value_of(result, "h")
    assert y.operands[1].x is y.operands[0]


def test_an_alias_is_the_value():
    result = checked("h = linear(x, 3)\ny = h")
    assert result.output is value_of(result, "h")


def test_values_that_are_not_used_are_left_out_with_a_warning():
    text = SIMPLE.format(
        top="sparsity = erdos_renyi(0.5)",
        values="spare = linear(x, 1000)\ny = linear(x, 3)",
        loss="softmax_cross_entropy(y, t)",
        train="",
    )
    result = check_source(Source("m", text))
    assert [warning.code for warning in result.warnings] == ["N0250"]
    assert [layer.name for layer in result.model.layers] == ["y"]
    assert result.model.layers[0].nnz == 12


def test_normalize():
    values = "n = normalize(x, mean = [1, 2], std = 0.5)\ny = linear(n, 3)"
    n = value_of(checked(values), "n")
    assert (n.mean, n.std, n.width) == ((1.0, 2.0), (0.5,), 8)


# ------------------------------------------------------------------------------------- losses


def run(value, data):
    """The value of a graph for one sample: NumPy, with nothing shared with the compiler."""
    match value:
        case model.Input() | model.Target():
            return data[value.name]
        case model.Linear():
            return data["weights"] @ run(value.x, data)
        case model.Reduce():
            return np.array([getattr(np, value.kind)(run(value.x, data))])
        case model.Softmax():
            e = np.exp(run(value.x, data) - run(value.x, data).max())
            return e / e.sum()
        case model.LogSoftmax():
            z = run(value.x, data)
            return z - z.max() - np.log(np.exp(z - z.max()).sum())
        case model.Elementwise():
            operands = [np.broadcast_to(run(o, data), value.width) for o in value.operands]
            rows = zip(*operands, strict=True)
            names = [f"a{i}" for i in range(len(operands))]
            return np.array(
                [evaluate(value.expression, **dict(zip(names, r, strict=True))) for r in rows]
            )
    raise AssertionError(value)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        ("softmax_cross_entropy(y, t)", lambda y, t: -(t * (y - np.log(np.exp(y).sum()))).sum()),
        ("squared_error(y, t)", lambda y, t: ((y - t) ** 2).sum()),
        ("0.5 * squared_error(y, t) + 1", lambda y, t: 0.5 * ((y - t) ** 2).sum() + 1),
        ("-hub(y, t, delta = 0.2) / 2", lambda y, t: -np.minimum(np.abs(y - t), 0.2).sum() / 2),
        ("mixed(y, t)", lambda y, t: (y * t).mean() + (y - t).max() - np.exp(y).sum()),
        ("soft(y, t)", lambda y, t: (np.exp(y) / np.exp(y).sum() * t).sum() ** 2),
        ("squared_error(y, relu(t) - 1)", lambda y, t: ((y - t + 1) ** 2).sum()),
    ],
)
def test_losses(loss, reference):
    top = (
        "loss hub(y, t; delta = 1) = sum(min(abs(y - t), delta))\n"
        "loss mixed(a, b) = mean(a * b) + max(a - b) - sum(exp(a))\n"
        "loss soft(y, t) = sum(softmax(y) * t) ^ 2"
    )
    result = checked(loss=loss, top=top)
    generator = np.random.default_rng(1)
    weights, x = generator.normal(size=(3, 8)), generator.normal(size=8)
    t = np.array([0.0, 1.0, 0.0])
    assert result.loss.width == 1
    data = {"weights": weights, "x": x, "t": t}
    assert run(result.loss, data) == pytest.approx(reference(weights @ x, t))


def test_without_a_target_the_loss_compares_with_the_input():
    text = "model m\ninput x : float32[4]\ny = linear(x, 4)\noutput = y\nloss = squared_error(y)"
    result = check_source(Source("m", text)).model
    assert result.target is None
    difference = result.loss.x
    assert isinstance(difference.operands[1], model.Input)
    other = check_source(Source("m", text.replace("error(y)", "error(y, x / 2)"))).model
    assert isinstance(other.loss.x.operands[1], model.Elementwise)


def test_targets():
    assert checked().target.kind == "class"
    text = "model m\ninput a : uint8[4]\ntarget b : float32[2]\ny = linear(a, 2)\noutput = y\n"
    result = check_source(Source("m", text + "loss = squared_error(y, b)")).model
    assert (result.target.kind, result.target.size) == ("real", 2)
    assert (result.input.name, result.input.element, result.input.features) == ("a", "uint8", 4)


# --------------------------------------------------------------------- optimizers and training


def test_training_defaults():
    result = checked()
    assert (result.batch, result.epochs, result.seed, result.shuffle) == (32, 10, 1, True)
    assert (result.precision, result.schedule) == ("float32", Number(0.01))
    assert result.rules[0].label == "sgd"
    assert result.rules[0].states == ()


def test_training_settings():
    train = "batch = 7; epochs = 2; seed = 0; shuffle = false; precision = float64"
    result = checked(train=train + "\nlearning_rate = 0.1 / 2")
    assert (result.batch, result.epochs, result.seed, result.shuffle) == (7, 2, 0, False)
    assert (result.precision, result.schedule) == ("float64", Number(0.05))


def test_nesterov_by_position_and_by_name():
    rules = [
        checked(train=f"optimizer = nesterov({o})").rules[0] for o in ("0.7", "momentum = 0.7")
    ]
    assert rules[0].assignments == rules[1].assignments
    assert rules[0].states == (("v", 0.0),)
    at = {"w": 5.0, "g": 2.0, "lr": 0.1, "v": 3.0}
    for target, expression in rules[0].assignments:
        at[target] = evaluate(expression, **at)
    v = 0.7 * 3 - 0.1 * 2
    assert (at["v"], at["w"]) == pytest.approx((v, 5 + 0.7 * v - 0.1 * 2))


def test_an_optimizers_own_names_never_collide():
    top = """
optimizer odd(lr, w, g; step2 = 2, v) {
    state step = 1
    state grad = 0.5
    w    = w * v            # the gradient, by another name
    w    = w + 1
    g    = g / 2            # the learning rate
    x    = step + step2
    lr   = lr - g * w + x + grad
    step = step + 1
}"""
    rule = checked(top=top, train="optimizer = odd(v = 3)").rules[0]
    assert rule.states == (("step_1", 1.0), ("grad", 0.5))
    targets = [target for target, _ in rule.assignments]
    assert targets == ["w_1", "w_1", "g_1", "x", "w", "step_1"]
    used = {name for _, expression in rule.assignments for name in variables(expression)}
    assert used <= {"w", "g", "lr", "w_1", "g_1", "x", "step_1", "grad"}
    at = {"w": 1.0, "g": 2.0, "lr": 0.5, "step": 9.0, "step_1": 1.0, "grad": 0.5}
    for target, expression in rule.assignments:
        at[target] = evaluate(expression, **at)
    assert at["w"] == 1 - 0.25 * 7 + 3 + 0.5
    assert (at["g"], at["lr"], at["step_1"]) == (2.0, 0.5, 2.0)


def test_step_may_be_read():
    top = "optimizer o(w, g, lr) { w = w - lr * g / step }"
    rule = checked(top=top, train="optimizer = o()").rules[0]
    assert "step" in variables(rule.assignments[0][1])


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.1), (49, 0.1), (50, 0.01), (75, 0.001)])
def test_multistep(epoch, rate):
    result = checked(train="learning_rate = multistep(0.1, milestones = [50, 75])")
    assert evaluate(result.schedule, epoch=epoch) == pytest.approx(rate)


def test_own_schedules():
    top = (
        "let third = 1 / 3\n"
        "schedule ramp(e; lr, step = 2) = lr * max(e, epochs * third) / step\n"
        "schedule gone(e; marks) = count(marks == e) + count(e > marks) * step\n"
        "schedule none(e; marks = []) = 1 + count(marks < e)"
    )
    ramp = checked(top=top, train="learning_rate = ramp(3)").schedule
    assert evaluate(ramp, epoch=1, epochs=30) == pytest.approx(15)
    gone = checked(top=top, train="learning_rate = gone([1, 2, 4])").schedule
    assert [evaluate(gone, epoch=e, step=10) for e in range(4)] == [0, 1, 11, 20]
    none = checked(top=top, train="learning_rate = none()").schedule
    assert evaluate(none, epoch=3) == 1


# ------------------------------------------------------------------------------ all in all


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_shipped_models(path):
    result = check(path, {})
    assert result.model.name == path.stem
    assert result.warnings == ()


def test_the_overall_density_of_digits():
    layers = check(ROOT / "models" / "digits.nerva", {}).model.layers
    nnz = sum(layer.nnz for layer in layers)
    assert nnz / sum(layer.inputs * layer.outputs for layer in layers) == pytest.approx(0.1, 1e-3)


@pytest.mark.parametrize(
    "names",
    [
        "momentum = linear(x, 4)\ny = linear(momentum, 3)",  # also an optimizer
        "relu = relu(linear(x, 4))\ny = linear(relu(relu), 3)",  # also a function
        "density = linear(x, 4)\ny = linear(density, 3, density = 0.5)",  # also an option
    ],
)
def test_every_kind_has_names_of_its_own(names):
    checked(names)


def test_inputs_and_options_shadow_the_files_names():
    top = "let a = 100\nlet b = 100\nfunction f(a; b = 2) = a * b"
    y = value_of(checked("h = linear(x, 3)\ny = f(h)", top=top), "y")
    assert evaluate(y.expression, a0=3.0) == 6


def test_all_errors_at_once():
    found = codes(
        "a = linear(x, 0)\nb = relu(nothing)\nc = a + b\ny = linear(x, 3, density = 2)",
        top="let z = 1 / 0\nlet q = z + 1",
        train="batch = 0\nbatsh = 2",
        loss="softmax_cross_entropi(y, t)",
        typo=1,
    )
    assert sorted(found) == sorted(
        ["N0310", "N0302", "N0208", "N0201", "N0209", "N0201", "N0502", "N0501"]
    )


def test_expressions_that_explode_are_refused_at_once():
    lines = ["function f0(x) = x * x + x"]
    lines += [f"function f{i}(x) = f{i - 1}(f{i - 1}(x))" for i in range(1, 60)]
    start = time.perf_counter()
    assert codes(top="\n".join(lines)) == ["N0408"]
    assert time.perf_counter() - start < 2


def test_a_long_file_takes_time_in_proportion():
    def seconds(count):
        lines = ["h0 = linear(x, 3)"] + [f"h{i} = relu(h{i - 1} * 2)" for i in range(1, count)]
        start = time.perf_counter()
        checked("\n".join(lines) + f"\ny = linear(h{count - 1}, 3)")
        return time.perf_counter() - start

    seconds(10)
    assert seconds(4000) < 12 * seconds(1000)


def test_checking_needs_no_numpy():
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from nerva_dsl.check import check; "
        f"check(Path({str(MODELS[0])!r}), {{}}); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
