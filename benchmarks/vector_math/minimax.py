"""Minimax polynomials: how the coefficients in `codegen/vector_math.py` were found.

    python -m benchmarks.vector_math.minimax

prints them anew. Remez's exchange on a grid, in mpmath, for the largest weighted error. The
coefficients are then rounded to the precision; the error is stated after that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp

from benchmarks.vector_math.library import DTYPES
from nerva_dsl.codegen.vector_math import FORMATS, Format

_GRID = 1200
_EXCHANGES = 30
_Real = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Problem:
    """A function to approximate.

    Attributes:
        value: of the function.
        weight: what the error at a point is multiplied by.
        low, high: the interval.
    """

    value: _Real
    weight: _Real
    low: mp.mpf
    high: mp.mpf


def minimax(problem: Problem, degree: int, dtype: type) -> tuple[list[float], float]:
    """Coefficients from the constant up, numbers of `dtype`, and the largest weighted error."""
    angles = [mp.pi * (i + mp.mpf("0.5")) / _GRID for i in range(_GRID)]
    middle, half = (problem.low + problem.high) / 2, (problem.high - problem.low) / 2
    points = [middle - half * mp.cos(angle) for angle in angles]
    values = [problem.value(x) for x in points]
    weights = [problem.weight(x) for x in points]
    exact = _exchange(points, values, weights, degree)
    rounded = [float(dtype(float(c))) for c in exact]
    errors = (
        w * (v - mp.polyval(rounded[::-1], x))
        for x, v, w in zip(points, values, weights, strict=True)
    )
    return rounded, float(max(abs(error) for error in errors))


def _exchange(
    points: Sequence[mp.mpf],
    values: Sequence[mp.mpf],
    weights: Sequence[mp.mpf],
    degree: int,
) -> list[mp.mpf]:
    """Coefficients that make the largest weighted error smallest."""
    count = degree + 2
    last = len(points) - 1
    chosen = [last * i // (count - 1) for i in range(count)]
    coefficients: list[mp.mpf] = []
    for _ in range(_EXCHANGES):
        matrix = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for row, i in enumerate(chosen):
            for power in range(degree + 1):
                matrix[row, power] = points[i] ** power
            matrix[row, count - 1] = (-1) ** row / weights[i]
            right[row] = values[i]
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[i] for i in range(count - 1)]
        errors = [
            w * (v - mp.polyval(coefficients[::-1], x))
            for x, v, w in zip(points, values, weights, strict=True)
        ]
        extremes = _extremes(errors)
        while len(extremes) > count:  # the smaller end has to go
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if extremes == chosen or len(extremes) < count:
            break
        chosen = extremes
    return coefficients


def _extremes(errors: Sequence[mp.mpf]) -> list[int]:
    """The place of the largest error in each run of one sign."""
    found: list[int] = []
    for i, error in enumerate(errors):
        if found and (errors[found[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[found[-1]]):
                found[-1] = i
        else:
            found.append(i)
    return found


def problems(form: Format) -> dict[str, tuple[Problem, int]]:
    """The function behind each of a format's polynomials, and the polynomial's degree."""
    slack = mp.mpf("1.0001")  # arguments are reduced in the format's own arithmetic
    half = mp.log(2) / 2 * slack
    largest = (3 - mp.sqrt(8)) * slack
    split, middle = mp.mpf(form.erf_split), mp.mpf(form.erf_middle)
    nothing = mp.mpf("1e-12")
    return {
        "exp": (
            # The error counts beside r, the first term of the sum.
            Problem(lambda r: (mp.expm1(r) - r) / r**2, abs, -half, half),
            len(form.exp) - 1,
        ),
        "log": (Problem(_log_rest, lambda z: z / 2, nothing, largest**2), len(form.log) - 1),
        "erf_near": (
            Problem(_erf_slope, lambda z: 1 / _erf_slope(z), nothing, split**2),
            len(form.erf_near) - 1,
        ),
        "erf_far": (
            Problem(
                lambda t: -mp.log(mp.erfc(t + middle)),
                lambda t: mp.erfc(t + middle) / mp.erf(t + middle),
                split - middle,
                form.erf_most - middle,
            ),
            len(form.erf_far) - 1,
        ),
    }


def _log_rest(z: mp.mpf) -> mp.mpf:
    """(log((1 + s) / (1 - s)) / s - 2) / s^2 for z = s^2."""
    s = mp.sqrt(z)
    return (mp.log((1 + s) / (1 - s)) / s - 2) / z


def _erf_slope(z: mp.mpf) -> mp.mpf:
    """erf(a) / a for z = a^2."""
    a = mp.sqrt(z)
    return mp.erf(a) / a


def main() -> None:
    """Print every polynomial with its largest error, as a power of two."""
    with mp.workdps(45):
        for form in FORMATS.values():
            for name, (problem, degree) in problems(form).items():
                coefficients, error = minimax(problem, degree, DTYPES[form.name])
                print(f"{form.name} {name}, 2^{math.log2(error):.1f}:")
                print("    " + ", ".join(form(value) for value in coefficients))


if __name__ == "__main__":
    main()
