"""The C compiler of the wheel `ziglang`, for machines where none can be installed.

It is clang with a C library of its own. Where it differs: it has no OpenMP (the runtime and its
header are taken from the wheel `intel-openmp`), spells the levels of x86-64 with underscores, and
checks for undefined behaviour unless it is told not to.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from nerva_dsl.faults import ToolchainError

INSTALL_ZIG = "pip install ziglang intel-openmp"


@dataclass(frozen=True)
class OpenMp:
    """An OpenMP runtime that the compiler does not bring itself: options to use it."""

    compile_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()


def find_zig() -> tuple[str, ...] | None:
    """The wheel's compiler as a command, or None if it is not installed."""
    try:
        spec = importlib.util.find_spec("ziglang")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    executable = Path(spec.origin).with_name("zig")
    return (str(executable), "cc") if executable.is_file() else None


def is_zig(command: tuple[str, ...]) -> bool:
    """Whether a command is zig's C compiler."""
    return Path(command[0]).name == "zig" or "ziglang" in command


def version_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command that says zig's own version; `zig cc` says clang's."""
    return (*(word for word in command if word != "cc"), "version")


def find_openmp() -> OpenMp:
    """OpenMP for zig, from the wheel `intel-openmp`.

    Raises:
        ToolchainError: it is not installed.
    """
    try:
        files = importlib.metadata.files("intel-openmp") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    paths = {file.name: Path(str(file.locate())) for file in files}
    header, library = paths.get("omp.h"), paths.get("libiomp5.so")
    if header is None or library is None or not header.is_file() or not library.is_file():
        raise ToolchainError(
            "the C compiler of the wheel ziglang has no OpenMP of its own: "
            "`pip install intel-openmp` (x86-64 only), or install gcc or clang",
        )
    directory = library.parent.resolve()
    return OpenMp(
        ("-isystem", str(header.parent.resolve())),
        (str(directory / library.name), "-Xlinker", "-rpath", "-Xlinker", str(directory)),
    )


def translate(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Options of gcc and clang as zig takes them."""
    return (
        *(flag.replace("-march=x86-64-v", "-march=x86_64_v") for flag in flags),
        "-fno-sanitize=all",
    )
