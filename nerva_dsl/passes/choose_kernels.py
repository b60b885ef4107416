"""Choose kernels: the family of code that computes each group, and why.

Before: groups without a kernel. After: every group names its kernel. The backend decides which
families may be taken; this is the one place that knows them all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from nerva_dsl.errors import NervaError
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
from nerva_dsl.passes.domains import Domain, group_domain

BACKENDS = ("auto", "mkl", "native")

# Prefix of the kernels that call MKL.
MKL_PREFIX = "mkl_"

# MKL's 32-bit interface is the one that is linked.
_MOST_MKL_NUMBERS = 2**31 - 1

# What MKL computes, and what is chosen for it when there is a choice. Dense products are MKL's
# ground; its sparse product was slower than the generated one at every density that was measured
# (docs/performance.md).
_MKL_KERNELS = {
    "spmm": ("mkl_spmm", False),
    "spmm_transposed": ("mkl_spmm_transposed", False),
    "gemm": ("mkl_gemm", True),
    "gemm_transposed": ("mkl_gemm_transposed", True),
    "gemm_gradient": ("mkl_gemm_gradient", True),
}


class BackendError(NervaError):
    """The backend that was asked for is not there."""


@dataclass(frozen=True)
class ChooseKernels:
    """See the module's docstring.

    Attributes:
        backend: `native`, generated C only; `mkl`, MKL for every product that it has; `auto`, for
            each operation what a simple rule says is faster.
        mkl: whether MKL is installed, for `auto`.
    """

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
        parameters = frozenset(parameter.value.name for parameter in program.parameters)
        graphs = (
            self._choose(graph, frozenset(patterns(program, graph)), parameters)
            for graph in program.graphs
        )
        return replace(program, graphs=tuple(graphs))

    def _choose(self, graph: Graph, weights: Collection[str], parameters: Collection[str]) -> Graph:
        operations: list[Operation] = []
        for operation in graph.operations:
            if isinstance(operation, Group):
                kernel, reason = _native(operation, group_domain(operation.body, weights))
                if kernel in _MKL_KERNELS:
                    kernel, reason = self._family(operation, kernel, reason, parameters)
                operation = replace(operation, kernel=kernel, reason=reason)  # noqa: PLW2901
            operations.append(operation)
        return replace(graph, operations=tuple(operations))

    def _family(
        self, group: Group, kernel: str, reason: str, parameters: Collection[str]
    ) -> tuple[str, str]:
        """MKL's kernel for a product, or the generated one."""
        name, faster = _MKL_KERNELS[kernel]
        weight = group.operands[0].type
        if self.backend == "native":
            return kernel, reason
        if group.operands[0].name not in parameters and "spmm" in kernel:
            return kernel, f"{reason}; MKL's handles know the weights, and here are masked ones"
        if weight.rows * weight.columns > _MOST_MKL_NUMBERS and "gemm" in kernel:
            return kernel, f"{reason}; too large for MKL's 32-bit interface"
        if self.backend == "mkl":
            return name, f"{reason}; the backend is mkl"
        if self.mkl and faster:
            return name, f"{reason}, and MKL's product is the faster one"
        return kernel, reason


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
