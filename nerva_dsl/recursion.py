"""Room for functions that call themselves on the parts of an expression."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_DEPTH = 100_000


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for expressions as deep as the checker lets through, wherever the caller's stack is.

    Since Python 3.11 calls of Python functions take no room on the C stack.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
