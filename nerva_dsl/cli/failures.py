"""From what went wrong to a sentence and an exit status: the one place that decides both.

0: done. 1: the input is wrong. 2: the command line is wrong (said by typer). 3: the toolchain or
the machine fails. 70: a fault of nervac itself. 130: interrupted.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec

import typer

P = ParamSpec("P")

INTERNAL_FAULT = 70  # EX_SOFTWARE of sysexits.h: none of the documented statuses
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Failures of the machine; every other OSError is about a file that the user named.
MACHINE_FAILURES = {
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
}


class UsageError(Exception):
    """Options that do not go together: the command line is wrong, not its input."""


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command that ends with an exit status and a sentence, whatever happens in it."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(report(error)) from None

    return run


@contextmanager
def finish() -> Iterator[None]:
    """The frame of a whole process: what is outside any command, and the last flush of stdout."""
    status: int | str | None = 0
    try:
        yield
    except SystemExit as end:
        status = end.code
    except (Exception, KeyboardInterrupt) as error:
        status = report(error)
    try:
        sys.stdout.flush()
    except OSError as error:  # the reader of the pipe has gone: not before now is it noticed
        status = report(error)
    raise SystemExit(status)


def report(error: BaseException) -> int:
    """Say on standard error what went wrong; returns the exit status."""
    status, message = describe(error)
    if message:
        print(message, file=sys.stderr)
    return status


def describe(error: BaseException) -> tuple[int, str]:
    """Exit status and message of an error; the message is empty if there is nobody to read it."""
    from nerva_dsl.errors import DiagnosticError
    from nerva_dsl.faults import NervaError

    match error:
        case DiagnosticError():
            return error.exit_status, str(error)  # is rendered whole, with its own `error[…]`
        case NervaError():
            return error.exit_status, f"error: {error}"
        case UsageError():
            return 2, f"Error: {error}"  # typer's spelling of such errors
        case FloatingPointError():  # a loss that is not finite, with its epoch, batch and layer
            return 1, f"error: {error}"
        case ImportError() if _is_load_error(error):
            return 3, f"error: {error}"
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case BrokenPipeError():
            _silence_stdout()
            return 1, ""
        case MemoryError():
            return 3, f"error: out of memory{f': {error}' if str(error) else ''}"
        case OSError() if error.errno is not None:
            status = 3 if error.errno in MACHINE_FAILURES else 1
            place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            return status, f"error: {place}{(error.strerror or str(error)).lower()}"
    return INTERNAL_FAULT, _internal_fault(error)


def _is_load_error(error: ImportError) -> bool:
    from nerva_dsl.runtime.loading import LoadError

    return isinstance(error, LoadError)


def _silence_stdout() -> None:
    """Let the interpreter's own last flush find a reader."""
    with suppress(OSError):  # of a stdout without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal_fault(error: BaseException) -> str:
    import traceback

    from nerva_dsl import __version__

    trace = "".join(traceback.format_exception(error))
    return (
        f"{trace}\nerror: this is a fault of nervac {__version__}, not of what you wrote.\n"
        "Please report it with the lines above, the command, and the .nerva file."
    )
