"""What this machine has for compiling and training, what is missing, and what mends it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nerva_dsl
from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import instruction_sets
from nerva_dsl.runtime.ahead import usable_cores
from nerva_dsl.runtime.cache import CACHE_VARIABLE, Cache, cache_root, cannot_use
from nerva_dsl.runtime.commands import (
    KERNEL_FLAGS,
    compiler_environment,
    python_includes,
    run_together,
)
from nerva_dsl.runtime.housekeeping import usage
from nerva_dsl.runtime.mkl import INSTALL_MKL, find_mkl
from nerva_dsl.runtime.quantities import models, size
from nerva_dsl.runtime.target import processor_name, resolve_target
from nerva_dsl.runtime.toolchain import (
    INSTALL_OPENMP,
    compiler_version,
    explain_failure,
    find_compiler_command,
    python_include,
)
from nerva_dsl.runtime.zig import OpenMp, find_openmp, is_zig, translate

# Needed to run a compiled model, by their names in the package index.
_PACKAGES = ("numpy", "scipy", "cffi")
_PROGRAM = """\
#include <omp.h>
#include <stdio.h>

int main(void)
{
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return printf("%d of %d", threads, omp_get_max_threads()) < 0;
}
"""
_PATIENCE = 60  # seconds
_CGROUP = Path("/sys/fs/cgroup/cpu.max")  # of a container, as it sees itself


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        text: what was found, for people.
        ok: whether it is there and works.
        needed: whether training cannot work without it.
        mend: if it is not: how to get it, with the command.
        facts: what was found, of JSON's types.
    """

    name: str
    text: str
    ok: bool = True
    needed: bool = True
    mend: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def examine() -> list[Finding]:
    """Everything, in the order of reading; nothing that is missing raises."""
    compiler, command = _compiler()
    return [
        _versions(),
        _processor(),
        _threads(),
        compiler,
        _headers(),
        _openmp(command),
        _mkl(),
        _cache(),
    ]


def can_train(findings: list[Finding]) -> bool:
    """Whether models can be compiled and trained here."""
    return all(finding.ok for finding in findings if finding.needed)


def _versions() -> Finding:
    versions = {"nervac": nerva_dsl.__version__, "Python": platform.python_version()}
    absent = []
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            absent.append(package)
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    mend = f"`pip install {' '.join(absent)}`" if absent else ""
    return Finding("versions", text, ok=not absent, mend=mend, facts=versions)


def _processor() -> Finding:
    target = resolve_target("native")
    level = instruction_sets.level() or platform.machine()
    name = processor_name()
    facts = {
        "name": name,
        "machine": platform.machine(),
        "instruction_set": level,
        "vector_bytes": target.vector_bytes,
    }
    text = f"{name or 'unknown'}: {level}, vectors of {8 * target.vector_bytes} bits"
    return Finding("processor", text, facts=facts)


def _threads() -> Finding:
    cores = os.cpu_count() or 1
    usable = usable_cores()
    quota = _quota()
    variable = os.environ.get("OMP_NUM_THREADS")
    facts = {"cores": cores, "usable": usable, "quota": quota, "OMP_NUM_THREADS": variable}
    parts = [f"{cores} cores", f"{usable} usable by this process"]
    if quota is not None:
        parts.append(f"limited to the time of {quota:g}")
    parts.append("OMP_NUM_THREADS is " + ("not set" if variable is None else f"`{variable}`"))
    return Finding("threads", ", ".join(parts), facts=facts)


def _quota() -> float | None:
    """Processor time that a container may use, in cores; None if there is no limit."""
    try:
        limit, period = _CGROUP.read_text(encoding="ascii").split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # not Linux, an older kernel, or `max`
        return None


def _compiler() -> tuple[Finding, tuple[str, ...] | None]:
    try:
        command = find_compiler_command()
        version = compiler_version(command)
    except ToolchainError as error:
        return _from_error("C compiler", error), None
    facts = {"command": list(command), "version": version}
    return Finding("C compiler", f"{' '.join(command)}: {version}", facts=facts), command


def _headers() -> Finding:
    try:
        directory = python_include(python_includes())[0]
    except ToolchainError as error:
        return _from_error("Python headers", error)
    return Finding("Python headers", directory, facts={"path": directory})


