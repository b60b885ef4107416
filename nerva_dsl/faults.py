"""The base of all errors that are for the user, and those of the toolchain and the machine.

Compiled modules raise them too, so nothing is imported here; what is wrong with a file is in
`errors.py`.
"""

from __future__ import annotations


class NervaError(Exception):
    """Base of every error that a user can cause; its text is for the user.

    Attributes:
        exit_status: of the command line: 1, the input is wrong; 2, the command line is; 3, the
            toolchain or machine fails.
    """

    exit_status = 1


class ToolchainError(NervaError):
    """No compiler, a compiler that fails, no space for the cache."""

    exit_status = 3
