"""Backward graphs compared with PyTorch's autograd, and with finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from nerva_dsl.check import check_source
from nerva_dsl.differentiate import differentiate
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir import interpret
from nerva_dsl.ir.operations import Update
from nerva_dsl.ir.parse import parse_program
from nerva_dsl.ir.verify import verify
from nerva_dsl.machine import Machine
from nerva_dsl.record import replace
from nerva_dsl.source import Source
from oracle import at_pattern, dense

FEATURES, ROWS, BATCH = 4, 3, 5
COLUMN = np.array([0.5, -1.0, 2.0])
COLUMN_TENSOR = torch.tensor(COLUMN)[:, None]

PROGRAM = """\
program p float64 batch 5 arena 0
input %x: float64[B, 4]
input %t: int32[B, 1]
parameter %w: float64[3, 4] csr nnz 7 rule heavy initial uniform(0, 1)
parameter %d: float64[3, 4] nnz 12 rule heavy initial uniform(0, 1)
parameter %v: float64[3, 3] csr nnz 5 rule heavy initial uniform(0, 1)
parameter %b: float64[3, 1] nnz 3 rule heavy initial uniform(0, 1)
parameter %k: float64[3, 1] nnz 3 rule heavy initial uniform(0, 1)
constant %c: float64[3, 1] = [0.5, -1, 2]
rule heavy {
  state m = 0
  m = 0.9 * m - lr * g
  w = w + m
}
schedule 0.1
graph step {
  %x.batch: float64[4, B] = load(%x)
  %t.batch: float64[1, B] = load(%t)
  %z: float64[3, B] = product(%w, %x.batch)
  BODY
  result loss = %loss
}
"""

SUM = "%loss: float64[1, B] = reduce sum features(%h)"


def _map(name: str, expression: str, *inputs: str, rows: int = 3) -> str:
    operands = ", ".join(f"%{name}" for name in inputs)
    return f"%{name}: float64[{rows}, B] = map f({operands}) {{ {expression} }}\n"


def _first_weighted(values):
    return (COLUMN_TENSOR * values).sum(0)


# name → (operations from z to loss, the same in PyTorch of z and the parameters)
GRAPHS = {
    "sum": (_map("h", "a0 * a0", "z") + SUM, lambda z, p: (z * z).sum(0)),
    "largest": (
        "%loss: float64[1, B] = reduce max features(%z)",
        lambda z, p: z.amax(0),
    ),
    "largest of what ties": (
        # Two features are equal, and larger than the third.
        "%s: float64[1, B] = reduce sum features(%z)\n"
        + _map("h", "if feature < 1.5 then a0 * a0 + 1 else -1 * a0 * a0", "s")
        + "%m: float64[1, B] = reduce max features(%h)\n"
        + _map("loss", "a0 * a0", "m", rows=1),
        lambda z, p: (
            torch.stack([z.sum(0) ** 2 + 1, z.sum(0) ** 2 + 1, -(z.sum(0) ** 2)]).amax(0) ** 2
        ),
    ),
    "softmax": (
        "%q: float64[3, B] = softmax(%z)\n" + _map("h", "a0 * a1", "q", "c") + SUM,
        lambda z, p: _first_weighted(F.softmax(z, 0)),
    ),
    "log_softmax": (
        "%q: float64[3, B] = log_softmax(%z)\n" + _map("h", "a0 * a1", "q", "c") + SUM,
        lambda z, p: _first_weighted(F.log_softmax(z, 0)),
    ),
    "both, of a softmax": (
        "%p: float64[3, B] = softmax(%z)\n"
        "%q: float64[3, B] = log_softmax(%p)\n"
        "%r: float64[3, B] = softmax(%p)\n" + _map("h", "a0 * a1 * a2", "q", "r", "p") + SUM,
        lambda z, p: (
            F.log_softmax(F.softmax(z, 0), 0) * F.softmax(F.softmax(z, 0), 0) * F.softmax(z, 0)
        ).sum(0),
    ),
    "cross entropy of a class": (
        _map("o", "if a0 == feature then 1 else 0", "t.batch")
        + "%q: float64[3, B] = log_softmax(%z)\n"
        + _map("h", "a0 * a1", "o", "q")
        + "%s: float64[1, B] = reduce sum features(%h)\n"
        + _map("loss", "-a0", "s", rows=1),
        lambda z, p: F.cross_entropy(z.T, p["t"], reduction="none"),
    ),
    "operand of one row": (
        "%s: float64[1, B] = reduce sum features(%z)\n"
        + _map("r", "tanh(a0)", "s", rows=1)
        + _map("h", "a0 * a1 + a1", "z", "r")
        + SUM,
        lambda z, p: (z * z.sum(0).tanh() + z.sum(0).tanh()).sum(0),
    ),
    "operands of one column": (
        _map("h", "exp(a0 * a1) * a2 - a1", "z", "b", "c") + SUM,
        lambda z, p: (torch.exp(z * p["b"]) * COLUMN_TENSOR - p["b"]).sum(0),
    ),
    "a row and a column": (
        "%m: float64[1, B] = reduce max features(%z)\n" + _map("h", "a0 * a1 * a1", "m", "b") + SUM,
        lambda z, p: (z.amax(0) * p["b"] * p["b"]).sum(0),
    ),
    "a column used twice": (
        _map("g", "a0 + a1", "z", "b") + _map("h", "tanh(a0) * a1", "g", "b") + SUM,
        lambda z, p: ((z + p["b"]).tanh() * p["b"]).sum(0),
    ),
    "equal gradients of two parameters": (
        _map("g", "a0 + a1 + a2", "z", "b", "k") + _map("h", "a0 * a0", "g") + SUM,
        lambda z, p: ((z + p["b"] + p["k"]) ** 2).sum(0),
    ),
    "one operand twice": (
        _map("h", "a0 * tanh(a1)", "z", "z") + SUM,
        lambda z, p: (z * z.tanh()).sum(0),
    ),
    "two consumers": (
        _map("g", "tanh(a0)", "z")
        + "%u: float64[3, B] = product(%v, %g)\n"
        + _map("h", "a0 * a1 + a2 * a2", "u", "g", "z")
        + SUM,
        lambda z, p: ((p["v"] @ z.tanh()) * z.tanh() + z * z).sum(0),
    ),
    "dense and sparse": (
        "%u: float64[3, B] = product(%d, %x.batch)\n" + _map("h", "a0 * a1", "z", "u") + SUM,
        lambda z, p: (z * (p["d"] @ p["x"])).sum(0),
    ),
    "residual": (
        "%u: float64[3, B] = product(%v, %z)\n"
        + _map("g", "a0 + 0.5 * (if a1 > 0 then a1 else 0)", "z", "u")
        + _map("h", "a0 * a0", "g")
        + SUM,
        lambda z, p: ((z + 0.5 * F.relu(p["v"] @ z)) ** 2).sum(0),
    ),
    "kinks": (
        _map(
            "h",
            "abs(a0) + max(a0, a1) * 2 - min(a1, 0.5 * a0) + sign(a0) + floor(a0)",
            *("z", "b"),
        )
        + SUM,
        lambda z, p: (z.abs() + 2 * torch.maximum(z, p["b"]) - torch.minimum(p["b"], 0.5 * z)).sum(
            0
        ),
    ),
    "functions": (
        _map(
            "h",
            "sqrt(1 + a0 ^ 2) + log(2 + tanh(a0)) / (3 + erf(a0)) + log1p(exp(a0)) - expm1(-a0)",
            "z",
        )
        + SUM,
        lambda z, p: (
            torch.sqrt(1 + z**2)
            + torch.log(2 + z.tanh()) / (3 + torch.erf(z))
            + F.softplus(z)
            - torch.expm1(-z)
        ).sum(0),
    ),
    "variable exponent": (
        _map("h", "(1 + a0 * a0) ^ a1", "z", "b") + SUM,
        lambda z, p: ((1 + z * z) ** p["b"]).sum(0),
    ),
    "a branch that is not taken": (
        _map("h", "if a0 > 0 then a0 else exp(a0) - 1", "z") + SUM,
        lambda z, p: F.elu(z).sum(0),
    ),
    "operand that is compared only": (
        _map("h", "if a0 > a1 then 2 * a1 else 0", "z", "b") + SUM,
        lambda z, p: (torch.where(z > p["b"], 2.0, 0.0) * p["b"]).sum(0),
    ),
    "count and feature": (
        _map("h", "a0 * feature / count + a0 * a0", "z") + SUM,
        lambda z, p: (z * torch.arange(3.0)[:, None] / BATCH + z * z).sum(0),
    ),
}


def _parameters(program, rng):
    return {parameter.value.name: _parameter(parameter, rng) for parameter in program.parameters}


def _parameter(parameter, rng):
    shape = rows, columns = parameter.value.type.shape
    numbers = rng.normal(size=parameter.nnz)
    if parameter.value.type.format == "dense":
        return numbers.reshape(shape)
    places = np.sort(rng.permutation(rows * columns)[: parameter.nnz])
    return sp.csr_array((numbers, (places // columns, places % columns)), shape=shape)


def _data(rng):
    return rng.normal(size=(BATCH, FEATURES)), rng.integers(0, ROWS, BATCH)


def _differentiated(body: str):
    program = verify(parse_program(PROGRAM.replace("BODY", body)), "reading")
    return verify(differentiate(program), "differentiate")


@pytest.mark.parametrize(("body", "twin"), GRAPHS.values(), ids=GRAPHS)
def test_gradients_are_pytorch_s(body, twin):
    program = _differentiated(body)
    rng = np.random.default_rng(3)
    parameters, (x, t) = _parameters(program, rng), _data(rng)
    tensors = {
        name: torch.tensor(dense(value), requires_grad=True) for name, value in parameters.items()
    }
    scope = {**tensors, "x": torch.tensor(x.T), "t": torch.tensor(t)}
    loss = twin(tensors["w"] @ scope["x"], scope)
    loss.mean().backward()
    given = {"parameters": parameters, "x": x, "t": t}
    gradients = interpret.run(program, "gradients", **given).results
    assert set(gradients) == {name for name, tensor in tensors.items() if tensor.grad is not None}
    for name, gradient in gradients.items():
        expected = at_pattern(tensors[name].grad.numpy(), parameters[name])
        np.testing.assert_allclose(dense(gradient), expected, 1e-12, 1e-12, err_msg=name)
    stepped = interpret.run(program, "step", **given, lr=0.1)
    if "floor" not in body:  # which is left out of the twin
        expected = loss.detach().numpy()
        np.testing.assert_allclose(stepped.results["loss"][0], expected, 1e-12, 1e-12)
    for name, parameter in parameters.items():
        change = dense(stepped.parameters[name]).reshape(parameter.shape) - dense(parameter)
        expected = -0.1 * dense(gradients[name]) if name in gradients else np.zeros(change.shape)
        np.testing.assert_allclose(change, expected, 1e-9, 1e-12, err_msg=name)


@pytest.mark.parametrize("equal", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_largest_shares_among_equal_features_as_amax_does(equal):
    """The rows of the weight that tie are equal; the others are smaller at every sample."""
    program = _differentiated("%loss: float64[1, B] = reduce max features(%z)")
    rng = np.random.default_rng(4)
    x, t = np.abs(rng.normal(size=(BATCH, FEATURES))), np.zeros(BATCH, int)
    w = -np.abs(rng.normal(size=(ROWS, FEATURES)))
    w[list(equal)] = np.abs(rng.normal(size=FEATURES))
    parameters = {**_parameters(program, rng), "w": sp.csr_array(w)}
    tensor = torch.tensor(w, requires_grad=True)
    (tensor @ torch.tensor(x.T)).amax(0).mean().backward()
    outcome = interpret.run(program, "gradients", parameters=parameters, x=x, t=t)
    np.testing.assert_allclose(outcome.results["w"].toarray(), tensor.grad.numpy(), 1e-12)
    assert np.count_nonzero(outcome.results["w"].toarray()) == len(equal) * FEATURES


def test_the_gradients_of_a_sparse_weight_that_is_used_twice_are_added():
    body = "%u: float64[3, B] = product(%v, %z)\n%h: float64[3, B] = product(%v, %u)\n" + SUM
    program = _differentiated(body)
    rng = np.random.default_rng(6)
    x, t = rng.normal(size=(BATCH, FEATURES)), np.zeros(BATCH, int)
    parameters = _parameters(program, rng)
    outcome = interpret.run(program, "gradients", parameters=parameters, x=x, t=t)
    v, w = (torch.tensor(parameters[name].toarray(), requires_grad=True) for name in "vw")
    (v @ (v @ (w @ torch.tensor(x.T)))).sum(0).mean().backward()
    expected = np.where(parameters["v"].toarray() != 0, v.grad.numpy(), 0)
    np.testing.assert_allclose(outcome.results["v"].toarray(), expected, 1e-12)


def test_graphs_of_a_differentiated_program():
    body, _ = GRAPHS["two consumers"]
    before = parse_program(PROGRAM.replace("BODY", body))
    copy = parse_program(PROGRAM.replace("BODY", body))
    after = differentiate(before)
    assert before == copy
    assert [graph.name for graph in after.graphs] == ["gradients", "step"]
    # Only what the loss depends on is trained, in the order of the parameters.
    assert [name for name, _ in after.graph("gradients").results] == ["w", "v"]
    step = after.graph("step")
    assert step.results == before.graph("step").results
    updates = [op for op in step.operations if isinstance(op, Update)]
    assert [update.parameter.name for update in updates] == ["w", "v"]
    assert step.operations[: len(before.graph("step").operations)] == (
        before.graph("step").operations
    )
    assert step.operations[-2:] == tuple(updates)


def test_places_of_backward_operations_are_those_of_the_forward_ones():
    text = PROGRAM.replace("BODY", _map("h", "a0 * a0", "z") + SUM)
    text = text.replace("product(%w, %x.batch)", "product(%w, %x.batch) @ m.nerva:7:3")
    text = text.replace("{ a0 * a0 }", "{ a0 * a0 } @ m.nerva:8:1")
    graph = differentiate(parse_program(text)).graph("step")
    origins = {op.results[0].name: op.origin for op in graph.operations if op.results}
    assert [str(place) for place in origins["w.grad"]] == ["m.nerva:7:3"]
    assert [str(place) for place in origins["z.grad"]] == ["m.nerva:8:1"]
    assert [str(place) for place in graph.operations[-1].origin] == ["m.nerva:7:3"]


MODEL = """\
model whole
input x : float32[6]
target t : class[3]
sparsity = uniform(0.6)
function own_swish(a) = a * sigmoid(a)
function gate(a, b) = tanh(a) * sigmoid(b)
loss own(y, t; amount = 0.2) =
    -(1 - amount) * sum(t * log_softmax(y)) - amount * mean(log(softmax(y) + 0.1)) + 0.1 * sum(y^2)
