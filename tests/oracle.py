"""Running one model three ways: as compiled C, by the interpreter, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from nerva_dsl.driver import emit_model, ir_stages
from nerva_dsl.ir import interpret
from nerva_dsl.ir.program import Program
from nerva_dsl.model import CheckedModel, Precision
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.mkl import find_mkl
from nerva_dsl.runtime.target import resolve_target

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
VECTOR_BYTES = 64
KINK = {"float64": 1e-12, "float32": 1e-4}


BACKENDS = ("auto", "mkl", "native")
needs_mkl = pytest.mark.skipif(find_mkl() is None, reason="MKL is not installed")


def compiled(model: CheckedModel, precision: Precision, backend: str = "auto") -> ModuleType:
    """The compiled module of a model, in a precision."""
    generated = emit_model(replace(model, precision=precision), backend=backend)
    return load_module(build(generated, resolve_target("native")))


def programs(model: CheckedModel, precision: Precision) -> Iterator[tuple[str, Program]]:
    """The IR after each stage that has backward graphs."""
    stages = ir_stages(
        replace(model, precision=precision), backend="native", vector_bytes=VECTOR_BYTES
    )
    return ((name, program) for name, program in stages if name != "lower")


def dense(array: Any) -> np.ndarray:
    """A parameter or gradient as an ndarray."""
    return array.toarray() if sp.issparse(array) else np.asarray(array)


def assert_close(actual: Any, expected: Any, precision: str, what: str) -> None:
    """Equal to the precision's tolerance, relative to the array's largest number."""
    a, b = dense(actual).astype(np.float64), dense(expected).astype(np.float64)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    assert np.isfinite(a).all(), f"{what}: not finite"
    error = np.abs(a - b).max(initial=0.0)
    bound = TOLERANCE[precision] * np.abs(b).max(initial=0.0)
    assert error <= bound, f"{what}: differs by {error:.3g}, allowed {bound:.3g}"


def lively(parameters: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Parameters that keep signals near 1 in sparse layers, and give half of the neurons a bias.

    The other half keeps pre-activations of exactly 0 where no weight arrives, on the kink.
    """
    changed = {}
    for name, value in parameters.items():
        if value.ndim == 1:
            changed[name] = rng.normal(size=value.shape) * rng.integers(0, 2, value.shape)
            continue
        stored = value.nnz if sp.issparse(value) else value.size
        bound = np.sqrt(3 * value.shape[0] / stored)
        numbers = rng.uniform(-bound, bound, stored)
        if sp.issparse(value):
            changed[name] = sp.csr_array((numbers, value.indices, value.indptr), value.shape)
        else:
            changed[name] = numbers.reshape(value.shape)
    return changed


Forward = Callable[[dict[str, torch.Tensor], torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]


def torch_reference(
    forward: Forward, parameters: Mapping[str, Any], x: np.ndarray, t: np.ndarray | None
) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    """Output, mean loss and gradients by all parameters, in double precision."""
    tensors = {
        name: torch.tensor(dense(value), dtype=torch.float64, requires_grad=True)
        for name, value in parameters.items()
    }
    output, loss, _ = forward(tensors, torch.tensor(x, dtype=torch.float64), _target(t))
    mean = loss.mean()
    mean.backward()
    gradients = {
        name: np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        for name, tensor in tensors.items()
    }
    return output.detach().numpy(), mean.item(), gradients


def away_from_kinks(
    forward: Forward,
    parameters: Mapping[str, Any],
    x: np.ndarray,
    t: np.ndarray | None,
    precision: str,
) -> np.ndarray:
    """Which samples have no pre-activation so near a kink that rounding could decide the branch.

    Exactly on the kink is allowed: there the choice of branch is defined.
    """
    tensors = {name: torch.tensor(dense(p)).double() for name, p in parameters.items()}
    with torch.no_grad():
        *_, distance = forward(tensors, torch.tensor(x, dtype=torch.float64), _target(t))
    return np.flatnonzero(((distance == 0) | (distance > KINK[precision])).all(1).numpy())


def _target(t: np.ndarray | None) -> torch.Tensor:
    target = torch.tensor(0) if t is None else torch.tensor(t)
    return target.double() if target.is_floating_point() else target


def at_pattern(gradient: np.ndarray, like: Any) -> np.ndarray:
    """A dense gradient where a parameter has non-zeros, and 0 elsewhere."""
    if not sp.issparse(like):
        return gradient
    pattern = sp.csr_array((np.ones_like(like.data), like.indices, like.indptr), shape=like.shape)
    return gradient * pattern.toarray()


def assert_interpreter_agrees(
    program: Program,
    module: ModuleType,
    net: Any,
    x: np.ndarray,
    t: np.ndarray | None,
    precision: str,
    stage: str,
) -> None:
    """The IR's meaning is what the compiled model computes: every entry, and one step."""
    parameters = net.parameters()
    given = {"parameters": parameters, "x": x, "t": t}
    outcome = interpret.run(program, "predict", **given)
    assert_close(net.predict(x), outcome.results["output"].T, precision, f"{stage}: output")
    outcome = interpret.run(program, "evaluate", **given)
    evaluated = net.evaluate(x, t)
    for name, values in outcome.results.items():
        assert_close([evaluated[name]], [values.mean()], precision, f"{stage}: {name}")
    outcome = interpret.run(program, "gradients", **given)
    gradients = net.gradients(x, t)
    assert set(gradients) == set(outcome.results)
    for name, gradient in gradients.items():
        expected = outcome.results[name]
        expected = expected[:, 0] if gradient.ndim == 1 else expected
        assert_close(gradient, expected, precision, f"{stage}: gradient of {name}")
    if precision == "float32" and program.rules[0].name not in ("sgd", "momentum", "nesterov"):
        return  # dividing by the gradient's size would make a step of a tiny one's rounding
    outcome = interpret.run(program, "step", **given, lr=0.05, step=net.step + 1)
    copy = module.Model(seed=net.seed)
    copy.set_parameters(parameters)
    loss = copy.train_step(x, t, lr=0.05)
    assert_close([loss], [outcome.results["loss"].mean()], precision, f"{stage}: loss of a step")
    for name, value in copy.parameters().items():
        assert_close(value, outcome.parameters[name], precision, f"{stage}: {name} after a step")
