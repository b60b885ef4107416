"""Running long C calls on a worker thread, so that the main thread can be interrupted.

Python runs signal handlers on the main thread, between its bytecodes: during a C call of its own
it would notice Ctrl-C only at the end of an epoch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

# Ctrl-C ends a wait at once; this bounds how late anything else is seen, such as progress.
_INTERVAL = 0.05


class Work:
    """Something that is done once, perhaps on another thread, or given up before it begins.

    Nothing here breaks if an interrupt comes between any two bytecodes: that is why who has it is
    decided by one call of C code (`dict.setdefault`), and there is no Condition, whose Python code
    could be left with its lock held.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._taken: dict[str, str] = {}  # "by": who was first, "worker" or "nobody"
        self._ended = threading.Lock()
        self._ended.acquire()
        self._outcome: list[BaseException | None] = []  # one item when it has ended

    @property
    def begun(self) -> bool:
        """Whether it has begun."""
        return self._taken.get("by") == "worker"

    def run(self) -> None:
        """Do it, on this thread, unless it was given up; errors are kept for `result`."""
        if self._taken.setdefault("by", "worker") != "worker":
            return
        failure: BaseException | None = None
        try:
            self._function()
        except BaseException as error:
            failure = error
        self._outcome.append(failure)
        self._ended.release()

    def over(self) -> bool:
        """Whether it will never be at work again; one that has not begun is given up."""
        return bool(self._outcome) or self._taken.setdefault("by", "nobody") == "nobody"

    def wait(self) -> bool:
        """Wait a little for its end; whether it has ended."""
        if not self._outcome:
            self._ended.acquire(timeout=_INTERVAL)
        return bool(self._outcome)

    def result(self) -> None:
        """Raise what it raised."""
        if self._outcome[0] is not None:
            raise self._outcome[0]


def run_interruptible(
    work: Work, stop: Callable[[], None], progress: Callable[[], None] | None
) -> None:
    """Run `work` on a thread of its own and wait for it.

    An exception in the waiting thread, such as KeyboardInterrupt, does not leave the work behind:
    it is asked to stop, waited for, and the exception goes on afterwards. Who presses Ctrl-C many
    times may still be let go before its end, so `work` itself keeps what it uses, and whoever uses
    the same things afterwards asks first whether it is `over`.

    Args:
        work: releases the GIL; what it does at its end is not interrupted by a signal.
        stop: asks the work to end soon.
        progress: called now and then while the work goes on.
    """
    try:
        threading.Thread(target=work.run, name="nervac", daemon=True).start()
        while not work.wait():
            if progress is not None and work.begun:
                progress()
    except BaseException:
        stop()
        if not work.over():
            _insist(work)
        raise
    work.result()


def _insist(work: Work) -> None:
    """Wait although the user presses Ctrl-C again: the model would be left in mid-batch."""
    try:
        while not work.wait():
            pass
    except BaseException:
        _insist(work)
