"""Building a generated model: wrapper, two compilations side by side, link; cached.

The kernel file and cffi's wrapper have different needs. The kernels want every optimisation; the
wrapper is long, runs for a microsecond a call, and fails strict warnings. They are compiled at the
same time and linked into one extension, in which only Python's entry point is visible.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import nerva_dsl
from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import instruction_sets
from nerva_dsl.runtime.cache import Cache, cache_root, digest, no_space, reporting_cache_errors
from nerva_dsl.runtime.commands import (
    Commands,
    Failure,
    build_commands,
    compiler_environment,
    python_includes,
    run_commands,
)
from nerva_dsl.runtime.given_patterns import file_name
from nerva_dsl.runtime.mkl import INSTALL_MKL, Mkl, find_mkl
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

EXTENSION_SUFFIX = EXTENSION_SUFFIXES[0]
_QUOTED_ERRORS = 3


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
            are), MKL is needed and not installed, or the cache directory cannot be used.
    """
    name = generated.name
    cache = Cache(cache_root())
    command = find_compiler_command()
    mkl = _required_mkl() if generated.uses_mkl else None
    with reporting_cache_errors(cache.root):
        version = cache.remembered_version(command, lambda: compiler_version(command))
        compiler = Compiler(command, version)
        commands = build_commands(
            name, extension_file(name), compiler, target, mkl=mkl, extra_flags=extra_flags
        )
        key = _key(generated, compiler, commands, target, mkl)
        files = [f"{name}.py", f"{name}.c", extension_file(name)]
        if generated.patterns:
            files.append(file_name(name))
        found = cache.lookup(name, key, files)
        if found is not None:
            return found
        with cache.locked(key):
            found = cache.lookup(name, key, files)
            if found is not None:  # another process has built it meanwhile
                return found
            python_include(python_includes())
            with cache.building(name, key) as directory:
                _write(directory, generated)
                environment = compiler_environment(directory, cache.root)
                failure = run_commands(directory, commands, environment)
                if failure is not None:
                    _fail(cache, directory, name, key, failure)
                return cache.install(directory, name, key, files)


def extension_file(name: str) -> str:
    """File name of the extension of model `name`, for this Python."""
    return f"_{name}{EXTENSION_SUFFIX}"


def _required_mkl() -> Mkl:
    mkl = find_mkl()
    if mkl is None:
        raise ToolchainError(
            f"MKL is not installed, and this model's kernels call it: `{INSTALL_MKL}`, "
            "or compile with --backend native",
        )
    return mkl


def _key(
    generated: Generated,
    compiler: Compiler,
    commands: Commands,
    target: Target,
    mkl: Mkl | None,
) -> str:
    # cffi's own package takes long to import; its backend carries the same version.
    cffi_version = import_module("_cffi_backend").__version__
    return digest(
        [
            ("nervac", nerva_dsl.__version__),
            ("python", f"{sys.implementation.cache_tag} {EXTENSION_SUFFIX} {sys.platform}"),
            ("machine", platform.machine()),
            ("cffi", cffi_version),
            ("compiler", compiler.version),
            ("mkl", "" if mkl is None else mkl.version),
            ("commands", commands.text()),
            ("features", " ".join(target.features)),
            ("kernel", generated.c_source),
            ("declarations", _preamble(generated)),
            ("module", generated.module_source),
            ("patterns", generated.patterns.hex()),
        ]
    )


def _preamble(generated: Generated) -> str:
    """What the wrapper begins with."""
    return f"#include <stdint.h>\n{generated.declarations}{instruction_sets.declaration()}"


def _write(directory: Path, generated: Generated) -> None:
    from cffi import FFI  # noqa: PLC0415 -- on a miss only
    from cffi.recompiler import make_c_source  # noqa: PLC0415 -- emit_c_code would print

    name = generated.name
    (directory / f"{name}.c").write_text(generated.c_source, encoding="utf-8")
    (directory / f"{name}.py").write_text(generated.module_source, encoding="utf-8")
    if generated.patterns:
        (directory / file_name(name)).write_bytes(generated.patterns)
    ffi = FFI()
    ffi.cdef(generated.declarations)
    make_c_source(ffi, f"_{name}", _preamble(generated), str(directory / f"_{name}.c"))


def _fail(cache: Cache, directory: Path, name: str, key: str, failure: Failure) -> NoReturn:
    """Say what failed, with which command, and where the log and the C are."""
    if "No space left on device" in failure.log:
        raise ToolchainError(no_space(cache.root))
    errors = [
        line.strip()
        for line in failure.output.splitlines()
        if "error:" in line or "error " in line or "cannot find" in line
    ]
    quoted = "".join(f"\n    {line}" for line in errors[:_QUOTED_ERRORS])
    cause = explain_failure("\n".join(errors)) or f"the C compiler fails on model `{name}`"
    kept = ""
    with suppress(OSError):  # a disk that is full by now: what the compiler said matters more
        place = cache.keep_failed(directory, name, key)
        header = f"in {place}:\n\n"
        (place / "build.log").write_text(f"{header}{failure.log}", encoding="utf-8")
        kept = f"\n  log: {place / 'build.log'}\n  C:   {place / name}.c"
    raise ToolchainError(f"{cause}{quoted}\n  command: {failure.command}{kept}")
