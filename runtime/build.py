"""Building a generated model: wrapper, two compilations side by side, link; cached.

The kernel file and cffi's wrapper have different needs. The kernels want every optimisation; the
wrapper is long, runs for a microsecond a call, and fails strict warnings. They are compiled at the
same time and linked into one extension, in which only Python's entry point is visible.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import nerva_dsl
from nerva_dsl.errors import ToolchainError
from nerva_dsl.runtime.cache import Cache, cache_root, digest, reporting_cache_errors
from nerva_dsl.runtime.toolchain import (
    Compiler,
    compiler_version,
    explain_failure,
    find_compiler_command,
    python_include,
)

if TYPE_CHECKING:
    from nerva_dsl.codegen.generated import Generated
    from nerva_dsl.runtime.target import Target

# -std=c11 alone would turn the contraction to fused multiply-adds off. Never -ffast-math: it folds
# isfinite() to true, and linking with it turns on flush-to-zero for the whole process.
KERNEL_FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-fPIC",
    "-fvisibility=hidden",
)
WRAPPER_FLAGS = ("-O1", "-DNDEBUG", "-fPIC", "-fvisibility=hidden")
LINK_FLAGS = ("-shared", "-fopenmp")
LINK_LIBRARIES = ("-lm",)
# For tests of the kernel file; a user's newer compiler must not fail on a warning of its own.
STRICT_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")

EXTENSION_SUFFIX = EXTENSION_SUFFIXES[0]
_QUOTED_ERRORS = 3


@dataclass(frozen=True)
class _Commands:
    """The exact commands of a build, run in its directory: their file names are relative."""

    kernel: tuple[str, ...]
    wrapper: tuple[str, ...]
    link: tuple[str, ...]

    def text(self) -> str:
        return "\n".join(shlex.join(part) for part in (self.kernel, self.wrapper, self.link))


def build(generated: Generated, target: Target, *, extra_flags: Sequence[str] = ()) -> Path:
    """Build a generated model, or find it in the cache.

    Args:
        generated: the texts of the model.
        target: the instruction set.
        extra_flags: more options for compiling the kernels and for linking, such as a sanitizer.

    Returns:
        The directory with `NAME.py`, `NAME.c` and the extension `_NAME`.

    Raises:
        ToolchainError: there is no compiler, it fails (the message says where its log and the C
            are), or the cache directory cannot be used.
    """
    cache = Cache(cache_root())
    command = find_compiler_command()
    with reporting_cache_errors(cache.root):
        version = cache.remembered_version(command, lambda: compiler_version(command))
        compiler = Compiler(command, version)
        commands = _commands(generated.name, compiler, target, tuple(extra_flags))
        key = _key(generated, compiler, commands, target)
        files = [f"{generated.name}.py", f"{generated.name}.c", extension_file(generated.name)]
        found = cache.lookup(generated.name, key, files)
        if found is not None:
            return found
        with cache.locked(key):
            found = cache.lookup(generated.name, key, files)
            if found is not None:  # another process has built it meanwhile
                return found
            python_include(_python_includes())
            with cache.building(generated.name) as directory:
                _write(directory, generated)
                log = _run(directory, commands)
                if log is not None:
                    _fail(cache.keep_failed(directory, generated.name, key), generated.name, log)
                for leftover in (*directory.glob("*.o"), *directory.glob("_*.c")):
                    leftover.unlink()
                return cache.install(directory, generated.name, key)


def extension_file(name: str) -> str:
    """File name of the extension of model `name`, for this Python."""
    return f"_{name}{EXTENSION_SUFFIX}"


def _commands(
    name: str, compiler: Compiler, target: Target, extra_flags: tuple[str, ...]
) -> _Commands:
    includes = tuple(f"-I{directory}" for directory in _python_includes())
    cc = compiler.command
    kernel_flags = (*KERNEL_FLAGS, *target.flags, *extra_flags)
    return _Commands(
        kernel=(*cc, *kernel_flags, "-c", f"{name}.c", "-o", f"{name}.o"),
        wrapper=(*cc, *WRAPPER_FLAGS, *includes, "-c", f"_{name}.c", "-o", f"_{name}.o"),
        link=(
            *(*cc, *LINK_FLAGS, *extra_flags, f"{name}.o", f"_{name}.o"),
            *("-o", extension_file(name), *LINK_LIBRARIES),
        ),
    )


def _python_includes() -> tuple[str, ...]:
    import sysconfig  # noqa: PLC0415 -- compiled models import this package's light half only

    paths = sysconfig.get_paths()
    return tuple(dict.fromkeys((paths["include"], paths["platinclude"])))


def _key(generated: Generated, compiler: Compiler, commands: _Commands, target: Target) -> str:
    # cffi's own package takes long to import; its backend carries the same version.
    cffi_version = import_module("_cffi_backend").__version__
    return digest(
        [
            ("nervac", nerva_dsl.__version__),
            ("python", f"{sys.implementation.cache_tag} {EXTENSION_SUFFIX} {sys.platform}"),
            ("machine", platform.machine()),
            ("cffi", cffi_version),
            ("compiler", compiler.version),
            ("commands", commands.text()),
            ("features", " ".join(target.features)),
            ("kernel", generated.c_source),
            ("declarations", generated.declarations),
            ("module", generated.module_source),
        ]
    )


def _write(directory: Path, generated: Generated) -> None:
    from cffi import FFI  # noqa: PLC0415 -- on a miss only
    from cffi.recompiler import make_c_source  # noqa: PLC0415 -- emit_c_code would print

    name = generated.name
    (directory / f"{name}.c").write_text(generated.c_source, encoding="utf-8")
    (directory / f"{name}.py").write_text(generated.module_source, encoding="utf-8")
    ffi = FFI()
    ffi.cdef(generated.declarations)
    preamble = f"#include <stdint.h>\n{generated.declarations}"
    make_c_source(ffi, f"_{name}", preamble, str(directory / f"_{name}.c"))


def _run(directory: Path, commands: _Commands) -> str | None:
    """Compile both files at once, then link. None, or the log if anything failed."""
    log = _run_together(directory, (commands.kernel, commands.wrapper))
    return log if log is not None else _run_together(directory, (commands.link,))


def _run_together(directory: Path, commands: Sequence[tuple[str, ...]]) -> str | None:
    environment = {**os.environ, "LC_ALL": "C"}  # `error:` in English, to be found in the log
    processes: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            # Files, not pipes: neither process can fill a pipe that nobody reads yet.
            with (directory / f"{len(processes)}.log").open("w", encoding="utf-8") as output:
                try:
                    process = subprocess.Popen(
                        command,
                        cwd=directory,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                except OSError as error:
                    raise ToolchainError(
                        f"the C compiler {command[0]} does not start: {error.strerror}"
                    ) from None
                processes.append(process)
        statuses = [process.wait() for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:  # interrupted
                process.kill()
                process.wait()
    parts = []
    for index, command in enumerate(commands):
        file = directory / f"{index}.log"
        text = file.read_text(encoding="utf-8", errors="replace")
        parts.append(f"$ {shlex.join(command)}\n{text}[exit status {statuses[index]}]\n")
        file.unlink()
    return "\n".join(parts) if any(statuses) else None


def _fail(directory: Path, name: str, log: str) -> NoReturn:
    """Say what failed, and where the log and the C are."""
    log_file = directory / "build.log"
    log_file.write_text(log, encoding="utf-8")
    errors = [line.strip() for line in log.splitlines() if "error:" in line or "error " in line]
    quoted = "".join(f"\n    {line}" for line in errors[:_QUOTED_ERRORS])
    cause = explain_failure("\n".join(errors)) or f"the C compiler fails on model `{name}`"
    raise ToolchainError(f"{cause}{quoted}\n  log: {log_file}\n  C:   {directory / name}.c")
