"""Running long C calls on a worker thread, so that the main thread can be interrupted.

Python runs signal handlers on the main thread, between its bytecodes: during a C call of its own
it would notice Ctrl-C only at the end of an epoch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

# Ctrl-C ends a wait at once; this bounds how late anything else is seen, such as progress.
_INTERVAL = 0.05


def run_interruptible(
    work: Callable[[], None], stop: Callable[[], None], progress: Callable[[], None] | None
) -> None:
    """Run `work` on a thread of its own and wait for it.

    An exception in the waiting thread, such as KeyboardInterrupt, does not leave the work behind:
    it is asked to stop, waited for, and the exception goes on afterwards.

    Args:
        work: releases the GIL; what it does at its end is not interrupted by a signal.
        stop: asks the work to end soon.
        progress: called now and then while the work goes on.
    """
    # Plain locks: an interrupt in the middle of a Condition's Python code could leave it locked.
    # The ticket is taken by the work as it begins, or by an interrupt before: then it never begins.
    ticket, ended = threading.Lock(), threading.Lock()
    ended.acquire()
    outcome: list[BaseException | None] = []  # one item when the work has ended

    def run() -> None:
        if not ticket.acquire(blocking=False):
            return
        failure: BaseException | None = None
        try:
            work()
        except BaseException as error:
            failure = error
        outcome.append(failure)
        ended.release()

    try:
        threading.Thread(target=run, name="nervac", daemon=True).start()
        while not outcome:
            ended.acquire(timeout=_INTERVAL)
            if progress is not None and not outcome:
                progress()
    except BaseException:
        stop()
        if not ticket.acquire(blocking=False):
            _insist(outcome, ended)
        raise
    if outcome[0] is not None:
        raise outcome[0]


def _insist(outcome: list[BaseException | None], ended: threading.Lock) -> None:
    """Wait although the user presses Ctrl-C again: the model would be left in mid-batch."""
    while not outcome:
        try:
            ended.acquire(timeout=_INTERVAL)
        except BaseException:
            continue
