"""Scalar expressions: derivatives, simplification, text and C, against PyTorch and NumPy."""

from __future__ import annotations

import ctypes
import math
import random
import subprocess

import numpy as np
import pytest
import torch

from benchmarks.vector_math.library import own_functions
from nerva_dsl.check import check_source
from nerva_dsl.codegen.c_expression import Statements, c_expression
from nerva_dsl.codegen.names import Names
from nerva_dsl.ir.parse import parse_program
from nerva_dsl.ir.program import Program
from nerva_dsl.ir.text import print_program
from nerva_dsl.record import replace
from nerva_dsl.scalar import Apply, Number, Var, apply, is_truth, walk
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.evaluate import evaluate
from nerva_dsl.scalar.simplify import in_terms_of_value, simplify
from nerva_dsl.scalar.text import to_text
from nerva_dsl.source import Source

X = Var("x")
ZERO, ONE = Number(0.0), Number(1.0)
RELU = apply("select", apply("gt", X, ZERO), X, ZERO)

TORCH = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "neg": torch.neg,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "eq": torch.eq,
    "ne": torch.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "select": torch.where,
    "min": torch.minimum,
    "max": torch.maximum,
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "erf": torch.erf,
}


def in_torch(expression, x):
    values = {}
    for node in walk(expression):
        if isinstance(node, Number):
            values[id(node)] = torch.tensor(node.value, dtype=torch.float64).expand_as(x)
        elif isinstance(node, Var):
            values[id(node)] = x
        else:
            values[id(node)] = TORCH[node.operator](*(values[id(a)] for a in node.arguments))
    return values[id(expression)]


def random_expression(rng: random.Random, depth: int, *, truth: bool = False):
    if truth:
        if depth > 1 and rng.random() < 0.4:
            name = rng.choice(["and", "or", "not"])
            count = 1 if name == "not" else 2
            inner = [random_expression(rng, depth - 1, truth=True) for _ in range(count)]
            return apply(name, *inner)
        name = rng.choice(["lt", "le", "gt", "ge"])
        return apply(name, *(random_expression(rng, depth - 1) for _ in range(2)))
    if depth <= 0 or rng.random() < 0.15:
        return rng.choice(
            [X, X, X, Number(round(rng.uniform(-2, 2), 2)), Number(float(rng.randint(-2, 3)))]
        )
    kind = rng.random()
    inner = [random_expression(rng, depth - 1) for _ in range(2)]
    if kind < 0.5:
        return apply(rng.choice(["add", "sub", "mul", "min", "max"]), *inner)
    if kind < 0.6:  # denominators and roots stay away from 0
        positive = apply("add", Number(0.5), apply("mul", inner[1], inner[1]))
        return rng.choice(
            [apply("div", inner[0], positive), apply("sqrt", positive), apply("log", positive)]
        )
    if kind < 0.7:
        return apply("pow", inner[0], Number(float(rng.choice([0, 1, 2, 3]))))
    if kind < 0.85:
        name = rng.choice(["neg", "abs", "tanh", "erf", "sign", "floor"])
        return apply(name, inner[0])
    if kind < 0.9:
        return apply(rng.choice(["exp", "expm1"]), apply("tanh", inner[0]))
    return apply("select", random_expression(rng, depth - 1, truth=True), *inner)


EXPRESSIONS = [random_expression(random.Random(seed), 4) for seed in range(300)]
POINTS = np.concatenate([np.linspace(-3, 3, 41), [0.0, -0.0, 1.0, -1.0, 2.0]])


def numpy_value(expression, points=POINTS):
    value = evaluate(expression, {"x": points}, np.float64)
    return np.broadcast_to(value, points.shape).astype(float)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=range(len(EXPRESSIONS)))
