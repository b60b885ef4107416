"""Running one model three ways: as compiled C, by the interpreter, and in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from nerva_dsl.driver import emit_model, ir_stages
from nerva_dsl.ir import interpret
from nerva_dsl.ir.program import Program
from nerva_dsl.machine import Machine
from nerva_dsl.model import CheckedModel, Precision
from nerva_dsl.record import replace
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.mkl import find_mkl
from nerva_dsl.runtime.model import Model
from nerva_dsl.runtime.target import resolve_target

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
VECTOR_BYTES = 64
KINK = {"float64": 1e-12, "float32": 1e-4}
RATE = 0.05
SMOOTH = ("sgd", "gradient_descent", "momentum", "nesterov", "own_momentum", "running")
"""How the names of rules begin whose step is in proportion to the gradient."""
FIRM = 1e-4  # of a gradient's scale: below it, the gradient may be no more than rounding
LONGEST = 10.0  # a step of any rule, of the learning rate: RMSprop's first, by default


BACKENDS = ("auto", "mkl", "native")
needs_mkl = pytest.mark.skipif(find_mkl() is None, reason="MKL is not installed")


def compiled(model: CheckedModel, precision: Precision, backend: str = "auto") -> ModuleType:
    """The compiled module of a model, in a precision."""
    generated = emit_model(replace(model, precision=precision), backend=backend)
    return load_module(build(generated, resolve_target("native")))


def programs(model: CheckedModel, precision: Precision) -> Iterator[tuple[str, Program]]:
    """The IR after each stage that has backward graphs."""
    stages = ir_stages(
        replace(model, precision=precision), backend="native", machine=Machine(VECTOR_BYTES)
    )
    return ((name, program) for name, program in stages if name != "lower")


def dense(array: Any) -> np.ndarray:
    """A parameter or gradient as an ndarray."""
    return array.toarray() if sp.issparse(array) else np.asarray(array)


def assert_close(actual: Any, expected: Any, precision: str, what: str, scale: float = 0.0) -> None:
    """Equal to the precision's tolerance, relative to the array's largest number.

    Args:
        actual, expected: arrays, sparse or not.
        precision: of what was computed.
        what: for the message.
        scale: of the numbers that it was computed from, if these may cancel: it stands for the
            largest number if that is smaller.
    """
    a, b = dense(actual).astype(np.float64), dense(expected).astype(np.float64)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    assert np.isfinite(a).all(), f"{what}: not finite"
    error = np.abs(a - b).max(initial=0.0)
    bound = TOLERANCE[precision] * max(np.abs(b).max(initial=0.0), scale)
    assert error <= bound, f"{what}: differs by {error:.3g}, allowed {bound:.3g}"


def is_firm(gradient: Any, scale: float) -> np.ndarray:
    """Where a gradient is 0 or known to some digits; elsewhere it may be rounding only.

    A rule that divides by the gradient's size makes a step of rounding too: in double precision
    1e-14 / 1e-8 of the rate, where before a batch norm larger terms cancel.
    """
    size = np.abs(dense(gradient))
    return (size == 0) | (size >= FIRM * scale)


def largest(gradients: Mapping[str, Any]) -> float:
    """The largest number of all gradients."""
    return max((np.abs(dense(g)).max(initial=0.0) for g in gradients.values()), default=0.0)


def lively(parameters: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Parameters that keep signals near 1 in sparse layers, and give half of the neurons a bias.

    The other half keeps pre-activations of exactly 0 where no weight arrives, on the kink. What
    follows a batch norm has no such: there a feature without input is 0 but for rounding.
    """
    return {
        name: _lively(name.rpartition(".")[2], value, rng) for name, value in parameters.items()
    }


def _lively(part: str, value: Any, rng: np.random.Generator) -> Any:
    match part:
        case "running_var" | "gamma":
            return rng.uniform(0.5, 1.5, value.shape)
        case "running_mean" | "beta":
            return rng.normal(0.2, 0.3, size=value.shape)
    if value.ndim == 1:
        return rng.normal(size=value.shape) * rng.integers(0, 2, value.shape)
    stored = value.nnz if sp.issparse(value) else value.size
    bound = np.sqrt(3 * value.shape[0] / stored)
    numbers = rng.uniform(-bound, bound, stored)
    if sp.issparse(value):
        return sp.csr_array((numbers, value.indices, value.indptr), value.shape)
    return numbers.reshape(value.shape)


