"""What the kernels of a program do, in the units of the cost model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nerva_dsl.costs import Costs, Work, costs_of
from nerva_dsl.ir.operations import Group, Load, Product, Update, WeightGradient
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Type, Value
from nerva_dsl.machine import Machine
from nerva_dsl.passes.choose_kernels import ONE_SAMPLE_KERNELS
from nerva_dsl.unread import readers, share_read

_ELEMENT_BYTES = {"uint8": 1, "int32": 4, "float32": 4, "float64": 8}


def works(program: Program, graph: Graph, machine: Machine) -> list[Work]:
    """What each group of a graph does, for a program that has been through all passes."""
    costs = costs_of(program, machine)
    shaped = patterns(program, graph)
    stored = {parameter.value.name: parameter.nnz for parameter in program.parameters}
    nnz = {name: stored[weight.name] for name, weight in shaped.items()}
    states = {rule.name: len(rule.states) for rule in program.rules}

    def work(group: Group) -> Work:
        done = _work(group, costs, program.batch, nnz, states)
        if isinstance(group.head, Load):
            return done * share_read(program, readers(program, graph, group), group.head)
        return done

    return [work(group) for group in graph.operations if isinstance(group, Group)]


def _work(
    group: Group, costs: Costs, batch: int, nnz: Mapping[str, int], states: Mapping[str, int]
) -> Work:
    head = group.head
    if group.kernel in ONE_SAMPLE_KERNELS:
        return _one_sample(group, costs, nnz)
    rules = [operation.rule for operation in group.body if isinstance(operation, Update)]
    arrays = max((1 + states[rule] for rule in rules), default=1)
    weights = [value for value in (*group.operands, *group.results) if value.name in nnz]
    stored = nnz[weights[0].name] if weights else 0
    shape = weights[0].type if weights else None
    kept = costs.passes(sum(value.type.rows for value in group.results if value.type.batched))
    match group.kernel, head:
        case ("view", _):
            return Work()
        case ("scalar", _):
            return Work(pick=_numbers((*group.operands, *group.results)))
        case ("gather", Load(array=array)):
            size = array.type.columns * _ELEMENT_BYTES[array.type.element]
            return costs.gather(batch, size, sum(value.type.rows for value in group.results))
        case ("gather_bytes", Load(array=array)):
            return costs.gather_bytes(batch, array.type.columns)
        case (kernel, WeightGradient()) if shape is not None:
            moved = Work(pick=stored) if shape.format == "csr" else Work()
            return moved + _gradient(kernel, costs, shape, stored, arrays)
        case (kernel, _) if shape is not None and ("spmm" in kernel or "gemm" in kernel):
            rows, depth = shape.rows, shape.columns
            if "transposed" in kernel:
                rows, depth = depth, rows
            return kept + _product(kernel, costs, rows, depth, stored)
    if shape is not None:
        return costs.stream(stored * costs.number_bytes * (arrays + len(weights)))
    read = sum(value.type.rows for value in group.operands if value.type.batched)
    updated = [part.parameter for part in group.body if isinstance(part, Update)]
    features = _numbers((*group.operands, *group.results, *updated))
    return kept + costs.passes(read) + costs.stream(features * costs.number_bytes * arrays)


def _numbers(values: Sequence[Value]) -> int:
    """How many numbers some values have that do not depend on the batch."""
    return sum(value.type.rows * value.type.columns for value in values if not value.type.batched)


def _one_sample(group: Group, costs: Costs, nnz: Mapping[str, int]) -> Work:
    """What a kernel does in the graph for one sample."""
    head = group.head
    match head:
        case Load(array=array):
            return costs.stream(array.type.columns * _ELEMENT_BYTES[array.type.element])
        case Product(weight=weight) if group.kernel == "spmv":
            return costs.spmv(weight.type.rows, nnz[weight.name])
        case Product(weight=weight):
            return costs.gemv(weight.type.rows, weight.type.columns)
    return costs.stream(sum(value.type.rows for value in group.results) * costs.number_bytes)


def _product(kernel: str, costs: Costs, rows: int, depth: int, nnz: int) -> Work:
    if kernel.endswith("_blocked"):
        return costs.spmm_blocked(rows, nnz, depth)
    if kernel == "spmm_bytes":
        return costs.spmm_bytes(rows, nnz, depth)
    if "spmm" in kernel:
        return costs.spmm(rows, nnz, depth)
    return (costs.mkl_gemm if kernel.startswith("mkl_") else costs.gemm)(rows, depth)


def _gradient(kernel: str, costs: Costs, weight: Type, nnz: int, arrays: int) -> Work:
    rows, columns = weight.rows, weight.columns
    match kernel:
        case "sddmm":
            return costs.sddmm(nnz, arrays)
        case "sddmm_bytes":
            return costs.sddmm_bytes(nnz, arrays)
        case "sddmm_blocked":
            return costs.sddmm_blocked(rows, nnz, columns, arrays)
        case "mkl_gemm_gradient":
            return costs.mkl_gemm_gradient(rows, columns, arrays)
    return costs.gemm_gradient(rows, columns, arrays)
