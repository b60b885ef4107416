"""`nervac explain FILE`: what a model costs, and what computes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nerva_dsl import driver
from nerva_dsl.cli.tables import cost_table, kernel_table, output_console


def explain_file(file: Path, overrides: Mapping[str, object], *, backend: str, target: str) -> None:
    """Print two tables: the layers, and the operations of a step with their kernels."""
    explanation = driver.explain(file, overrides, backend=backend, target=target)
    console = output_console()
    console.print(cost_table(explanation.layers))
    console.print(kernel_table(explanation.operations))
