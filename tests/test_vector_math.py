"""The generated file's mathematical functions: errors, special values, the same bits anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from benchmarks.vector_math.accuracy import errors, samples
from benchmarks.vector_math.library import DTYPES, compile_library, load, loop, own_functions
from nerva_dsl.codegen.c_expression import VECTORIZED
from nerva_dsl.codegen.vector_math import FORMATS, functions
from nerva_dsl.runtime.target import resolve_target

# With fused multiplication and addition where the processor has it, and without.
FLAGS = {"native": resolve_target("native").flags, "plain": ()}
CASES = [(name, precision) for precision in FORMATS for name in VECTORIZED]
REFERENCE = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "tanh")},
    "erf": erf,
}


def source():
    """Loops over arrays, and for each function one that the compiler may not make vectors of."""
    text = own_functions()
    for form in FORMATS.values():
        for name in VECTORIZED:
            function = f"{name}_{form.real}"
            text += loop(f"{function}_loop", form.real, f"{function}(x)")
            text += f"""
__attribute__((noinline)) static {form.real} {function}_alone({form.real} x)
{{
    return {function}(x);
}}
"""
            alone = loop(f"{function}_scalar", form.real, f"{function}_alone(x)")
            text += alone.replace("    #pragma omp simd\n", "")
            # What follows a function in a kernel: the compiler may not fuse into it.
            text += loop(f"{function}_used", form.real, f"{function}(x) + x")
    # Flush-to-zero and denormals-are-zero, as inside a call of a model.
    return (
        text
        + """
#if defined(__SSE2__)
#include <xmmintrin.h>
unsigned flush(unsigned mode)
{
    const unsigned before = _mm_getcsr();
    _mm_setcsr(mode ? mode : before | 0x8040);
    return before;
}
#else
unsigned flush(unsigned mode) { return mode; }
#endif
"""
    )


@pytest.fixture(scope="module", params=FLAGS)
def library(request, tmp_path_factory):
    directory: Path = tmp_path_factory.mktemp("functions")
    return compile_library(source(), directory, flags=FLAGS[request.param])


def run(library, name, precision, x, kind="loop"):
    y = np.full_like(x, 7)
    load(library, f"{name}_{FORMATS[precision].real}_{kind}")(x, y)
    return y


def edges(precision):
    """Where something changes, with the numbers beside it, and what is not finite."""
    form, dtype = FORMATS[precision], DTYPES[precision]
    places = [
        *(0.0, 1.0, 0.5, 2.0, 2**0.5, 0.5**0.5, 1e-3, 1e-10, 10.0, 30.0),
        *(form.exp_most, form.exp_least, form.expm1_least, form.expm1_least / 2, form.smallest),
        *(form.largest, form.erf_split, form.erf_most, form.smallest * 5, form.largest / 5),
        *(np.log(2.0) * k / 2 for k in range(1, 12)),
    ]
    with np.errstate(over="ignore"):
        x = np.array(places, dtype)
        x = np.concatenate([x, np.nextafter(x, dtype(np.inf)), np.nextafter(x, dtype(0))])
        return np.unique(np.concatenate([x, -x]))


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_errors_against_mpmath(library, name, precision):
    dtype, form = DTYPES[precision], FORMATS[precision]
    x = np.concatenate([samples(name, dtype, 3000), edges(precision)])
    x = x[np.isfinite(x) & ((x == 0) | (np.abs(x) >= form.smallest))]
    if name.startswith("log"):
        x = x[x > (0 if name == "log" else -1)]
    found = errors(name, x, run(library, name, precision, x))
    worst = found.argmax()
    assert found[worst] <= form.errors[name], (x[worst], found[worst])


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_special_values_are_those_of_numpy(library, name, precision):
    dtype, form = DTYPES[precision], FORMATS[precision]
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, -1.0, -2.0, form.largest, -form.largest],
        dtype,
    )
    with np.errstate(all="ignore"):
        expected = REFERENCE[name](x)
    found = run(library, name, precision, x)
    exact = ~np.isfinite(expected) | (expected == 0) | (np.abs(expected) == 1)
    np.testing.assert_array_equal(found[exact], expected[exact])
    np.testing.assert_array_equal(
        np.signbit(found[exact & ~np.isnan(expected)]),
        np.signbit(expected[exact & ~np.isnan(expected)]),
    )
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize(("name", "precision"), CASES)
def test_subnormals(library, name, precision, flushed):
    """Subnormal arguments and results are zero, or, out of a call, what they are."""
    dtype, form = DTYPES[precision], FORMATS[precision]
    tiny = np.array([form.smallest / 4, -form.smallest / 4, form.smallest / 2**20], dtype)
    x = np.concatenate([tiny, np.array([form.exp_least - 1], dtype)])
    before = library.flush(0) if flushed else 0
    try:
        y = run(library, name, precision, x)
    finally:
        if flushed:
            library.flush(before)
    if name == "exp":
        np.testing.assert_array_equal(y, [1, 1, 1, 0])
    elif name == "log":
        np.testing.assert_array_equal(y[:3], -np.inf)
    else:
        # erf(x) and x are of one size; nothing is made larger than a subnormal.
        assert np.all(np.abs(y[:3].astype(np.float64)) <= 1.2 * np.abs(tiny.astype(np.float64)))
        np.testing.assert_array_equal(np.signbit(y[:3]), np.signbit(tiny))


@pytest.mark.parametrize("kind", ["loop", "used"])
@pytest.mark.parametrize(("name", "precision"), CASES)
def test_the_same_bits_in_any_position(library, name, precision, kind):
    """In a vector, in what is left of a loop, and alone."""
    dtype = DTYPES[precision]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    x = np.concatenate([samples(name, dtype, 4000), edges(precision), special])
    whole = run(library, name, precision, x, kind)
    word = np.uint32 if dtype is np.float32 else np.uint64
    bits = np.where(np.isnan(whole), 0, whole.view(word))
    alone = run(library, name, precision, x, "scalar")
    if kind == "used":
        with np.errstate(all="ignore"):
            alone = alone + x
    np.testing.assert_array_equal(np.where(np.isnan(alone), 0, alone.view(word)), bits)
    for start in range(1, 18):
        for length in (1, 3, 17):
            part = slice(start * 100, start * 100 + length)
            found = run(library, name, precision, x[part].copy(), kind)
            found = np.where(np.isnan(found), 0, found.view(word))
            np.testing.assert_array_equal(found, bits[part])


def test_monotonic_where_a_branch_of_erf_ends(library):
    """The two halves of erf meet within their errors."""
    for precision, form in FORMATS.items():
        dtype = DTYPES[precision]
        x = np.array([form.erf_split], dtype)
        pair = np.concatenate([np.nextafter(x, dtype(0)), x])
        below, above = run(library, "erf", precision, pair)
        assert abs(above - below) <= 4 * np.spacing(above)


def test_only_what_is_used_is_defined():
    (group,) = functions({"float32": frozenset({"tanh"}), "float64": frozenset()})
    assert (group.form.name, group.names) == ("float32", {"tanh", "exp_parts"})
    assert functions({"float32": frozenset()}) == ()
