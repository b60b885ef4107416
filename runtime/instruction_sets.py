"""Which instructions a built extension may use, and whether this processor has them.

The compiler says what it may use by the macros it defines. The extension carries their names as a
text, so that they are known wherever it is copied to, before it is loaded: a module for another
processor is refused with a sentence and does not end the process with an illegal instruction.
"""

from __future__ import annotations

from pathlib import Path

from nerva_dsl.runtime.target import processor_features

# The compiler's macro, and the name of the same in /proc/cpuinfo. Of what compilers use by
# themselves; instructions that are only used by name, as for cryptography, are not needed here.
_FEATURES = {
    "__SSE3__": "pni",
    "__SSSE3__": "ssse3",
    "__SSE4_1__": "sse4_1",
    "__SSE4_2__": "sse4_2",
    "__SSE4A__": "sse4a",
    "__POPCNT__": "popcnt",
    "__LZCNT__": "abm",
    "__MOVBE__": "movbe",
    "__BMI__": "bmi1",
    "__BMI2__": "bmi2",
    "__TBM__": "tbm",
    "__F16C__": "f16c",
    "__FMA__": "fma",
    "__FMA4__": "fma4",
    "__XOP__": "xop",
    "__AVX__": "avx",
    "__AVX2__": "avx2",
    "__AVXVNNI__": "avx_vnni",
    "__AVX512F__": "avx512f",
    "__AVX512CD__": "avx512cd",
    "__AVX512BW__": "avx512bw",
    "__AVX512DQ__": "avx512dq",
    "__AVX512VL__": "avx512vl",
    "__AVX512IFMA__": "avx512ifma",
    "__AVX512VBMI__": "avx512vbmi",
    "__AVX512VBMI2__": "avx512_vbmi2",
    "__AVX512VNNI__": "avx512_vnni",
    "__AVX512BITALG__": "avx512_bitalg",
    "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
    "__AVX512BF16__": "avx512_bf16",
    "__AVX512FP16__": "avx512_fp16",
    "__GFNI__": "gfni",
    "__ARM_FEATURE_ATOMICS": "atomics",
    "__ARM_FEATURE_DOTPROD": "asimddp",
    "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC": "asimdhp",
    "__ARM_FEATURE_BF16": "bf16",
    "__ARM_FEATURE_MATMUL_INT8": "i8mm",
    "__ARM_FEATURE_SVE": "sve",
    "__ARM_FEATURE_SVE2": "sve2",
}
_V2 = {"pni", "ssse3", "sse4_1", "sse4_2", "popcnt"}
_V3 = _V2 | {"abm", "movbe", "bmi1", "bmi2", "f16c", "fma", "avx", "avx2"}
_V4 = _V3 | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
# Of the x86-64 psABI, the best first; names of targets.
_LEVELS = {"x86-64-v4": _V4, "x86-64-v3": _V3, "x86-64-v2": _V2}

_MARK = b"nervac needs the instructions:"
_END = b"."


def declaration() -> str:
    """C that leaves the names of the instructions in use in the object file."""
    names = "".join(f'#ifdef {macro}\n    " {name}"\n#endif\n' for macro, name in _FEATURES.items())
    return (
        "__attribute__((used)) static const char nerva_instructions[] =\n"
        f'    "{_MARK.decode()}"\n{names}    "{_END.decode()}";\n'
    )


def required(extension: Path) -> tuple[str, ...]:
    """The names that a built extension carries; none if it was not built by us."""
    _, mark, rest = extension.read_bytes().partition(_MARK)
    names, end, _ = rest.partition(_END)
    return tuple(names.decode("ascii", "replace").split()) if mark and end else ()


def missing(extension: Path) -> tuple[str, ...]:
    """What a built extension needs and this processor does not have.

    Nothing, where the system does not say what the processor has.
    """
    needed = required(extension)
    features = processor_features()
    return tuple(name for name in needed if name not in features) if features else ()


def level() -> str | None:
    """The best named target that this processor can run; None if there is none."""
    features = set(processor_features())
    return next((name for name, needed in _LEVELS.items() if needed <= features), None)