def tensors_of(parameters: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Parameters for PyTorch, in double precision, of which gradients can be taken."""
    return {
        name: torch.tensor(dense(value), dtype=torch.float64, requires_grad=True)
        for name, value in parameters.items()
    }


def gradients_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """What `backward` has left, by name."""
    return {
        name: np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        for name, tensor in tensors.items()
    }


def clear(distance: torch.Tensor, precision: str) -> np.ndarray:
    """Whether each sample's distances from kinks, `[n, m]`, are 0 or large enough."""
    return ((distance == 0) | (distance > KINK[precision])).all(1).numpy()


def at_pattern(gradient: np.ndarray, like: Any) -> np.ndarray:
    """A dense gradient where a parameter has non-zeros, and 0 elsewhere."""
    if not sp.issparse(like):
        return gradient
    pattern = sp.csr_array((np.ones_like(like.data), like.indices, like.indptr), shape=like.shape)
    return gradient * pattern.toarray()


@dataclass(frozen=True)
class Observed:
    """What a compiled model computes of one batch, with each of its entries.

    Attributes:
        x, t: the batch.
        seed: of the model.
        step: number of the next step, from 1.
        parameters: before the step.
        output: of `predict`.
        alone: of `predict` for the first sample.
        evaluated: of `evaluate`.
        gradients: of `gradients`.
        loss: of `train_step`.
        after: the parameters after it.
    """

    x: np.ndarray
    t: np.ndarray | None
    seed: int
    step: int
    parameters: dict[str, Any]
    output: np.ndarray
    alone: np.ndarray
    evaluated: dict[str, Any]
    gradients: dict[str, Any]
    loss: float
    after: dict[str, Any]


def observe(make: type[Model], net: Any, x: np.ndarray, t: np.ndarray | None) -> Observed:
    """Call every entry on a batch; the model stays as it is."""
    parameters = net.parameters()
    copy = make(seed=net.seed)
    copy.set_parameters(parameters)
    return Observed(
        x=x,
        t=t,
        seed=net.seed,
        step=copy.step + 1,
        parameters=parameters,
        output=net.predict(x),
        alone=net.predict(x[:1]),
        evaluated=net.evaluate(x, t),
        gradients=net.gradients(x, t),
        loss=copy.train_step(x, t, lr=RATE),
        after=copy.parameters(),
    )


def assert_interpreter_agrees(
    program: Program,
    seen: Observed,
    precision: str,
    stage: str,
    scales: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """The IR's meaning is what the compiled model computes: every entry, and one step.

    Args:
        program: after some stage.
        seen: what the compiled model computes.
        precision: of both.
        stage: for messages.
        scales: the sizes below which a gradient is 0 but for rounding, by parameter.
    """
    given = {"parameters": seen.parameters, "x": seen.x, "t": seen.t}
    outcome = interpret.run(program, "predict", **given)
    output = outcome.results["output"].T
    assert_close(seen.output, output, precision, f"{stage}: output")
    assert_close(seen.alone, output[:1], precision, f"{stage}: output for one sample")
    outcome = interpret.run(program, "evaluate", **given)
    for name, values in outcome.results.items():
        measured = seen.evaluated[name]
        if np.ndim(measured):  # a confusion matrix: each sample has its cell
            cells = np.bincount(values.ravel().astype(int), minlength=measured.size)
            np.testing.assert_array_equal(measured.ravel(), cells, f"{stage}: {name}")
        else:
            assert_close([measured], [values.mean()], precision, f"{stage}: {name}")
    given |= {"seed": seen.seed, "step": seen.step}
    outcome = interpret.run(program, "gradients", **given)
    assert set(seen.gradients) == set(outcome.results)
    firm = {}
    for name, gradient in seen.gradients.items():
        expected = outcome.results[name]
        expected = expected[:, 0] if gradient.ndim == 1 else expected
        scale = scales.get(name, 0.0)
        assert_close(gradient, expected, precision, f"{stage}: gradient of {name}", scale)
        firm[name] = is_firm(gradient, scale) & is_firm(expected, scale)
    outcome = interpret.run(program, "step", **given, lr=RATE)
    assert_close([seen.loss], [outcome.results["loss"].mean()], precision, f"{stage}: step's loss")
    rules = {parameter.value.name: parameter.rule for parameter in program.parameters}
    for name, value in seen.after.items():
        # In single precision, too few gradients are firm for rules that divide by their size.
        smooth = rules[name].startswith(SMOOTH)
        if precision == "float64" or smooth:
            moved = RATE * scales.get(name, 0.0) if smooth else 10.0
            what, expected = f"{stage}: {name} after a step", dense(outcome.parameters[name])
            if not smooth:
                apart = np.abs(dense(value) - expected).max(initial=0.0)
                assert apart <= LONGEST * RATE, f"{what}: moves too far"
                expected = np.where(firm[name], expected, dense(value))
            assert_close(value, expected, precision, what, moved)
