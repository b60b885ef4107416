"""Results that several threads make, in order and not too many at once."""

import threading

import pytest

from nerva_dsl.runtime.ahead import made_ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_in_the_order_of_the_items(threads):
    assert list(made_ahead(lambda item: item * item, range(20), threads)) == [
        item * item for item in range(20)
    ]
    assert not list(made_ahead(str, (), threads))


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_one_result_a_thread_waits(threads):
    begun: list[int] = []
    for taken, result in enumerate(
        made_ahead(lambda item: begun.append(item) or item, range(30), threads), 1
    ):
        assert result == taken - 1
        assert len(begun) <= taken + threads


def test_on_several_threads_at_once():
    meeting = threading.Barrier(3, timeout=60)
    assert sorted(made_ahead(lambda _: meeting.wait(), range(3), 3)) == [0, 1, 2]


def test_an_error_comes_out_in_its_place():
    results = made_ahead(lambda item: 1 // (2 - item), range(5), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
