"""The generator against Random123's known answers, and its numbers against their distributions."""

import numpy as np
import pytest
from scipy import stats

from nerva_dsl.runtime.philox import Purpose, Stream, philox

ONES = 0xFFFFFFFF
# From the file kat_vectors of Random123.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def stream(index=0, purpose=Purpose.VALUE, seed=7, round=0):
    return Stream(seed, purpose, index, round)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    words = philox(np.array(counter, np.uint64).reshape(4, 1), key)
    assert tuple(int(word) for word in words[:, 0]) == expected


def test_counter_layout():
    seed, index, round, block = 0x0123456789ABCDEF, 0xBEEF, 0x00ABCDEF01234567, 3
    counter = (block, 0xBEEF0000, 0x01234567, 0x03ABCDEF)
    expected = philox(np.array(counter, np.uint64).reshape(4, 1), (0x89ABCDEF, 0x01234567))
    words = Stream(seed, Purpose.SHUFFLE, index, round).words(16)
    assert words[12:].tolist() == expected[:, 0].tolist()


def test_words_do_not_depend_on_how_they_are_read():
    whole = stream().words(200_003)
    assert np.array_equal(stream().words(9, first=100_000), whole[100_000:100_009])
    assert np.array_equal(stream().uniform(5, first=50_000), stream().uniform(50_005)[50_000:])
    assert len(stream().words(0)) == 0


def test_streams_differ():
    streams = [
        stream(),
        stream(index=1),
        stream(purpose=Purpose.PATTERN),
        stream(seed=8),
        stream(seed=7 + (1 << 32)),
        stream(round=1),
        stream(round=1 << 32),
    ]
    words = np.concatenate([each.words(1000) for each in streams])
    # 7000 words of 32 bits: 0.006 coincidences expected
    assert len(np.unique(words)) >= len(words) - 1


def test_uniform():
    numbers = stream().uniform(100_000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.015


def test_floats():
    numbers = stream().floats(100_000)
    assert numbers.dtype == np.float32
    assert numbers.max() < 1
    assert stats.kstest(numbers.astype(np.float64), "uniform").pvalue > 0.001


@pytest.mark.parametrize("count", [0, 1, 2, 99_999])
def test_normal(count):
    numbers = stream().normal(count)
    assert len(numbers) == count
    assert np.isfinite(numbers).all()
    if count > 1000:
        assert stats.kstest(numbers, "norm").pvalue > 0.001
        assert abs(np.corrcoef(numbers[:-1:2], numbers[1::2])[0, 1]) < 0.015


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_integers_are_uniform(limit):
    numbers = stream().below(limit).take(100_000)
    assert numbers.min() >= 0
    counts = np.bincount(numbers, minlength=limit)
    assert len(counts) == limit
    if limit > 1:
        assert stats.chisquare(counts).pvalue > 0.001


def test_integers_below_a_large_limit():
    # A third of the 64-bit words are rejected: a bias would show as a step in the middle.
    limit = (1 << 63) - (1 << 61)
    numbers = stream().below(limit).take(100_000)
    assert stats.kstest(numbers / limit, "uniform").pvalue > 0.001


def test_integers_come_in_pieces():
    integers = stream().below(1000)
    pieces = np.concatenate([integers.take(count) for count in (2, 3, 1, 0, 10)])
    assert np.array_equal(pieces, stream().below(1000).take(16))


@pytest.mark.parametrize("limit", [0, -1, 1 << 63])
def test_integers_with_an_impossible_limit(limit):
    with pytest.raises(ValueError, match="limit"):
        stream().below(limit)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_permutation(count):
    order = stream(purpose=Purpose.SHUFFLE).permutation(count)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(count))


def test_permutations_are_uniform():
    counts = np.zeros((4, 4))
    for epoch in range(4000):
        order = Stream(1, Purpose.SHUFFLE, round=epoch).permutation(4)
        counts[np.arange(4), order] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="seed: expected an integer in 0"):
        Stream(seed, Purpose.VALUE)
