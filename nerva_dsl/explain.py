"""What the compiler made of a model, for `nervac explain`."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl.ir.operations import Group, Update
from nerva_dsl.ir.program import Program
from nerva_dsl.kernel_costs import works
from nerva_dsl.machine import Machine
from nerva_dsl.model import CheckedModel
from nerva_dsl.record import Record, replace

LIMITS = {
    "multiply": "multiplying",
    "mkl_multiply": "multiplying",
    "near": "second cache",
    "far": "outer cache",
    "memory": "memory",
}


class LayerRow(Record):
    """A layer's weight.

    Attributes:
        name: of the layer.
        inputs, outputs: the weight is `[outputs, inputs]`.
        density: fraction of non-zeros.
        nnz: their number.
        bytes: of values, pattern and optimizer state together, the bias's included.
        flops: floating-point operations a sample in a training step: two a non-zero and product.
    """

    name: str
    inputs: int
    outputs: int
    density: float
    nnz: int
    bytes: int
    flops: int


class OperationRow(Record):
    """One kernel of a training step.

    Attributes:
        name: the values that it gives.
        kernel: its family.
        why: that one.
        predicted: microseconds by the cost model, on one thread.
        bound: microseconds that its multiplications, or its reading, would take alone: the roof.
        limit: which of these it is.
        measured: microseconds on one thread; None if it was not measured.
    """

    name: str
    kernel: str
    why: str
    predicted: float
    bound: float
    limit: str
    measured: float | None = None


class Explanation(Record):
    """Layers, and the kernels of a training step in order."""

    layers: tuple[LayerRow, ...]
    operations: tuple[OperationRow, ...]

    def measured(self, seconds: Sequence[float]) -> Explanation:
        """With the times that the kernels took."""
        rows = zip(self.operations, seconds, strict=True)
        return replace(
            self, operations=tuple(replace(row, measured=1e6 * time) for row, time in rows)
        )


def explain_program(model: CheckedModel, program: Program, machine: Machine) -> Explanation:
    """Explain a program that has been through all passes.

    Args:
        model: the checked model.
        program: its program.
        machine: that it was compiled for.
    """
    groups = [op for op in program.graph("step").operations if isinstance(op, Group)]
    transposed = {group.operands[0].name for group in groups if "_transposed" in group.kernel}
    states = {rule.name: len(rule.states) for rule in program.rules}
    number = 8 if program.precision == "float64" else 4
    sizes: dict[str, int] = {}
    for parameter in program.parameters:
        arrays = 1 + states[parameter.rule]
        bytes_ = parameter.nnz * number * arrays
        if parameter.value.type.format == "csr":
            bytes_ += program.index_bytes * parameter.nnz + 8 * (parameter.value.type.rows + 1)
            if parameter.value.name in transposed:
                by_columns = program.index_bytes + 4 + number  # row, position, number
                bytes_ += by_columns * parameter.nnz + 8 * (parameter.value.type.columns + 1)
        sizes[parameter.value.name] = bytes_
    layers = tuple(
        LayerRow(
            layer.name,
            layer.inputs,
            layer.outputs,
            layer.density,
            layer.nnz,
            sizes[f"{layer.name}.weight"] + sizes.get(f"{layer.name}.bias", 0),
            2 * layer.nnz * (3 if f"{layer.name}.weight" in transposed else 2),
        )
        for layer in model.layers
        if f"{layer.name}.weight" in sizes
    )
    operations = []
    for group, work in zip(groups, works(program, program.graph("step"), machine), strict=True):
        limit, bound = work.bound(machine)
        operations.append(
            OperationRow(
                _title(group),
                group.kernel,
                group.reason,
                predicted=work.time(machine) / 1000,
                bound=bound / 1000,
                limit=LIMITS[limit],
            )
        )
    return Explanation(layers, tuple(operations))


def _title(group: Group) -> str:
    updated = [part.parameter.name for part in group.body if isinstance(part, Update)]
    return ", ".join([value.name for value in group.results] + updated)
