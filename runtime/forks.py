"""What is left of OpenMP and of locks in a process that was forked.

A forked child has one thread, and a copy of all memory. An OpenMP runtime that the parent has used,
be it by us, by PyTorch or by anybody, believes that its team still exists, and waits for it for
ever; a new thread makes itself a team of its own. So in a forked process all calls run on a thread
of their own. A lock that another thread held is never released.

LLVM's OpenMP begins anew in a child, unless $KMP_INIT_AT_FORK tells it not to, which importing
joblib or scikit-learn does. Then it waits in new threads too, and only teams of one work.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/stat")
_LIBRARIES = Path("/proc/self/maps")
_FALSE = ("f", ".f", "0", "n", "of", "d")  # how the values begin that mean no
_FLAGS = 6  # position behind the command's name, proc(5)
_FORKED_WITHOUT_EXEC = 0x40  # PF_FORKNOEXEC of include/linux/sched.h


def forked() -> bool:
    """Whether this process is a copy of another one that has not started a program since.

    The system says so also if the fork was before this module was imported.
    """
    return _forked


def alone() -> bool:
    """Whether OpenMP has to do with one thread in this process; results do not depend on it."""
    return _forked and _without_team()


@cache
def _without_team() -> bool:
    setting = os.environ.get("KMP_INIT_AT_FORK", "").strip().lower()
    if not setting.startswith(_FALSE):
        return False
    try:
        libraries = _LIBRARIES.read_bytes()
    except OSError:  # not Linux
        return True
    return b"/libomp" in libraries or b"/libiomp" in libraries


def _system_says_forked() -> bool:
    try:
        fields = _STATUS.read_bytes().rpartition(b")")[2].split()
        return bool(int(fields[_FLAGS]) & _FORKED_WITHOUT_EXEC)
    except (OSError, ValueError, IndexError):  # not Linux
        return False


def _in_child() -> None:
    global _forked  # noqa: PLW0603
    _forked = True
    _without_team.cache_clear()


_forked = _system_says_forked()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
