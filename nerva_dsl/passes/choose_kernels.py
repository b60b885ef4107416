"""Choose kernels: the family of code that computes each group, and why.

Before: groups without a kernel. After: every group names its kernel. The backend decides which
families may be taken; this is the one place that knows them all.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from nerva_dsl.costs import Costs, costs_of
from nerva_dsl.faults import NervaError
from nerva_dsl.ir.operations import (
    Bernoulli,
    Group,
    Operation,
    Product,
    TransposedProduct,
    WeightGradient,
)
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.machine import Machine
from nerva_dsl.passes.domains import Domain, group_domain
from nerva_dsl.passes.one_sample import GRAPH
from nerva_dsl.record import replace

BACKENDS = ("auto", "mkl", "native")

# Prefix of the kernels that call MKL.
MKL_PREFIX = "mkl_"

# MKL's 32-bit interface is the one that is linked.
_MOST_MKL_NUMBERS = 2**31 - 1

# The products, and which of them MKL has.
_PRODUCTS = {
    "spmm": "mkl_spmm",
    "spmm_transposed": "mkl_spmm_transposed",
    "sddmm": None,
    "gemm": "mkl_gemm",
    "gemm_transposed": "mkl_gemm_transposed",
    "gemm_gradient": "mkl_gemm_gradient",
}


# What stands in for a kernel of batches in the graph for one sample.
_ONE_SAMPLE = {
    "gather": ("load_one", "takes the sample"),
    "spmm": ("spmv", "the weight is sparse: its non-zeros only"),
    "gemm": ("gemv", "the weight is dense"),
    "elementwise": ("elementwise_one", "rides on no other kernel"),
    "samplewise": ("samplewise_one", "reduces over the features of the sample"),
    "concat": ("concat_one", "copies rows, which are contiguous"),
}


ONE_SAMPLE_KERNELS = frozenset(kernel for kernel, _ in _ONE_SAMPLE.values())
"""The kernels that only the graph for one sample has."""


class BackendError(NervaError):
    """The backend that was asked for is not there."""


@dataclass(frozen=True)
class ChooseKernels:
    """See the module's docstring.

    Attributes:
        machine: that runs the model, for the cost model.
        backend: `native`, generated C only; `mkl`, MKL for every product that it has; `auto`, for
            each operation what the cost model says is fastest.
        mkl: whether MKL is installed, for `auto`.
    """

    machine: Machine
    backend: str = "auto"
    mkl: bool = False
    name: str = "kernels"

    def __call__(self, program: Program) -> Program:
        """Name the kernel of every group.

        Raises:
            BackendError: there is no such backend.
        """
        if self.backend not in BACKENDS:
            raise BackendError(
                f"there is no backend {self.backend!r}; choose one of {', '.join(BACKENDS)}"
            )
        costs = costs_of(program, self.machine)
        stored = {parameter.value.name: parameter.nnz for parameter in program.parameters}
        graphs = (self._choose(program, graph, costs, stored) for graph in program.graphs)
        return replace(program, graphs=tuple(graphs))

    def _choose(
        self, program: Program, graph: Graph, costs: Costs, stored: Mapping[str, int]
    ) -> Graph:
        weights = patterns(program, graph)
        operations: list[Operation] = []
        for operation in graph.operations:
            if isinstance(operation, Group):
                kernel, reason = _native(
                    operation, group_domain(operation.body, frozenset(weights))
                )
                if graph.name == GRAPH:
                    kernel, reason = _ONE_SAMPLE.get(kernel, (kernel, reason))
                elif kernel in _PRODUCTS:
                    nnz = stored[weights[operation.operands[0].name].name]
                    kernel, reason = self._product(operation, kernel, reason, nnz, costs, stored)
                operation = replace(operation, kernel=kernel, reason=reason)  # noqa: PLW2901
            operations.append(operation)
        return replace(graph, operations=tuple(operations))

    def _product(
        self,
        group: Group,
        kernel: str,
        reason: str,
        nnz: int,
        costs: Costs,
        parameters: Container[str],
    ) -> tuple[str, str]:
        """The kernel of a product: MKL's, or one of the generated ones."""
        name = _PRODUCTS[kernel]
        weight = group.operands[0].type
        rows, depth = weight.rows, weight.columns
        if kernel.endswith("_transposed"):
            rows, depth = depth, rows
        if self.backend == "mkl" and name is not None:
            if "spmm" in kernel and group.operands[0].name not in parameters:
                reason = f"{reason}; MKL's handles know the weights, and here are masked ones"
            elif "gemm" in kernel and rows * depth > _MOST_MKL_NUMBERS:
                reason = f"{reason}; too large for MKL's 32-bit interface"
            else:
                return name, f"{reason}; the backend is mkl"
        match kernel:
            case "sddmm":
                ways = {
                    kernel: costs.sddmm(nnz),
                    f"{kernel}_blocked": costs.sddmm_blocked(rows, nnz, depth),
                }
            case "spmm" | "spmm_transposed":
                ways = {
                    kernel: costs.spmm(rows, nnz, depth),
                    f"{kernel}_blocked": costs.spmm_blocked(rows, nnz, depth),
                }
            case _:
                gradient = kernel == "gemm_gradient"
                ways = {kernel: (costs.gemm_gradient if gradient else costs.gemm)(rows, depth)}
                if self.mkl and self.backend == "auto" and rows * depth <= _MOST_MKL_NUMBERS:
                    by_mkl = costs.mkl_gemm_gradient if gradient else costs.mkl_gemm
                    ways[f"{MKL_PREFIX}{kernel}"] = by_mkl(rows, depth)
        best = min(ways, key=lambda way: ways[way].time(self.machine))
        if best.endswith("_blocked"):
            reason = f"{reason}; so dense that blocks with their zeros are faster"
        elif best.startswith(MKL_PREFIX):
            reason = f"{reason}, and MKL's product is the faster one"
        return best, reason


_BY_DOMAIN = {
    Domain.GATHER: ("gather", "takes the samples of the batch and turns them"),
    Domain.ELEMENTWISE: ("elementwise", "rides on no other kernel"),
    Domain.SAMPLEWISE: ("samplewise", "reduces over the features of each sample"),
    Domain.FEATUREWISE: ("featurewise", "works on each feature over the batch"),
    Domain.WEIGHTS: ("weightwise", "works on each weight"),
    Domain.SCALAR: ("scalar", "a few numbers: one thread sums them in their order"),
    Domain.ROWS: ("concat", "copies rows, which are contiguous"),
    Domain.VIEW: ("view", "its rows lie where they are read: nothing to do"),
    Domain.POSITIONS: ("top_gradients", "streams the gradient and keeps the largest"),
    Domain.SQUARES: ("row_squares", "for the norm of all gradients"),
}


def _native(group: Group, domain: Domain) -> tuple[str, str]:
    match group.body[0]:
        case Product(weight=weight):
            if weight.type.format == "csr":
                return "spmm", "the weight is sparse: its non-zeros only"
            return "gemm", "the weight is dense"
        case TransposedProduct(weight=weight):
            if weight.type.format == "csr":
                return "spmm_transposed", "the weight is sparse: through its transposed index"
            return "gemm_transposed", "the weight is dense"
        case WeightGradient(weight=weight):
            if weight.type.format == "csr":
                return "sddmm", "the weight is sparse: its gradient at the non-zeros only"
            return "gemm_gradient", "the weight is dense"
        case Bernoulli(like=like):
            kind = "activations" if like is None else "weights"
            return f"{kind}_mask", "random numbers of seed, step and position"
    return _BY_DOMAIN[domain]
