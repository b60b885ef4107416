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

BACKENDS = ("auto", "native")


def resolve_backend(backend: str) -> str:
    """The family that a backend takes its kernels from: today `auto` has one to choose from."""
    return "native" if backend == "auto" else backend


class BackendError(NervaError):
    """The backend that was asked for is not there."""


@dataclass(frozen=True)
class ChooseKernels:
    """See the module's docstring.

    Attributes:
        backend: `native`, generated C only; `auto`, the best that there is: today the same.
    """

    backend: str = "auto"
    name: str = "kernels"

    def __call__(self, program: Program) -> Program:
        """Name the kernel of every group.

        Raises:
            BackendError: there is no such backend.
        """
        if self.backend not in BACKENDS:
            raise BackendError(
                f"there is no backend {self.backend!r} in this version; "
                f"choose one of {', '.join(BACKENDS)}"
            )
        return each_graph(program, _choose)


def _choose(graph: Graph) -> Graph:
    return replace(graph, operations=tuple(_name(operation) for operation in graph.operations))


def _name(operation: Operation) -> Operation:
    if not isinstance(operation, Group):
        return operation
    kernel, reason = _native(operation)
    return replace(operation, kernel=kernel, reason=reason)


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
