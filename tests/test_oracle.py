"""C, the interpreter and PyTorch compute the same: for every shipped model and generated ones."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import twins
from differ import (
    TooNearError,
    assert_differentiates,
    assert_evaluates,
    assert_schedules,
    assert_trains,
    settled,
)
from generate import Program, generate
from nerva_dsl.check import check, check_source
from nerva_dsl.codegen.render import generate as generate_c
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir.program import Program as IrProgram
from nerva_dsl.machine import Machine
from nerva_dsl.record import replace
from nerva_dsl.runtime.mkl import find_mkl
from nerva_dsl.runtime.model import Model
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.source import Source
from oracle import (
    BACKENDS,
    assert_interpreter_agrees,
    compiled,
    lively,
    observe,
)
from oracle import programs as ir_programs
from together import build_together


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(twins.TWINS))
def test_shipped_models(name, precision, backend, models):
    """Compare all three on one batch of full size and one that is short."""
    model = check(models / f"{name}.nerva", {}).model
    twin = twins.TWINS[name].program(model)
    module = compiled(model, precision, backend)
    rng = np.random.default_rng(model.seed)
    for count in {model.batch, max(1, model.batch // 2 + 1)}:
        net, evaluated, trained = _batches(twin, module.Model, rng, count, precision)
        _check_batch(
            twin, module.Model, net, (evaluated, trained), precision, ir_programs(model, precision)
        )


def test_every_shipped_model_has_a_twin(models):
    assert {path.stem for path in models.glob("*.nerva")} == set(twins.TWINS) | twins.LIBRARIES


@dataclass(frozen=True)
class Variant:
    """A generated program, compiled in a precision for a backend.

    Attributes:
        seed: of the program.
        stages: the IR after each stage that has backward graphs.
    """

    seed: int
    precision: str
    backend: str
    program: Program
    stages: tuple[tuple[str, IrProgram], ...]

    @property
    def key(self) -> str:
        return f"program_{self.seed}_{self.precision}_{self.backend}"


def _variants(seed):
    """A program in both precisions; one has MKL's products, the other generated ones."""
    program = generate(seed)
    model = check_source(Source(f"{program.name}.nerva", program.text), {}).model
    width = resolve_target("native").vector_bytes
    for number, precision in enumerate(("float64", "float32")):
        backend = "mkl" if (seed + number) % 2 and find_mkl() is not None else "native"
        own = replace(model, precision=precision)
        _, *stages = ir_stages(own, backend=backend, machine=Machine(width))
        generated = generate_c(
            own, stages[-1][1], backend=backend, target="native", machine=Machine(width)
        )
        yield Variant(seed, precision, backend, program, tuple(stages)), generated


@pytest.fixture
def _one_thread():
    """PyTorch on one thread: for so small arrays others only wait, and take the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
def test_generated_programs(program_seeds, pytestconfig):
    """All that is wrong is reported, with the seed that makes the program again."""
    variants, failures = {}, []
    for seed in program_seeds:
        try:
            variants |= {variant.key: (variant, made) for variant, made in _variants(seed)}
        except Exception:
            failures.append(f"program {seed} does not compile:\n{traceback.format_exc()}")
    built = {key: generated for key, (_, generated) in variants.items()}
    flags = (f"-O{pytestconfig.getoption('optimize')}",)
    classes = build_together(built, flags) if built else {}
    for key, (variant, _) in variants.items():
        try:
            _check(variant, classes[key])
        except Exception:
            failures.append(
                f"program {variant.seed} in {variant.precision} with {variant.backend} kernels "
                f"(--programs {variant.seed}:{variant.seed + 1}):\n{traceback.format_exc()}"
            )
    if failures:
        pytest.fail(f"{len(failures)} failures\n\n" + "\n".join(failures), pytrace=False)


def _check(variant: Variant, make: type[Model]) -> None:
    program, precision = variant.program, variant.precision
    rng = np.random.default_rng(variant.seed)
    for count in dict.fromkeys((program.batch, max(1, program.batch // 2 + 1))):
        net, *batches = _batches(program, make, rng, count, precision)
        _check_batch(program, make, net, batches, precision, variant.stages)
    if precision == "float64":
        assert_schedules(program, make._extension.lib.nerva_learning_rate)
        net = make(seed=variant.seed)
        net.set_parameters(lively(net.parameters(), rng))
        assert_trains(program, net, rng)


def _check_batch(program, make, net, batches, precision, stages):
    evaluated, trained = batches
    assert_evaluates(program, net, evaluated, precision)
    scales = assert_differentiates(program, net, trained, precision)
    seen = observe(make, net, *trained)
    before = None
    for stage, ir in stages:
        if ir != before:
            assert_interpreter_agrees(ir, seen, precision, stage, scales)
        before = ir


def _batches(program, make, rng, count, precision):
    """A model, and batches for evaluation and training that are away from kinks."""
    for seed in range(20):
        net = make(seed=seed)
        net.set_parameters(lively(net.parameters(), rng))
        given = (program, net, rng, count, precision)
        try:
            return net, settled(*given, training=False), settled(*given, training=True)
        except TooNearError:
            count = max(count * 2 // 3, 1 + program.normalizes)
    raise TooNearError("no model has a batch that is away from all kinks")
