"""The road from a `.nerva` file to a compiled model.

1. check       file                → checked model
2. lower       checked model       → forward graphs
3. differentiate                   → forward, backward and update graphs
4. passes      one after the other → scheduled kernels over one arena
5. generate    scheduled program   → C, declarations, Python module
6. build       texts               → directory with the importable module

Each stage knows only its input. The IR is verified after each of its stages. What comes after the
check is imported where it is needed: together it takes longer than most checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nerva_dsl.check import check as check_file
from nerva_dsl.recursion import deep_recursion

if TYPE_CHECKING:
    from nerva_dsl.check import Checked
    from nerva_dsl.codegen.generated import Generated
    from nerva_dsl.explain import Explanation
    from nerva_dsl.ir.program import Program
    from nerva_dsl.machine import Machine
    from nerva_dsl.model import CheckedModel


def check(path: str | PathLike[str], overrides: Mapping[str, object] | None = None) -> Checked:
    """Stage 1: the checked model of a file, with its warnings.

    Args:
        path: the file.
        overrides: values for its `param`s: Python values, or constants of the language as text.

    Raises:
        DiagnosticError: with every error of the file.
    """
    return check_file(Path(path), overrides or {})


def ir_stages(
    model: CheckedModel, *, backend: str, machine: Machine, mkl: bool = False
) -> Iterator[tuple[str, Program]]:
    """Stages 2 to 4: the program after each of them, with the stage's name."""
    from nerva_dsl.differentiate import differentiate
    from nerva_dsl.ir.verify import verify
    from nerva_dsl.lower import lower
    from nerva_dsl.passes import pipeline

    program = verify(lower(model), "lower")
    yield "lower", program
    with deep_recursion():
        program = verify(differentiate(program), "differentiate")
    yield "differentiate", program
    for step in pipeline(backend=backend, machine=machine, mkl=mkl):
        with deep_recursion():
            program = verify(step(program), step.name)
        yield step.name, program


def optimize(model: CheckedModel, *, backend: str, machine: Machine, mkl: bool = False) -> Program:
    """Stages 2 to 4: the scheduled program of a checked model."""
    *_, (_, program) = ir_stages(model, backend=backend, machine=machine, mkl=mkl)
    return program


def emit_c(
    path: str | PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    backend: str = "auto",
    target: str = "native",
) -> Generated:
    """Stages 1 to 5: the texts of a compiled model; needs no compiler."""
    model = check(path, overrides).model
    return emit_model(model, backend=backend, target=target)


def emit_model(
    model: CheckedModel,
    *,
    backend: str = "auto",
    target: str = "native",
    measured: bool = False,
    machine: Machine | None = None,
) -> Generated:
    """Stages 2 to 5.

    Args:
        model: the checked model.
        backend: family of kernels.
        target: instruction set.
        measured: whether the C tells how long each kernel of a step takes.
        machine: for the cost model; None: what is known of the target.
    """
    from nerva_dsl.codegen.render import generate
    from nerva_dsl.runtime.target import resolve_target

    machine = machine or resolve_target(target).machine
    program = optimize(model, backend=backend, machine=machine, mkl=_has_mkl(backend))
    with deep_recursion():
        return generate(
            model,
            program,
            backend=backend,
            target=target,
            machine=machine,
            measured=measured,
        )


def compile_model(
    path: str | PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    backend: str = "auto",
    target: str = "native",
) -> Path:
    """All stages: the directory that holds `NAME.py`, `NAME.c` and the built extension.

    Raises:
        DiagnosticError: the file is wrong.
        ToolchainError: there is no C compiler, or it fails.
    """
    return build_model(check(path, overrides).model, backend=backend, target=target)


def build_model(model: CheckedModel, *, backend: str = "auto", target: str = "native") -> Path:
    """Stages 2 to 6; as `compile_model`."""
    from nerva_dsl.runtime.build import build
    from nerva_dsl.runtime.target import resolve_target

    generated = emit_model(model, backend=backend, target=target)
    return build(generated, resolve_target(target))


def programs(
    path: str | PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    backend: str = "auto",
    target: str = "native",
) -> Iterator[tuple[str, Program]]:
    """The program after each stage of the IR, with the stage's name."""
    yield from model_programs(check(path, overrides).model, backend=backend, target=target)


def model_programs(
    model: CheckedModel, *, backend: str = "auto", target: str = "native"
) -> Iterator[tuple[str, Program]]:
    """As `programs`, of a model that is checked."""
    from nerva_dsl.runtime.target import resolve_target

    machine = resolve_target(target).machine
    yield from ir_stages(model, backend=backend, machine=machine, mkl=_has_mkl(backend))


def program_text(program: Program) -> str:
    """The text of the IR, however deep its expressions are."""
    from nerva_dsl.ir.text import print_program

    with deep_recursion():
        return print_program(program)


def explain(
    path: str | PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    backend: str = "auto",
    target: str = "native",
    measure: bool = False,
) -> Explanation:
    """What the compiler made of a file: its layers, and the kernel of each operation.

    Args:
        path: the file.
        overrides: values for its `param`s.
        backend: family of kernels.
        target: instruction set.
        measure: whether to compile it, train it for a moment on random data, and tell how long each
            kernel took.

    Raises:
        DiagnosticError: the file is wrong.
        ToolchainError: there is no C compiler, or it fails.
    """
    from nerva_dsl.explain import explain_program
    from nerva_dsl.runtime.target import resolve_target

    model = check(path, overrides).model
    machine = resolve_target(target).machine
    program = optimize(model, backend=backend, machine=machine, mkl=_has_mkl(backend))
    explanation = explain_program(model, program, machine)
    if not measure:
        return explanation
    from nerva_dsl.runtime.measuring import kernel_seconds

    generated = emit_model(model, backend=backend, target=target, measured=True, machine=machine)
    return explanation.measured(kernel_seconds(generated, resolve_target(target)))


def _has_mkl(backend: str) -> bool:
    """Whether `auto` may choose MKL; the other backends do not ask."""
    from nerva_dsl.runtime.mkl import find_mkl

    return backend == "auto" and find_mkl() is not None
