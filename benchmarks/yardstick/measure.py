"""Turns and rounds: contenders are timed in turn, many times over, and medians are compared.

A machine's speed drifts. What is measured in one round is measured within seconds, so a ratio is
taken within each round, and the median of these ratios is what counts.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Task:
    """Something to time.

    Attributes:
        name: of the contender.
        run: what is timed.
        units: how many steps, or calls, one `run` is.
        warm: not timed, at the start of each turn.
    """

    name: str
    run: Callable[[], object]
    units: int = 1
    warm: Callable[[], object] | None = None


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes:
        turn: a contender's turn goes on for this long, in seconds, and for one `run` at least.
        least: rounds.
        most: rounds.
        budget: no round is begun after this many seconds, but for the least.
    """

    turn: float
    least: int
    most: int
    budget: float


@dataclass
class Timing:
    """Seconds per unit of one contender, by round."""

    rounds: list[list[float]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Median, quartiles and least over all runs, and the median of each round; seconds."""
        seconds = np.concatenate([np.asarray(times) for times in self.rounds])
        first, median, third = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
        return {
            "median": median,
            "q1": first,
            "q3": third,
            "min": float(seconds.min()),
            "runs": len(seconds),
            "rounds": self.medians(),
        }

    def medians(self) -> list[float]:
        """Of each round."""
        return [float(np.median(times)) for times in self.rounds]


def interleave(
    tasks: Sequence[Task], plan: Plan, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Time contenders round after round, each round beginning with another one."""
    timings = {task.name: Timing() for task in tasks}
    gc.collect()
    begin = clock()
    for number in range(plan.most):
        if number >= plan.least and clock() - begin > plan.budget:
            break
        shift = number % len(tasks)
        for task in (*tasks[shift:], *tasks[:shift]):
            timings[task.name].rounds.append(_turn(task, plan.turn, clock))
    return timings


def ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, float]:
    """How many times longer one takes, from the medians of the same rounds."""
    first, median, third = np.quantile(
        np.asarray(slower) / np.asarray(faster), (0.25, 0.5, 0.75)
    ).tolist()
    return {"median": median, "q1": first, "q3": third}


def calls(function: Callable[[], object], seconds: float = 2e-3) -> tuple[Callable[[], None], int]:
    """A loop of so many calls that the clock's own cost does not count.

    Returns:
        The loop, and the number of calls in it.
    """
    function()
    begin = time.perf_counter()
    for _ in range(3):
        function()
    count = max(1, int(seconds / ((time.perf_counter() - begin) / 3)))

    def loop() -> None:
        for _ in range(count):
            function()

    return loop, count


def settle(patience: float = 1.0) -> None:
    """Wait until no thread of this process spins.

    OpenMP's and ONNX Runtime's idle threads wait actively for a while and would take a core from
    whoever comes next.
    """
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        busy = time.process_time()
        time.sleep(0.004)
        if time.process_time() - busy < 0.0004:
            return


def as_json(timings: Mapping[str, Timing]) -> dict[str, Any]:
    """Summaries by contender."""
    return {name: timing.summary() for name, timing in timings.items()}


def _turn(task: Task, turn: float, clock: Callable[[], float]) -> list[float]:
    settle()
    if task.warm is not None:
        task.warm()
    times: list[float] = []
    gc.disable()
    try:
        end = clock() + turn
        while not times or clock() < end:
            begin = clock()
            task.run()
            times.append((clock() - begin) / task.units)
    finally:
        gc.enable()
    return times
