"""The constants of the cost model, measured on this machine.

A few models are compiled and trained for a moment each. What their kernels do is known in the units
of the cost model, so that the time of each is a linear function of the constants; these are fitted
by least squares of relative errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nerva_dsl.check import check_source
from nerva_dsl.costs import UNITS, Work
from nerva_dsl.driver import emit_model, optimize
from nerva_dsl.ir.operations import Group
from nerva_dsl.kernel_costs import works
from nerva_dsl.machine import Machine
from nerva_dsl.runtime.measuring import kernel_seconds
from nerva_dsl.runtime.target import Target
from nerva_dsl.source import Source


@dataclass(frozen=True)
class Trial:
    """A model to measure: products that are bound by multiplications, by a cache, or by their rows.

    Attributes:
        inputs, width: of its layers.
        density: of the weights of all layers but the last, which is dense.
        batch: samples in a step.
        backend: family of kernels.
    """

    inputs: int
    width: int
    density: float
    batch: int
    backend: str = "native"

    @property
    def text(self) -> str:
        """The model's file."""
        option = "" if self.density == 1 else f", density = {self.density}"
        return f"""model tune
input x : float32[{self.inputs}]
target t : class[10]
h1 = relu(linear(x, {self.width}{option}))
h2 = relu(linear(h1, {self.width}{option}))
y = linear(h2, 10)
output = y
loss = softmax_cross_entropy(y, t)
train {{
    batch = {self.batch}
    optimizer = nesterov(momentum = 0.9)
    learning_rate = 0.01
}}
"""


TRIALS = (
    Trial(1024, 1024, 1.0, 100),
    Trial(1024, 1024, 0.6, 100),
    Trial(2048, 1024, 0.1, 100),
    Trial(2048, 1024, 0.01, 100),
    Trial(4096, 2048, 0.002, 32),
    Trial(1024, 1024, 1.0, 100, "mkl"),
)

# How strongly a constant is held at its usual value: as by so many kernels.
_HELD = 0.05
_SWEEPS = 1000


@dataclass(frozen=True)
class Sample:
    """A kernel that was measured.

    Attributes:
        kernel: its family.
        work: what it does.
        time: nanoseconds that it took one core.
    """

    kernel: str
    work: Work
    time: float


def measure(trial: Trial, target: Target) -> list[Sample]:
    """Compile a trial and time the kernels of its training step.

    They are those of a usual machine, so that one that is measured again is measured in the same
    way.

    Raises:
        ToolchainError: there is no C compiler, or it fails.
    """
    model = check_source(Source("tune.nerva", trial.text), {}).model
    usual = target.usual
    program = optimize(model, backend=trial.backend, machine=usual)
    step = program.graph("step")
    generated = emit_model(
        model, backend=trial.backend, target=target.name, measured=True, machine=usual
    )
    seconds = kernel_seconds(generated, target)
    groups = [group for group in step.operations if isinstance(group, Group)]
    counted = works(program, step, usual)
    return [
        Sample(group.kernel, work, 1e9 * time)
        for group, work, time in zip(groups, counted, seconds, strict=True)
        if "mm" in group.kernel or group.kernel == "gather"
    ]


def fit(samples: Sequence[Sample], usual: Machine) -> Machine:
    """The machine whose constants explain the times best.

    Non-negative least squares of relative errors, by coordinate descent; a constant that no kernel
    says anything of keeps its usual value.

    Args:
        samples: kernels that were measured.
        usual: the machine with constants to begin with.
    """
    start = np.array([getattr(usual, unit) for unit in UNITS])
    counts = np.array([[getattr(sample.work, unit) for unit in UNITS] for sample in samples])
    times = np.array([sample.time for sample in samples])
    rows = counts * start / times[:, None]  # relative time by unit, at usual constants
    held = _HELD * np.eye(len(UNITS))
    matrix = np.concatenate([rows, held])
    wanted = np.concatenate([np.ones(len(samples)), _HELD * np.ones(len(UNITS))])
    factors = np.ones(len(UNITS))
    squares = (matrix**2).sum(axis=0)
    rest = wanted - matrix @ factors
    for _ in range(_SWEEPS):
        for unit in range(len(UNITS)):
            better = max(0.0, factors[unit] + matrix[:, unit] @ rest / squares[unit])
            rest += matrix[:, unit] * (factors[unit] - better)
            factors[unit] = better
    return usual.with_constants(dict(zip(UNITS, (start * factors).tolist(), strict=True)))


def errors(samples: Sequence[Sample], machine: Machine) -> list[float]:
    """How far each kernel's predicted time is off, relative to the measured one."""
    return [sample.work.time(machine) / sample.time - 1 for sample in samples]
