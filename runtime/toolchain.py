"""Finding the C compiler, and saying what to install where there is none."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime.zig import INSTALL_ZIG, find_zig, is_zig, version_command

_CANDIDATES = ("gcc", "clang")
INSTALL_COMPILER = (
    "install one (Debian, Ubuntu: `apt install gcc`; Fedora: `dnf install gcc`; "
    f"macOS: `xcode-select --install`; where you may not: `{INSTALL_ZIG}`) or set $CC to one"
)
INSTALL_HEADERS = (
    "install them (Debian, Ubuntu: `apt install python3-dev`; Fedora: `dnf install python3-devel`)"
)
INSTALL_OPENMP = (
    "install it (Debian, Ubuntu: `apt install gcc`, or `apt install libomp-dev` for clang; "
    "Fedora: `dnf install libgomp` or `libomp-devel`; macOS: `brew install gcc`) "
    "or set $CC to a compiler that has it"
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler.

    Attributes:
        command: the executable's path and the arguments that $CC gave.
        version: first line of what it says of itself.
    """

    command: tuple[str, ...]
    version: str


def find_compiler_command() -> tuple[str, ...]:
    """The C compiler: $CC, which may hold arguments, or else gcc, clang, or the wheel ziglang's.

    Raises:
        ToolchainError: there is none, or $CC is not one.
    """
    configured = os.environ.get("CC", "").strip()
    if configured:
        try:
            name, *arguments = shlex.split(configured)
        except ValueError as error:
            raise ToolchainError(f"$CC is `{configured}`, which is no command: {error}") from None
        path = shutil.which(name)
        if path is None:
            raise ToolchainError(
                f"$CC is `{configured}`, but there is no executable `{name}`: "
                "unset $CC to use gcc or clang, or set it to a C compiler",
            )
        return (path, *arguments)
    for name in _CANDIDATES:
        path = shutil.which(name)
        if path is not None:
            return (path,)
    zig = find_zig()
    if zig is not None:
        return zig
    raise ToolchainError(
        "no C compiler: neither gcc nor clang is on $PATH, and the wheel ziglang is not installed; "
        f"{INSTALL_COMPILER}",
    )


def compiler_version(command: tuple[str, ...]) -> str:
    """First line of what the compiler says of its version.

    Raises:
        ToolchainError: it cannot be started, or fails.
    """
    asked = version_command(command) if is_zig(command) else (*command, "--version")
    try:
        done = subprocess.run(
            asked,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"the C compiler {command[0]} does not start: {error}") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise ToolchainError(
            f"`{shlex.join(asked)}` fails (exit status {done.returncode}): is $CC a C compiler?",
        )
    return f"zig {lines[0]}" if is_zig(command) else lines[0]


def python_include(directories: tuple[str, ...]) -> tuple[str, ...]:
    """The directories, if one of them has Python's header.

    Raises:
        ToolchainError: none has.
    """
    if not any(Path(directory, "Python.h").is_file() for directory in directories):
        raise ToolchainError(
            f"Python's header files are missing (no Python.h in {directories[0]}); "
            f"{INSTALL_HEADERS}",
        )
    return directories


def explain_failure(log: str) -> str | None:
    """A sentence on a compiler's failure if its cause is a part that is not installed, or None."""
    if "fopenmp" in log or "omp.h" in log or "-lgomp" in log or "-lomp" in log:
        return f"the C compiler has no OpenMP; {INSTALL_OPENMP}"
    if "stdint.h" in log or "stdlib.h" in log or "math.h" in log:
        return (
            "the C library's header files are missing; "
            "install them (Debian, Ubuntu: `apt install libc6-dev`; Fedora: `dnf install "
            "glibc-devel`; macOS: `xcode-select --install`)"
        )
    if "Killed" in log:
        return "the C compiler was killed, most likely for want of memory"
    return None