def _openmp(command: tuple[str, ...] | None) -> Finding:
    """Compile and run a program, with the options of a model's kernels."""
    if command is None:
        return Finding("OpenMP", "not tried", ok=False, mend="first a C compiler")
    target = resolve_target("native").flags
    try:
        openmp = find_openmp() if is_zig(command) else OpenMp()
        flags = (*KERNEL_FLAGS, *(translate(target) if is_zig(command) else target))
        with _place() as (directory, root):
            return _run_program(directory, root, (*command, *flags), openmp)
    except ToolchainError as error:
        return _from_error("OpenMP", error)
    except OSError as error:
        return Finding("OpenMP", f"not tried: {error}", ok=False, mend="see `cache`")


def _run_program(directory: Path, root: Path, command: tuple[str, ...], openmp: OpenMp) -> Finding:
    (directory / "program.c").write_text(_PROGRAM, encoding="utf-8")
    compile_it = (*command, *openmp.compile_flags, "program.c", "-o", "program", *openmp.link_flags)
    environment = compiler_environment(directory, root)
    failure = run_together(directory, [compile_it], environment)
    if failure is not None:
        lines = [line for line in failure.output.splitlines() if "error" in line]
        text = f"a program does not compile: {lines[0] if lines else failure.output.strip()}"
        return Finding("OpenMP", text, ok=False, mend=explain_failure(text) or INSTALL_OPENMP)
    try:
        done = subprocess.run(
            [directory / "program"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not end"
        text = f"a program compiles and does not run in {directory.parent}: {reason}"
        return Finding("OpenMP", text, ok=False, mend=f"set ${CACHE_VARIABLE} to another directory")
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        text = f"a program compiles and fails: {said}"
        return Finding("OpenMP", text, ok=False, mend=INSTALL_OPENMP)
    text = f"a program compiles and runs on {done.stdout} threads"
    return Finding("OpenMP", text, facts={"threads": int(done.stdout.split()[0])})


@contextmanager
def _place() -> Iterator[tuple[Path, Path]]:
    """A directory to compile in, and the cache: where models are built, or else another one."""
    try:
        cache = Cache(cache_root())
        cache.directory("building")
    except (OSError, ToolchainError):
        with tempfile.TemporaryDirectory(prefix="nervac-") as directory:
            yield Path(directory), Path(directory)
    else:
        with cache.building("doctor", "0" * 32) as path:
            yield path, cache.root


def _mkl() -> Finding:
    mkl = find_mkl()
    if mkl is not None:
        path = str(mkl.libraries[0].parent)
        facts = {"version": mkl.version, "path": path}
        return Finding("MKL", f"{mkl.version} in {path}", needed=False, facts=facts)
    if platform.machine() not in ("x86_64", "AMD64"):
        text = "there is none for this processor: all kernels are generated"
        return Finding("MKL", text, needed=False)
    return Finding(
        "MKL",
        "not installed: all kernels are generated, and --backend mkl does not work",
        ok=False,
        needed=False,
        mend=f"`{INSTALL_MKL}`",
    )


def _cache() -> Finding:
    try:
        root = cache_root()
    except ToolchainError as error:
        return _from_error("cache", error)
    held = usage(root)
    facts = {"path": str(root), "entries": held.entries, "bytes": held.bytes, "writable": True}
    text = f"{root}: {models(held.entries)}, {size(held.bytes)}"
    try:
        with tempfile.TemporaryFile(dir=Cache(root).directory("building")) as file:
            file.write(b"0" * 4096)
    except OSError as error:
        facts["writable"] = False
        sentence, _, mend = cannot_use(root, error).partition("; ")
        return Finding("cache", sentence, ok=False, mend=mend, facts=facts)
    return Finding("cache", text, facts=facts)


def _from_error(name: str, error: ToolchainError) -> Finding:
    """A finding from a sentence that says what is wrong, and behind `;` or `:` what mends it."""
    text = str(error)
    wrong, mark, mend = text.partition("; ")
    if not mark:
        wrong, _, mend = text.rpartition(": ")
    return Finding(name, wrong or text, ok=False, mend=mend)
