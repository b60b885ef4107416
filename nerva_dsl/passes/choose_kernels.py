"""Choose kernels: the family of code that computes each group, and why.

Before: groups without a kernel. After: every group names its kernel. The backend decides which
families may be taken; this is the one place that knows them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nerva_dsl.errors import NervaError
from nerva_dsl.ir.operations import (
    Group,
    Load,
    Operation,
    Product,
    Reduce,
    TransposedProduct,
    WeightGradient,
)
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.passes.fuse import is_samplewise
from nerva_dsl.passes.rewrite import each_graph

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
        return each_graph(program, self._choose)

    def _choose(self, graph: Graph) -> Graph:
        return replace(graph, operations=tuple(map(self._name, graph.operations)))

    def _name(self, operation: Operation) -> Operation:
        if not isinstance(operation, Group):
            return operation
        kernel, reason = _native(operation)
        if kernel in _MKL_KERNELS:
            kernel, reason = self._family(operation, kernel, reason)
        return replace(operation, kernel=kernel, reason=reason)

    def _family(self, group: Group, kernel: str, reason: str) -> tuple[str, str]:
        """MKL's kernel for a product, or the generated one."""
        name, faster = _MKL_KERNELS[kernel]
        weight = group.operands[0].type
        if self.backend == "native":
            return kernel, reason
        if weight.rows * weight.columns > _MOST_MKL_NUMBERS and "gemm" in kernel:
            return kernel, f"{reason}; too large for MKL's 32-bit interface"
        if self.backend == "mkl":
            return name, f"{reason}; the backend is mkl"
        if self.mkl and faster:
            return name, f"{reason}, and MKL's product is the faster one"
        return kernel, reason


def _native(group: Group) -> tuple[str, str]:
    match group.body[0]:
        case _ if is_samplewise(group.body):
            return "samplewise", "reduces over the features of each sample"
        case Load():
            return "gather", "takes the samples of the batch and turns them"
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
        case Reduce():
            return "batch_sum", "sums each feature over the batch"
    return "elementwise", "rides on no other kernel"
