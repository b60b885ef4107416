"""Loops over arrays that call mathematical functions, compiled as models are."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nerva_dsl.codegen.c_expression import VECTORIZED
from nerva_dsl.codegen.environment import environment
from nerva_dsl.codegen.vector_math import FORMATS, functions
from nerva_dsl.runtime.commands import KERNEL_FLAGS, STRICT_WARNINGS
from nerva_dsl.runtime.toolchain import find_compiler_command

HEADERS = "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n"
DTYPES = {"float32": np.float32, "float64": np.float64}

Loop = Callable[[np.ndarray, np.ndarray], None]
Repeated = Callable[[np.ndarray, np.ndarray, int], None]

REPEAT = """
void repeat(void (*loop)(const void *, void *, int64_t), const void *from, void *to, int64_t count,
            int64_t times)
{
    for (int64_t i = 0; i < times; i++)
        loop(from, to, count);
}
"""


def own_functions() -> str:
    """All functions of the generated file, in both precisions."""
    used = {precision: frozenset(VECTORIZED) for precision in FORMATS}
    template = environment().get_template("functions.c.j2")
    return HEADERS + template.render(functions=functions(used))


def loop(name: str, real: str, call: str) -> str:
    """A C function that applies `call`, an expression in x, to an array."""
    return f"""
void {name}(const {real} *restrict from, {real} *restrict to, int64_t count)
{{
    #pragma omp simd
    for (int64_t i = 0; i < count; i++) {{
        const {real} x = from[i];
        to[i] = {call};
    }}
}}
"""


def compile_library(
    source: str, directory: Path, *, flags: tuple[str, ...], link: tuple[str, ...] = ()
) -> ctypes.CDLL:
    """Compile a file with the flags of a model's kernels, without a warning, and load it.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    file, library = directory / "functions.c", directory / "functions.so"
    file.write_text(source, encoding="utf-8")
    kernel_flags = tuple(flag for flag in KERNEL_FLAGS if flag != "-fvisibility=hidden")
    subprocess.run(
        [
            *(*find_compiler_command(), *kernel_flags, *STRICT_WARNINGS, *flags, "-shared"),
            *(str(file), "-o", str(library), *link, "-lm"),
        ],
        check=True,
    )
    return ctypes.CDLL(str(library))


def load(library: ctypes.CDLL, name: str) -> Loop:
    """A loop of a library, for two contiguous arrays of the same length."""
    function = library[name]
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    function.restype = None
    return lambda x, y: function(x.ctypes.data, y.ctypes.data, x.size)


def load_repeated(library: ctypes.CDLL, name: str) -> Repeated:
    """A loop of a library that has `REPEAT`, to be called several times without Python between."""
    function = ctypes.cast(library[name], ctypes.c_void_p)
    repeat = library.repeat
    repeat.argtypes = (*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)
    repeat.restype = None
    return lambda x, y, times: repeat(function, x.ctypes.data, y.ctypes.data, x.size, times)
