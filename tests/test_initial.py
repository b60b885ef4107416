"""Initial patterns: exact, uniform, and never as large as the dense matrix."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse, stats

from nerva_dsl.runtime.initial import initial_pattern, initial_values
from nerva_dsl.runtime.philox import Purpose, Stream


def positions(row_start, column, columns):
    rows = np.repeat(np.arange(len(row_start) - 1), np.diff(row_start))
    return rows * columns + column


@pytest.mark.parametrize(
    ("shape", "nnz"),
    [
        ((1, 1), 0),
        ((1, 1), 1),
        ((3, 5), 1),
        ((3, 5), 7),
        ((3, 5), 8),
        ((3, 5), 14),
        ((3, 5), 15),
        ((1024, 3072), 24_461),
        ((10, 512), 3117),
        ((1, 100_000), 60_000),
        ((100_000, 1), 3),
    ],
)
def test_exact_sorted_and_distinct(shape, nnz):
    row_start, column = initial_pattern(1, 0, shape, nnz)
    assert row_start.dtype == np.int64
    assert column.dtype == np.int32
    assert len(row_start) == shape[0] + 1
    assert row_start[0] == 0
    assert row_start[-1] == len(column) == nnz
    flat = positions(row_start, column, shape[1])
    assert (np.diff(flat) > 0).all()
    if nnz:
        assert flat[-1] < shape[0] * shape[1]
        assert column.max() < shape[1]
    matrix = sparse.csr_array((np.ones(nnz), column, row_start), shape=shape)
    assert matrix.has_canonical_format


@pytest.mark.parametrize("nnz", [5, 30, 50, 51, 90])
def test_uniform_over_positions(nnz):
    shape, draws = (10, 10), 2000
    counts = np.zeros(100)
    for seed in range(draws):
        counts[positions(*initial_pattern(seed, 2, shape, nnz), 10)] += 1
    # Without replacement, each position's count has variance draws · p · (1 - p), and one degree
    # of freedom is lost to the fixed sum.
    p = nnz / 100
    statistic = ((counts - draws * p) ** 2).sum() / (draws * p * (1 - p)) * 99 / 100
    assert 0.0005 < stats.chi2.sf(statistic, 99) < 0.9995


def test_uniform_over_pairs():
    """All 10 pairs of 5 positions are equally likely: no bias from removing duplicates."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(3000):
        pair = tuple(positions(*initial_pattern(seed, 0, (1, 5), 2), 5).tolist())
        counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 10
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize(("size", "nnz"), [(7, 3), (40, 20), (1000, 499), (10_000, 77)])
def test_those_that_drawing_one_by_one_keeps(size, nnz):
    for seed in range(20):
        integers = Stream(seed, Purpose.PATTERN, 5).below(size)
        kept: set[int] = set()
        while len(kept) < nnz:
            kept.add(int(integers.take(1)[0]))
        assert set(initial_pattern(seed, 5, (1, size), nnz)[1].tolist()) == kept


def test_memory_is_proportional_to_the_nonzeros():
    tracemalloc.start()
    try:
        row_start, column = initial_pattern(1, 0, (100_000, 1_000_000), 10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert row_start[-1] == len(column) == 10_000
    assert peak < 6_000_000  # the dense matrix has 10^11 elements; 100,001 row starts are 0.8 MB


def test_same_seed_same_bits_other_seed_others():
    first = initial_pattern(1, 0, (50, 50), 100)
    again = initial_pattern(1, 0, (50, 50), 100)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], initial_pattern(2, 0, (50, 50), 100)[1])
    assert not np.array_equal(first[1], initial_pattern(1, 1, (50, 50), 100)[1])


@pytest.mark.parametrize("nnz", [-1, 26])
def test_impossible_number_of_nonzeros(nnz):
    with pytest.raises(ValueError, match="nnz"):
        initial_pattern(1, 0, (5, 5), nnz)


def test_values_are_distributed():
    uniform = initial_values(3, 1, 50_000, distribution="uniform", first=-0.5, second=0.25)
    assert stats.kstest(uniform, "uniform", args=(-0.5, 0.75)).pvalue > 0.001
    normal = initial_values(3, 1, 50_000, distribution="normal", first=2.0, second=0.1)
    assert stats.kstest(normal, "norm", args=(2.0, 0.1)).pvalue > 0.001


def test_biases_are_exactly_zero():
    assert not initial_values(3, 1, 10, distribution="uniform", first=0.0, second=0.0).any()


def test_unknown_distribution():
    with pytest.raises(ValueError, match="distribution"):
        initial_values(3, 1, 10, distribution="cauchy", first=0.0, second=1.0)
