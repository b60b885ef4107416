"""Where mathematical functions can come from."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.vector_math.library import (
    HEADERS,
    REPEAT,
    Repeated,
    compile_library,
    load_repeated,
    loop,
    own_functions,
)
from nerva_dsl.codegen.c_expression import VECTORIZED
from nerva_dsl.codegen.vector_math import FORMATS, Format
from nerva_dsl.runtime.mkl import find_mkl
from nerva_dsl.runtime.target import resolve_target

_VML = {"exp": "Exp", "expm1": "Expm1", "log": "Ln", "log1p": "Log1p", "tanh": "Tanh", "erf": "Erf"}


@dataclass(frozen=True)
class Source:
    """A source of functions.

    Attributes:
        name: in the table.
        loops: by function and precision.
    """

    name: str
    loops: Mapping[tuple[str, str], Repeated]


def sources(directory: Path) -> Iterator[Source]:
    """All sources that this machine has; libraries are built in the directory."""
    native = resolve_target("native").flags
    yield _compiled("nervac", own_functions(), directory, native, call="{name}_{real}(x)")
    library = "{name}{suffix}(x)"
    yield _compiled("C library", HEADERS, directory, native, call=library)
    # As glibc's header declares them where -ffast-math is on, but without what else that means.
    declared = HEADERS + "".join(
        f'__attribute__((simd("notinbranch"))) {form.real} {name}{form.suffix}({form.real});\n'
        for form, name in _pairs()
    )
    with suppress(subprocess.CalledProcessError):  # x86 with a glibc that has it, and gcc
        yield _compiled("libmvec", declared, directory, native, call=library, link=("-lmvec",))
    mkl = find_mkl()
    if mkl is not None:
        flags, link = (*native, *mkl.compile_flags), mkl.link_flags
        text = "#include <stdint.h>\n#include <mkl_vml.h>\n" + "".join(
            _vml(form, name) for form, name in _pairs()
        )
        yield _load("VML", text, directory, flags, link)


def _pairs() -> Iterator[tuple[Format, str]]:
    for form in FORMATS.values():
        for name in VECTORIZED:
            yield form, name


def _compiled(
    name: str,
    text: str,
    directory: Path,
    flags: tuple[str, ...],
    *,
    call: str,
    link: tuple[str, ...] = (),
) -> Source:
    loops = "".join(
        loop(
            f"{function}_{form.name}",
            form.real,
            call.format(name=function, real=form.real, suffix=form.suffix),
        )
        for form, function in _pairs()
    )
    return _load(name, text + loops, directory, flags, link)


def _vml(form: Format, name: str) -> str:
    # Its most accurate mode, which is the default.
    function = f"vm{'s' if form.name == 'float32' else 'd'}{_VML[name]}"
    return f"""
void {name}_{form.name}(const {form.real} *from, {form.real} *to, int64_t count)
{{
    {function}((MKL_INT)count, from, to, VML_HA);
}}
"""


def _load(
    name: str, text: str, directory: Path, flags: tuple[str, ...], link: tuple[str, ...]
) -> Source:
    place = directory / name.replace(" ", "-")
    place.mkdir()
    library = compile_library(text + REPEAT, place, flags=flags, link=link)
    return Source(
        name,
        {
            (function, form.name): load_repeated(library, f"{function}_{form.name}")
            for form, function in _pairs()
        },
    )