def test_value_and_derivative_are_pytorchs(expression):
    x = torch.tensor(POINTS, requires_grad=True)
    value = in_torch(expression, x)
    np.testing.assert_allclose(numpy_value(expression), value.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(
        numpy_value(simplify(expression)), value.detach().numpy(), rtol=1e-9, atol=1e-12
    )
    if X not in list(walk(expression)):
        assert derivative(expression, "x") == ZERO
        return
    (slope,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    expected = np.zeros_like(POINTS) if slope is None else slope.numpy()
    ours = numpy_value(derivative(expression, "x"))
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_prelude_functions(name):
    """Values and slopes are PyTorch's, at kinks, at ±0 and far out."""
    text = f"model m\ninput x : float32[2]\nh = {name}(x)\noutput = h\nloss = squared_error(h, x)\n"
    text = text.replace("(x)", "(linear(x, 2))")
    node = check_source(Source("m.nerva", text), {}).model.output
    expression = _renamed(node.expression)
    x = torch.tensor(
        [0.0, -0.0, 1e-30, -1e-30, 0.5, -0.5, 3, -3, 20, -20, 80, -80], dtype=torch.float64
    )
    x.requires_grad_(True)
    function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    value = function(x)
    value.sum().backward()
    points = x.detach().numpy()
    np.testing.assert_allclose(
        numpy_value(expression, points), value.detach(), rtol=1e-9, atol=1e-15
    )
    slope = numpy_value(derivative(expression, "x"), points)
    np.testing.assert_allclose(slope, x.grad, rtol=1e-9, atol=1e-15)
    inside = np.linspace(-4, 4, 1001) + 1e-4
    step = 1e-6
    central = (numpy_value(expression, inside + step) - numpy_value(expression, inside - step)) / (
        2 * step
    )
    np.testing.assert_allclose(
        numpy_value(derivative(expression, "x"), inside), central, rtol=1e-6, atol=1e-8
    )


def _renamed(expression):
    from nerva_dsl.scalar import substitute

    return substitute(expression, {"a0": X})


def test_slope_of_relu_reads_its_value():
    slope = simplify(apply("mul", Var("dy"), derivative(RELU, "x")))
    rewritten = in_terms_of_value(slope, RELU, "x", "y")
    assert to_text(rewritten) == "if y > 0 then dy else 0"


def test_slope_of_tanh_reads_its_value():
    value = apply("tanh", X)
    assert to_text(in_terms_of_value(derivative(value, "x"), value, "x", "y")) == "1 - y * y"


@pytest.mark.parametrize(
    "value",
    [
        apply("abs", X),  # loses the sign
        apply("select", apply("gt", X, ZERO), X, apply("mul", Number(-0.6), X)),  # not monotonic
        apply("max", X, Number(-1.0)),
        apply("mul", X, X),
        apply("select", apply("gt", X, ONE), X, ZERO),
    ],
)
def test_values_that_do_not_tell_their_slope(value):
    rewritten = in_terms_of_value(derivative(value, "x"), value, "x", "y")
    if rewritten is None:
        return
    # Rewriting is allowed only where it is right everywhere.
    slope = numpy_value(derivative(value, "x"))
    y = numpy_value(value)
    np.testing.assert_array_equal(
        np.broadcast_to(evaluate(rewritten, {"y": y}, np.float64), y.shape), slope
    )


def test_text_reads_back():
    empty = Program("m", "float32", 1, (), (), (), (), ZERO, ())
    for expression in [*EXPRESSIONS, *map(simplify, EXPRESSIONS)]:
        program = replace(empty, schedule=expression)
        assert parse_program(print_program(program)).schedule == expression, to_text(expression)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_c_computes_the_same(tmp_path, precision):
    """Parentheses, helpers and shared parts of the C, by running it."""
    real = "double" if precision == "float64" else "float"
    suffix = "" if precision == "float64" else "f"
    lines = [own_functions(), f"typedef {real} real;"]
    for helper, body in (
        (f"minimum{suffix}(real a, real b)", "a < b ? a : b"),
        (f"maximum{suffix}(real a, real b)", "a > b ? a : b"),
        (f"signum{suffix}(real a)", "(real)((a > 0) - (a < 0))"),
    ):
        lines.append(f"static inline real {helper} {{ return {body}; }}")
    chosen = [e for e in EXPRESSIONS if not is_truth(e)]
    for number, expression in enumerate(chosen):
        statements = Statements(precision, Names())
        statements.add("slope", derivative(expression, "x"))
        name = statements.add("value", expression)
        lines.append(
            f"real value_{number}(real x) {{ return {c_expression(expression, precision)}; }}"
        )
        body = " ".join(statements.lines())
        lines.append(f"real shared_{number}(real x) {{ {body} (void)slope; return {name}; }}")
    source = tmp_path / "expressions.c"
    source.write_text("\n".join(lines) + "\n")
    library = tmp_path / "expressions.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-ffp-contract=off"]
    flags += ["-Wno-unused-function", "-Wno-unused-parameter"]
    subprocess.run(["gcc", *flags, "-shared", "-fPIC", source, "-o", library, "-lm"], check=True)
    compiled = ctypes.CDLL(str(library))
    kind, dtype = (ctypes.c_double, np.float64) if suffix == "" else (ctypes.c_float, np.float32)
    for number, expression in enumerate(chosen):
        points = POINTS.astype(dtype)
        expected = np.broadcast_to(evaluate(expression, {"x": points}, dtype), points.shape)
        for form in ("value", "shared"):
            function = getattr(compiled, f"{form}_{number}")
            function.restype, function.argtypes = kind, [kind]
            values = np.array([function(x) for x in points])
            tolerance = 1e-12 if suffix == "" else 2e-4
            np.testing.assert_allclose(
                values, expected, rtol=tolerance, atol=tolerance, err_msg=to_text(expression)
            )


def test_shared_parts_are_computed_once():
    """The value and the slope of a sigmoid take one exponential."""
    power = apply("exp", apply("neg", X))
    sigmoid = apply("div", ONE, apply("add", ONE, power))
    statements = Statements("float32", Names())
    statements.add("value", sigmoid)
    statements.add("slope", derivative(sigmoid, "x"))
    assert "\n".join(statements.lines()).count("exp_float(") == 1


def test_numbers_in_c():
    assert c_expression(Number(0.1), "float32") == "0.1f"
    assert c_expression(Number(10.0), "float32") == "10.0f"
    assert c_expression(Number(1e-8), "float32") == "1e-08f"
    assert c_expression(Number(0.1), "float64") == "0.1"
    assert c_expression(Number(1e300), "float32") == "INFINITY"
    assert c_expression(apply("sub", X, Number(-1.0)), "float64") == "x - -1.0"
    assert c_expression(apply("neg", Number(-1.0)), "float64") == "-(-1.0)"


def test_simplify_keeps_what_is_not_finite_for_the_run():
    assert simplify(apply("div", ONE, ZERO)) == apply("div", ONE, ZERO)
    assert simplify(apply("exp", Number(1e4))) == Apply("exp", (Number(1e4),))
    assert math.isinf(numpy_value(apply("exp", Number(1e4)))[0])
