"""`nervac explain`: what a model costs and what computes it, and what a message's code means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nerva_dsl.cli.failures import UsageError


def explain_file(
    file: Path, overrides: Mapping[str, object], *, backend: str, target: str, measure: bool
) -> None:
    """Print two tables: the layers, and the operations of a step with their kernels."""
    from nerva_dsl import driver
    from nerva_dsl.cli.tables import cost_table, kernel_table, output_console

    explanation = driver.explain(file, overrides, backend=backend, target=target, measure=measure)
    console = output_console()
    console.print(cost_table(explanation.layers))
    console.print(kernel_table(explanation.operations))


def explain_code(text: str) -> None:
    """Print a code's page.

    Raises:
        UsageError: no message has that code.
    """
    from nerva_dsl.cli.pages import print_page
    from nerva_dsl.errors import CODES
    from nerva_dsl.pages import known_code, page

    code = known_code(text)
    if not code:
        raise UsageError(f"--code {text}: no message has that code; they are {', '.join(CODES)}")
    print_page(page(code))
