"""`SPEC`: what a compiled model says of itself."""

from __future__ import annotations

from typing import Any

from nerva_dsl import __version__
from nerva_dsl.ir.operations import Group
from nerva_dsl.ir.program import Program
from nerva_dsl.model import CheckedModel
from nerva_dsl.passes.choose_kernels import MKL_PREFIX


def make_spec(
    model: CheckedModel, program: Program, *, backend: str, target: str, vector_bytes: int
) -> dict[str, Any]:
    """The description of a compiled model, of JSON's types only."""
    rules = {rule.name: [list(state) for state in rule.states] for rule in program.rules}
    parameters = []
    for parameter in program.parameters:
        kind, vector = parameter.value.type, program.is_vector(parameter)
        distribution, first, second = parameter.initial
        parameters.append(
            {
                "name": parameter.value.name,
                "shape": [kind.rows] if vector else [kind.rows, kind.columns],
                "format": "vector" if vector else kind.format,
                "nnz": parameter.nnz,
                "initial": {"distribution": distribution, "first": first, "second": second},
                "states": rules[parameter.rule],
            }
        )
    confusions = dict(program.confusions)
    stored = {parameter.value.name for parameter in program.parameters}
    target_spec = model.target
    return {
        "format": 1,
        "nervac": __version__,
        "name": model.name,
        "precision": model.precision,
        "params": dict(model.params),
        "input": {
            "name": model.input.name,
            "element": model.input.element,
            "features": model.input.features,
        },
        "target": target_spec
        and {"name": target_spec.name, "kind": target_spec.kind, "size": target_spec.size},
        "outputs": model.output.width,
        "batch": model.batch,
        "epochs": model.epochs,
        "seed": model.seed,
        "shuffle": model.shuffle,
        "layers": [
            {
                "name": layer.name,
                "inputs": layer.inputs,
                "outputs": layer.outputs,
                "nnz": layer.nnz,
                "density": layer.density,
                "sparse": layer.sparse,
            }
            for layer in model.layers
            if f"{layer.name}.weight" in stored
        ],
        "parameters": parameters,
        "trained": [name for name, _ in program.graph("gradients").results],
        "totals": [name for name, _ in program.graph("evaluate").results if name not in confusions],
        "step_totals": [name for name, _ in program.graph("step").results],
        "confusions": [list(matrix) for matrix in program.confusions],
        **_regrow(program),
        "masks": [
            [name, value.type.rows if value.type.batched else 0]
            for graph in program.graphs
            if graph.name == "masks"
            for name, value in graph.results
        ],
        "smallest_batch": 2 if any(name.endswith(".running_var") for name in stored) else 1,
        "backend": backend if uses_mkl(program) else "native",
        "instruction_set": target,
        "vector_bytes": vector_bytes,
        "kernels": [
            {
                "graph": graph.name,
                "values": [value.name for value in group.results],
                "kernel": group.kernel,
                "reason": group.reason,
            }
            for graph in program.graphs
            for group in graph.operations
            if isinstance(group, Group)
        ],
    }


def _regrow(program: Program) -> dict[str, Any]:
    """How patterns change, of a model that regrows: the choices, and the weights that change."""
    if program.regrow is None:
        return {}
    regrow = program.regrow
    return {
        "regrow": {
            "every": regrow.every,
            "unit": regrow.unit,
            "prune": regrow.prune,
            "grow": regrow.grow,
            "until": regrow.until,
            "weights": [
                {
                    "name": growing.weight,
                    "initial": {"distribution": distribution, "first": first, "second": second},
                    "average": growing.average,
                }
                for growing in regrow.weights
                for distribution, first, second in (growing.initial,)
            ],
        }
    }


def uses_mkl(program: Program) -> bool:
    """Whether any kernel of a program calls MKL."""
    return any(
        isinstance(group, Group) and group.kernel.startswith(MKL_PREFIX)
        for graph in program.graphs
        for group in graph.operations
    )
