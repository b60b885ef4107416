"""C, the interpreter and PyTorch compute the same: for every shipped model and generated ones."""

from __future__ import annotations

import numpy as np
import pytest

import programs
import twins
from nerva_dsl.check import check, check_source
from nerva_dsl.source import Source
from oracle import (
    BACKENDS,
    assert_close,
    assert_interpreter_agrees,
    at_pattern,
    away_from_kinks,
    compiled,
    lively,
    torch_reference,
)
from oracle import programs as ir_programs


def _check_all(model, forward, data, precision, backend):
    """Compare all three on one batch of full size and one that is short."""
    module = compiled(model, precision, backend)
    rng = np.random.default_rng(model.seed)
    for count in {model.batch, max(1, model.batch // 2 + 1)}:
        for seed in range(20):
            net = module.Model(seed=seed)
            net.set_parameters(lively(net.parameters(), rng))
            parameters = net.parameters()
            x, t = data(rng, 20 * count + 100)
            kept = away_from_kinks(forward, parameters, x, t, precision)[:count]
            if len(kept) == count:
                break
        else:
            pytest.fail("too few samples without a pre-activation near a kink")
        x, t = x[kept], None if t is None else t[kept]
        output, loss, gradients = torch_reference(forward, parameters, x, t)
        assert_close(net.predict(x), output, precision, "output")
        assert_close([net.loss(x, t)], [loss], precision, "loss")
        own = net.gradients(x, t)
        for name, gradient in own.items():
            expected = at_pattern(gradients[name], parameters[name])
            assert_close(gradient, expected, precision, f"gradient of {name}")
        for name in set(parameters) - set(own):
            assert not gradients[name].any(), f"{name} has a gradient, but is not trained"
        for stage, program in ir_programs(model, precision):
            assert_interpreter_agrees(program, module, net, x, t, precision, stage)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(twins.TWINS))
def test_shipped_models(name, precision, backend, models):
    model = check(models / f"{name}.nerva", {}).model
    twin = twins.TWINS[name]
    _check_all(model, twin.forward, twin.data, precision, backend)


def test_every_shipped_model_has_a_twin(models):
    assert {path.stem for path in models.glob("*.nerva")} == set(twins.TWINS)


@pytest.mark.parametrize("backend", ["mkl", "native"])  # auto takes its kernels from these
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_generated_programs(program_seed, precision, backend):
    program = programs.generate(program_seed)
    model = check_source(Source(f"generated_{program_seed}.nerva", program.text), {}).model
    _check_all(model, program.forward, program.data, precision, backend)
