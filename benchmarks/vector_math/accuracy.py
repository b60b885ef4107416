"""Errors in units of the last place, against mpmath."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

from nerva_dsl.codegen.vector_math import FORMATS

TRUTH: dict[str, Callable[[mp.mpf], mp.mpf]] = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": mp.log1p,
    "tanh": mp.tanh,
    "erf": mp.erf,
}


def samples(name: str, dtype: type, count: int) -> np.ndarray:
    """Arguments over the range in which a function is neither constant nor out of range.

    Half of them are spread evenly where the function bends, half over all magnitudes.
    """
    form = FORMATS[np.dtype(dtype).name]
    rng = np.random.default_rng(20)
    half = count // 2
    span = {"tanh": 10.0, "erf": form.erf_most}.get(name, 3.0)
    powers = np.log2(np.float64(form.smallest)) * 0.99, np.log2(form.exp_most)
    sizes = 2.0 ** rng.uniform(*powers, half)
    match name:
        case "exp":
            even = rng.uniform(form.exp_least, form.exp_most, half)
        case "expm1":
            even = np.concatenate(
                [rng.uniform(-2, 2, half // 2), rng.uniform(-40, form.exp_most, half - half // 2)]
            )
        case "log":
            even = rng.uniform(0.25, 4, half)
            largest = np.log2(form.largest)
            sizes = 2.0 ** rng.uniform(-largest * 0.98, largest * 0.99, half)
        case "log1p":
            even = rng.uniform(-1, 4, half)
            sizes = 2.0 ** rng.uniform(powers[0], -powers[0], half)
        case _:
            even = rng.uniform(-span, span, half)
    if name not in ("log", "log1p"):
        sizes *= rng.choice([-1.0, 1.0], half)
        sizes = np.maximum(sizes, form.exp_least)
    x = np.concatenate([even, sizes]).astype(dtype)
    return x[x > -1] if name == "log1p" else x


def errors(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far y is from the function of x, in units of the last place of the true value.

    A true value beyond the format's normal numbers counts as no error if y is what flushing or
    overflowing makes of it.
    """
    form = FORMATS[x.dtype.name]
    truth = TRUTH[name]
    found = np.empty(x.size)
    with mp.workdps(40):
        smallest, largest = mp.mpf(form.smallest), mp.mpf(form.largest)
        for i, (argument, value) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            exact = truth(mp.mpf(argument))
            size = abs(exact)
            if size < smallest or size > largest:
                right = abs(value) in (0.0, float(size), form.smallest, np.inf, form.largest)
                found[i] = 0.0 if right else np.inf
                continue
            exponent = max(int(mp.floor(mp.log(size, 2))), 1 - form.bias)
            found[i] = float(abs(mp.mpf(value) - exact) / mp.ldexp(1, exponent - form.fraction))
    return found
