"""The environment that everything is measured in; imports nothing that reads it."""

from __future__ import annotations

import os

# Variables that change how many threads, which kernels or how long idle threads spin.
_PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "GOTO_", "ONEDNN_", "DNNL_")


def remove_overrides() -> list[str]:
    """Unset what would favour or hamper one side; call it before NumPy or PyTorch is imported.

    Returns:
        Names of the variables that were set, sorted.
    """
    removed = sorted(name for name in os.environ if name.startswith(_PREFIXES))
    for name in removed:
        del os.environ[name]
    return removed
