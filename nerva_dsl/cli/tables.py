"""Tables for people, with rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from nerva_dsl.explain import LayerRow, OperationRow
    from nerva_dsl.machine import Machine


def output_console() -> Console:
    """Standard output; on a pipe, lines are as long as they need to be."""
    console = Console(highlight=False, markup=False, emoji=False)
    return (
        console
        if console.is_terminal
        else Console(width=200, highlight=False, markup=False, emoji=False)
    )


def layer_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """Shapes, densities and non-zeros of `SPEC["layers"]`."""
    table = _table(
        ("layer", "left"), ("shape", "right"), ("density", "right"), ("non-zeros", "right")
    )
    weights = nnz = 0
    for layer in layers:
        size = layer["outputs"] * layer["inputs"]
        weights, nnz = weights + size, nnz + layer["nnz"]
        table.add_row(
            layer["name"],
            shape(layer["outputs"], layer["inputs"]),
            density(layer["density"]),
            f"{layer['nnz']:,}",
        )
    table.add_section()
    table.add_row("total", f"{weights:,}", density(nnz / weights), f"{nnz:,}")
    return table


def cost_table(layers: Sequence[LayerRow]) -> Table:
    """What each layer costs, and all of them."""
    columns = ("shape", "density", "non-zeros", "bytes", "FLOPs a sample")
    table = _table(("layer", "left"), *((column, "right") for column in columns))
    for row in layers:
        table.add_row(
            row.name,
            shape(row.outputs, row.inputs),
            density(row.density),
            f"{row.nnz:,}",
            f"{row.bytes:,}",
            f"{row.flops:,}",
        )
    weights, nnz = sum(row.outputs * row.inputs for row in layers), sum(row.nnz for row in layers)
    table.add_section()
    table.add_row(
        "total",
        f"{weights:,}",
        density(nnz / weights) if weights else "",
        f"{nnz:,}",
        f"{sum(row.bytes for row in layers):,}",
        f"{sum(row.flops for row in layers):,}",
    )
    return table


def kernel_table(operations: Sequence[OperationRow]) -> Table:
    """The kernel of each operation, in the order of the step.

    With the times that were measured there is no room on a terminal for the reasons.
    """
    measured = any(operation.measured is not None for operation in operations)
    columns = [("operation", "left"), ("kernel", "left"), ("predicted\nµs", "right")]
    if measured:
        columns += [("measured\nµs", "right"), ("of the\nroof", "right"), ("which is", "left")]
    else:
        columns += [("why", "left")]
    table = _table(*columns)
    for column in table.columns:  # names of values, and reasons, are what folds
        column.no_wrap = column.header not in ("operation", "why")
        column.overflow = "fold"
    for operation in operations:
        cells = [operation.name, operation.kernel, f"{operation.predicted:.1f}"]
        if operation.measured is None:
            cells.append(operation.why)
        else:
            part = operation.bound / operation.measured if operation.measured else 0.0
            cells += [f"{operation.measured:.1f}", f"{part:.0%}", operation.limit]
        table.add_row(*cells)
    table.add_section()
    total = [f"{sum(operation.predicted for operation in operations):.1f}"]
    if measured:
        total.append(f"{sum(operation.measured or 0 for operation in operations):.1f}")
    table.add_row("one thread", "", *total)
    return table


def constant_table(usual: Machine, machine: Machine) -> Table:
    """The constants of the cost model, usual and measured."""
    columns = (("nanoseconds of", "left"), ("usual", "right"), ("here", "right"))
    table = _table(*columns)
    for name, value in machine.constants().items():
        table.add_row(name.replace("_", " "), f"{usual.constants()[name]:.3g}", f"{value:.3g}")
    return table


def shape(outputs: int, inputs: int) -> str:
    """Shape of a weight, `[outputs, inputs]`."""
    return f"{outputs} × {inputs}"


def density(value: float) -> str:
    """A density in three significant digits."""
    return f"{value:.3g}"


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, justify in columns:
        table.add_column(title, justify="right" if justify == "right" else "left")
    return table
