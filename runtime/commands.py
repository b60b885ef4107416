"""The commands of a build: the kernels and the wrapper side by side, then the link."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime.mkl import Mkl
from nerva_dsl.runtime.toolchain import Compiler
from nerva_dsl.runtime.zig import OpenMp, find_openmp, is_zig, translate

if TYPE_CHECKING:
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

_Command = tuple[str, ...]


@dataclass(frozen=True)
class Commands:
    """The exact commands of a build, run in its directory: their file names are relative."""

    kernel: _Command
    wrapper: _Command
    link: _Command

    def text(self) -> str:
        """All of them, as a shell would take them."""
        return "\n".join(shlex.join(part) for part in (self.kernel, self.wrapper, self.link))


@dataclass(frozen=True)
class Failure:
    """A command that failed.

    Attributes:
        command: as a shell would take it.
        output: what it said.
        log: the commands that ran, each with its output and exit status.
    """

    command: str
    output: str
    log: str


def build_commands(
    name: str,
    extension: str,
    compiler: Compiler,
    target: Target,
    *,
    mkl: Mkl | None = None,
    extra_flags: Sequence[str] = (),
) -> Commands:
    """The commands that make the file `extension` of `NAME.c` and the wrapper `_NAME.c`.

    Raises:
        ToolchainError: a part that the compiler does not bring is missing.
    """
    cc = compiler.command
    openmp = find_openmp() if is_zig(cc) else OpenMp()
    target_flags = translate(target.flags) if is_zig(cc) else target.flags
    includes = tuple(f"-I{directory}" for directory in python_includes())
    kernel_flags = (*KERNEL_FLAGS, *target_flags, *openmp.compile_flags, *extra_flags)
    libraries = (*openmp.link_flags, *LINK_LIBRARIES)
    if mkl is not None:
        kernel_flags = (*kernel_flags, *mkl.compile_flags)
        libraries = (*mkl.link_flags, *libraries)
    # The wrapper is compiled for the target too: it says which instructions that means.
    wrapper_flags = (*WRAPPER_FLAGS, *target_flags, *includes)
    return Commands(
        kernel=(*cc, *kernel_flags, "-c", f"{name}.c", "-o", f"{name}.o"),
        wrapper=(*cc, *wrapper_flags, "-c", f"_{name}.c", "-o", f"_{name}.o"),
        link=(
            *(*cc, *LINK_FLAGS, *extra_flags, f"{name}.o", f"_{name}.o"),
            *("-o", extension, *libraries),
        ),
    )


def python_includes() -> tuple[str, ...]:
    """Directories of Python's header files."""
    paths = sysconfig.get_paths()
    return tuple(dict.fromkeys((paths["include"], paths["platinclude"])))


def run_commands(
    directory: Path, commands: Commands, environment: Mapping[str, str]
) -> Failure | None:
    """Compile both files at once, then link; None if nothing failed."""
    failure = run_together(directory, (commands.kernel, commands.wrapper), environment)
    return failure or run_together(directory, (commands.link,), environment)


def compiler_environment(directory: Path, root: Path) -> dict[str, str]:
    """Environment of compilers.

    Args:
        directory: of the build; it takes their temporary files too, so that one disk is all that
            has to have space, and what a killed compiler leaves is removed with the rest.
        root: the cache, for what zig keeps.
    """
    zig = str(root / "zig")
    return {
        "ZIG_GLOBAL_CACHE_DIR": zig,
        "ZIG_LOCAL_CACHE_DIR": zig,
        **os.environ,
        "TMPDIR": str(directory),
        "LC_ALL": "C",  # `error:` in English, to be found in the log
    }


def run_together(
    directory: Path, commands: Sequence[_Command], environment: Mapping[str, str]
) -> Failure | None:
    """Run commands at the same time; None if all succeed.

    Raises:
        ToolchainError: one does not start.
    """
    processes: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    # Pipes, not files: a message about a full disk needs no space on it.
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise ToolchainError(
                    f"the C compiler {command[0]} does not start: {error.strerror}"
                ) from None
            processes.append(process)
        outputs = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:  # interrupted
                process.kill()
                with suppress(OSError):
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()
    return _failure(commands, outputs, [process.returncode for process in processes])


def _failure(
    commands: Sequence[_Command], outputs: Sequence[str], statuses: Sequence[int]
) -> Failure | None:
    texts = [shlex.join(command) for command in commands]
    failed = next((index for index, status in enumerate(statuses) if status), None)
    if failed is None:
        return None
    log = "\n".join(
        f"$ {text}\n{output}[exit status {status}]\n"
        for text, output, status in zip(texts, outputs, statuses, strict=True)
    )
    return Failure(texts[failed], outputs[failed], log)
