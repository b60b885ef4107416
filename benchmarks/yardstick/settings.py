"""How much one run of the command measures."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.yardstick.measure import Plan
from benchmarks.yardstick.workloads import DENSITIES, Workload


@dataclass(frozen=True)
class Settings:
    """What to measure, and how long.

    Attributes:
        workload: the network.
        densities: of all weights together, descending.
        threads: that every contender computes with.
        parts: of `workloads.PARTS`.
        samples: to train on.
        selection: finding PyTorch's fastest form.
        step: training, for each density.
        predict: prediction, for each density and number of samples.
        memory_densities: those at which peak memory is measured.
        memory_repeats: processes for each contender and density.
        compile_repeats: compilations of each kind.
        compile_forms: whether PyTorch's forms with `torch.compile` take part.
        quick: whether this is only a trial of the harness.
    """

    workload: Workload
    densities: tuple[float, ...]
    threads: int
    parts: tuple[str, ...]
    samples: int
    selection: Plan
    step: Plan
    predict: Plan
    memory_densities: tuple[float, ...]
    memory_repeats: int
    compile_repeats: int
    compile_forms: bool
    quick: bool = False


def full(
    workload: Workload, densities: tuple[float, ...], threads: int, parts: tuple[str, ...]
) -> Settings:
    """What is published."""
    return Settings(
        workload=workload,
        densities=densities or DENSITIES,
        threads=threads,
        parts=parts,
        samples=workload.whole_batches(10_000),
        selection=Plan(turn=0.05, least=3, most=3, budget=30),
        step=Plan(turn=0.3, least=5, most=15, budget=40),
        predict=Plan(turn=0.05, least=9, most=15, budget=6),
        memory_densities=densities or (1.0, 0.2, 0.05, 0.01, 0.001),
        memory_repeats=1,
        compile_repeats=3,
        compile_forms=True,
    )


def quick(
    workload: Workload, densities: tuple[float, ...], threads: int, parts: tuple[str, ...]
) -> Settings:
    """A trial in under a minute: few densities, samples and rounds, and no `torch.compile`."""
    chosen = densities or (0.1, 0.01)
    return Settings(
        workload=workload,
        densities=chosen,
        threads=threads,
        parts=parts,
        samples=workload.whole_batches(1_000),
        selection=Plan(turn=0, least=1, most=1, budget=5),
        step=Plan(turn=0, least=2, most=3, budget=3),
        predict=Plan(turn=0.01, least=2, most=3, budget=1),
        memory_densities=chosen[-1:],
        memory_repeats=1,
        compile_repeats=1,
        compile_forms=False,
        quick=True,
    )
