"""From a scheduled program to the texts of the compiled model."""

from __future__ import annotations

import pprint
from pathlib import PurePath
from typing import Any

from nerva_dsl.codegen.environment import environment
from nerva_dsl.codegen.generated import Generated
from nerva_dsl.codegen.plan import Plan
from nerva_dsl.codegen.planner import make_plan
from nerva_dsl.codegen.spec import make_spec, uses_mkl
from nerva_dsl.ir.program import Program
from nerva_dsl.ir.types import Place
from nerva_dsl.machine import Machine
from nerva_dsl.model import CheckedModel
from nerva_dsl.rewiring import GROWERS, PRUNERS
from nerva_dsl.scalar import MAX_FACTORS

# What of the common part a kernel's template calls.
_NEEDS = {
    "spmm": {"share"},
    "spmm_transposed": {"share"},
    "gather": {"turn"},
    "gather_bytes": {"bytes"},
    "spmm_bytes": {"share", "bytes"},
    "sddmm_bytes": {"bytes", "row sum", "share", "shuffle"},
    "sddmm": {"share", "shuffle"},
    "sddmm_blocked": {"stripes", "seek", "shuffle"},
    "gemm_gradient": {"stripes", "shuffle"},
    "spmv": {"sparse dot"},
    "gemv": {"dense dot"},
    "spmm_blocked": {"unpack"},
    "spmm_transposed_blocked": {"unpack"},
    "activations_mask": {"philox"},
    "weights_mask": {"philox", "rows"},
    "weightwise": {"rows"},
    "row_squares": {"rows"},
    "top_gradients": {"philox"},
    "mkl_spmm": {"mkl", "mkl sparse"},
    "mkl_spmm_transposed": {"mkl", "mkl sparse"},
    "mkl_gemm": {"mkl", "mkl dense"},
    "mkl_gemm_transposed": {"mkl", "mkl dense"},
    "mkl_gemm_gradient": {"mkl", "mkl dense"},
}


def generate(
    model: CheckedModel,
    program: Program,
    *,
    backend: str,
    target: str,
    machine: Machine,
    measured: bool = False,
) -> Generated:
    """The texts of a compiled model.

    Args:
        model: the checked model.
        program: its program after all passes.
        backend: as chosen, recorded in `SPEC`.
        target: instruction set as chosen, recorded in `SPEC`.
        machine: that runs it.
        measured: whether its training step tells how long each kernel takes.
    """
    plan = make_plan(
        program,
        machine=machine,
        source_lines=_source_lines(model, program),
        measured=measured,
    )
    spec = make_spec(
        model, program, backend=backend, target=target, vector_bytes=machine.vector_bytes
    )
    patterns = {
        f"{layer.name}.weight": (layer.pattern.row_start, layer.pattern.column)
        for layer in model.layers
        if layer.pattern is not None
    }
    return Generated(
        name=model.name,
        c_source=_render_c(plan),
        declarations=f"typedef {plan.real} real;\n{_declarations(plan)}",
        module_source=_render(
            "module.py.j2",
            plan=plan,
            patterns=bool(patterns),
            spec=pprint.pformat(spec, width=96, sort_dicts=False),
        ),
        spec=spec,
        patterns=_pattern_file(patterns) if patterns else b"",
        uses_mkl=uses_mkl(program),
    )


def _render_c(plan: Plan) -> str:
    used = {need for template in plan.templates for need in _NEEDS.get(template, ())}
    if any(kernel.input is not None and kernel.input.checked for kernel in plan.kernels):
        used.add("checked")
    entries = {entry.name: entry for entry in plan.entries}
    purposes = _purposes() if "philox" in used else {}
    declarations = _declarations(plan)
    letter = "d" if plan.precision == "float64" else "s"
    return _render(
        "model.c.j2",
        plan=plan,
        used=used,
        letter=letter,
        declarations=declarations,
        max_factors=MAX_FACTORS,
        masks=entries.pop("masks", None),
        purposes=purposes,
        **entries,
    )


def _declarations(plan: Plan) -> str:
    return _render(
        "declarations.h.j2",
        index=plan.index,
        regrow=plan.regrow is not None,
        measured=plan.measured,
        pruners=PRUNERS,
        growers=GROWERS,
    )


def _pattern_file(patterns: dict[str, Any]) -> bytes:
    from nerva_dsl.runtime.given_patterns import to_bytes  # noqa: PLC0415 -- imports NumPy

    return to_bytes(patterns)


def _purposes() -> dict[str, int]:
    from nerva_dsl.runtime.philox import Purpose  # noqa: PLC0415 -- imports NumPy

    return {purpose.name.lower(): int(purpose) for purpose in Purpose}


def _render(template: str, **context: object) -> str:
    return environment().get_template(template).render(**context)


def _source_lines(model: CheckedModel, program: Program) -> dict[Place, str]:
    """The source line at each place that the program mentions, with the file's bare name."""
    sources = {source.name: source for source in (model.source, *model.imports)}
    places = {place for graph in program.graphs for op in graph.operations for place in op.origin}
    return {
        place: f"{PurePath(place.file).name}:{place.line}: "
        + _as_comment(sources[place.file].line(place.line))
        for place in sorted(places)
        if place.file in sources
    }


def _as_comment(line: str) -> str:
    """A source line that cannot end a C comment or begin another."""
    return line.strip().replace("*/", "* /").replace("/*", "/ *")
