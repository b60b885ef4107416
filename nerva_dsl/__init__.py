"""nervac: a compiler for truly sparse multilayer perceptrons.

Importing this package imports nothing else: compiled modules use its light half, and a command
line that prints its help should not wait for a parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike
    from types import ModuleType

__version__ = "0.1.0"
__all__ = ["__version__", "compile"]


def compile(
    path: str | PathLike[str],
    *,
    backend: str = "auto",
    target: str = "native",
    **params: float | bool | str,
) -> ModuleType:
    """Compile a `.nerva` file and import the module that it becomes.

    Args:
        path: the file.
        backend: family of kernels, as for `nervac compile`.
        target: instruction set, as for `nervac compile`.
        **params: values for the file's `param`s.

    Returns:
        The module, with `Model` and `SPEC`.

    Raises:
        DiagnosticError: the file is wrong; its text is every message.
        ToolchainError: there is no C compiler, or it fails.
    """
    from nerva_dsl.driver import compile_model
    from nerva_dsl.runtime.loading import load_module

    entry = compile_model(path, params, backend=backend, target=target)
    return load_module(entry)
