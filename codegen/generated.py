"""What code generation hands to the build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Generated:
    """The texts of one compiled model; the same model always gives the same texts.

    Attributes:
        name: the model's name.
        c_source: the kernel file, `NAME.c`.
        declarations: the C interface, for cffi.
        module_source: the Python module, `NAME.py`.
        spec: the model's description, `SPEC` of the module.
        patterns: content of the file of the patterns that the model's file gives; empty if it
            gives none.
        uses_mkl: whether the C calls MKL, and is to be linked with it.
    """

    name: str
    c_source: str
    declarations: str
    module_source: str
    spec: dict[str, Any]
    patterns: bytes = b""
    uses_mkl: bool = False
