"""Results in order, made by several threads at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def made_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """`function` of each item, in their order, on so many threads.

    No more than `threads` results exist beside the one that the caller has, however slowly it
    takes them: memory stays bounded. With one thread all is done on the caller's.
    """
    if threads == 1:
        yield from map(function, items)
        return
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        coming = deque(pool.submit(function, item) for item in islice(remaining, threads))
        while coming:
            result = coming.popleft().result()
            coming.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield result
