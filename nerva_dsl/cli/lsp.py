"""`nervac lsp`."""

from __future__ import annotations

from nerva_dsl.faults import ToolchainError


def run_server() -> None:
    """Serve an editor until it ends.

    Raises:
        ToolchainError: pygls is not installed.
    """
    try:
        from nerva_dsl.editor.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise ToolchainError(
            "the language server needs pygls, which is not installed\n"
            "  = help: pip install 'nervac[lsp]'"
        ) from None
    serve()
