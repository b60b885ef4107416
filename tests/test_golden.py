"""The IR after each stage and the C of every shipped model: as expected, and executed.

The expected texts are made for a pinned target; vectors in the C are GCC's portable ones, so that
they run on any machine.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

import golden
import twins
from differ import assert_evaluates, masks_of
from nerva_dsl.check import check
from nerva_dsl.driver import emit_model, ir_stages
from nerva_dsl.ir.parse import parse_program
from nerva_dsl.ir.text import print_program
from nerva_dsl.machine import Machine
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from oracle import (
    assert_interpreter_agrees,
    at_pattern,
    dense,
    gradients_of,
    largest,
    lively,
    observe,
    tensors_of,
)

TARGET = "x86-64-v4"
MODELS = sorted(twins.TWINS)


@pytest.fixture
def model(request, monkeypatch, models):
    monkeypatch.chdir(models.parent)  # places in the texts are relative to the repository
    return check(models.relative_to(models.parent) / f"{request.param}.nerva", {}).model


def _stages(model):
    width = resolve_target(TARGET).vector_bytes
    return list(ir_stages(model, backend="native", machine=Machine(width)))


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_ir_after_each_stage(model, request):
    texts = {
        f"{number:02}-{name}.ir": print_program(program)
        for number, (name, program) in enumerate(_stages(model))
    }
    golden.compare(f"{model.name}/ir", texts, refresh=request.config.getoption("refresh"))


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_text_reads_back_to_the_same_program(model):
    for name, program in _stages(model):
        assert parse_program(print_program(program)) == program, name


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_c(model, request):
    generated = emit_model(model, backend="native", target=TARGET)
    texts = {
        f"{model.name}.c": generated.c_source,
        f"{model.name}.py": generated.module_source,
    }
    golden.compare(f"{model.name}/c", texts, refresh=request.config.getoption("refresh"))


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_golden_c_and_ir_compute_what_pytorch_does(model):
    """The files themselves are run: a text can be as expected and wrong."""
    folder = golden.FOLDER / model.name
    generated = replace(
        emit_model(model, backend="native", target=TARGET),
        c_source=(folder / "c" / f"{model.name}.c").read_text(encoding="utf-8"),
    )
    module = load_module(build(generated, resolve_target("native")))
    twin = twins.TWINS[model.name].program(model)
    rng = np.random.default_rng(5)
    net = module.Model(seed=5)
    net.set_parameters(lively(net.parameters(), rng))
    batch = twin.data(rng, model.batch)
    assert_evaluates(twin, net, batch, "float32")
    seen = observe(module.Model, net, *batch)
    tensors = tensors_of(seen.parameters)
    twin.run(tensors, *batch, masks_of(net, model.batch)).loss.mean().backward()
    expected = gradients_of(tensors)
    scales = dict.fromkeys(expected, 1e-3 * largest(expected) if twin.normalizes else 0.0)
    for path in sorted((folder / "ir").glob("*.ir")):
        if path.name.endswith(("differentiate.ir", "buffers.ir")):
            program = parse_program(path.read_text(encoding="utf-8"))
            assert_interpreter_agrees(program, seen, "float32", path.name, scales)
    for name, gradient in seen.gradients.items():
        # A pre-activation near a kink may fall on the other side: compare the bulk.
        own = at_pattern(expected[name], seen.parameters[name])
        difference = np.abs(dense(gradient) - own)
        assert np.median(difference) <= 1e-5 * max(np.abs(own).max(), scales[name])


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_texts_do_not_depend_on_the_process(model):
    """No order of a set, address or date: a process with another hash seed gives the same."""
    import subprocess
    import sys

    code = (
        "import sys; from nerva_dsl.driver import emit_c\n"
        f"g = emit_c(sys.argv[1], backend='native', target='{TARGET}')\n"
        "print(g.c_source + g.module_source, end='')"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code, f"models/{model.name}.nerva"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    generated = emit_model(model, backend="native", target=TARGET)
    assert texts == {generated.c_source + generated.module_source}