optimizer own_adam(w, g, lr) {
    state m = 0
    state v = 0
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g^2
    w = w - lr * m / (sqrt(v) + 1e-3)
}
scaled = normalize(x / 2, mean = [0.1, 0.2], std = [0.9, 1.1])
h1 = own_swish(linear(scaled, 5))
h2 = h1 + gate(linear(h1, 5), linear(scaled, 5, density = 1))
h3 = log1p(exp(linear(h2, 4, bias = false)))
y  = linear(h3, 3) + linear(h1, 3)
output = y
loss = own(y, t)
train {
    batch = 7
    optimizer = own_adam()
}
"""


@pytest.mark.parametrize("stage", ["differentiate", "buffers"])
def test_gradients_of_a_whole_model_are_finite_differences(stage):
    model = replace(check_source(Source("whole.nerva", MODEL), {}).model, precision="float64")
    programs = dict(ir_stages(model, backend="native", machine=Machine(32)))
    rng = np.random.default_rng(6)
    parameters = _parameters(programs[stage], rng)
    x, t = rng.normal(size=(7, 6)), rng.integers(0, 3, 7)

    def mean_loss(changed):
        outcome = interpret.run(programs["lower"], "evaluate", parameters=changed, x=x, t=t)
        return outcome.results["loss"].mean()

    gradients = interpret.run(programs[stage], "gradients", parameters=parameters, x=x, t=t).results
    assert set(gradients) == set(parameters)
    width = 1e-6
    for name, value in parameters.items():
        own = gradients[name].data if sp.issparse(value) else gradients[name].ravel()
        expected = np.empty_like(own)
        for place in range(own.size):
            losses = []
            for side in (width, -width):
                moved = value.copy()
                (moved.data if sp.issparse(moved) else moved.ravel())[place] += side
                losses.append(mean_loss({**parameters, name: moved}))
            expected[place] = (losses[0] - losses[1]) / (2 * width)
        np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-8, err_msg=name)
        assert np.abs(own).max() > 1e-4, f"{name}: nothing is compared"
