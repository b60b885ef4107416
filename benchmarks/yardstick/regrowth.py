"""Changing patterns: milliseconds of a regrowth, beside the training step and the dense product.

A growth by the gradient makes the gradient at all positions of every layer; PyTorch's dense
products of the same sizes say what that costs at least.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import nerva_dsl
from benchmarks.yardstick.measure import Task, as_json, interleave, ratio
from benchmarks.yardstick.settings import Settings
from benchmarks.yardstick.workload import Data
from benchmarks.yardstick.workloads import REFERENCE, SEED

BLOCK = """
regrow {
    every   = epochs(1)
    prune   = magnitude(0.3)
    grow    = random()
    weights = normal(mean = 0, std = 0.05)
}
"""
STEP, RANDOM, GRADIENT = "training step", "regrowth, random", "regrowth, gradient"
DENSE = "PyTorch's dense weight gradients"


def measure_regrowth(settings: Settings, data: Data, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure at the lowest density of at least 0.01, or at the highest there is."""
    density = min((d for d in settings.densities if 0.01 <= d < 1), default=settings.densities[0])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, REFERENCE.file)
        model = REFERENCE.model_file.read_text(encoding="utf-8")
        file.write_text(model + BLOCK, encoding="utf-8")
        module = nerva_dsl.compile(file, backend="native", density=density)
    net = module.Model(seed=SEED, threads=settings.threads)
    batch = REFERENCE.batch
    X, t = data.X[:batch], data.t[:batch]
    products = [
        (torch.randn(layer["outputs"], batch), torch.randn(batch, layer["inputs"]))
        for layer in module.SPEC["layers"]
    ]

    def dense() -> None:
        for dz, x in products:
            torch.mm(dz, x)

    tasks = [
        Task(STEP, lambda: net.train_step(X, t, lr=REFERENCE.learning_rate)),
        Task(RANDOM, lambda: net.regrow(grow="random()")),
        Task(GRADIENT, lambda: net.regrow(grow="gradient()", X=X, t=t)),
        Task(DENSE, dense, warm=dense),
    ]
    timings = interleave(tasks, settings.step)
    medians = {name: timing.medians() for name, timing in timings.items()}
    found = {
        "density": density,
        "contenders": as_json(timings),
        "ratios": {
            RANDOM: ratio(medians[RANDOM], medians[STEP]),
            GRADIENT: ratio(medians[GRADIENT], medians[DENSE]),
        },
    }
    say(
        f"regrowth, density {density:g}: random {found['ratios'][RANDOM]['median']:.2g} steps, "
        f"gradient {found['ratios'][GRADIENT]['median']:.2g} dense products"
    )
    return found
