"""Domains: what the loops of a kernel go over.

Operations of one domain can share the loops of one kernel. `fuse` groups by domain, `kernels` gives
each domain its kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
    DenseGradient,
    Load,
    Map,
    Operation,
    Product,
    Reduce,
    RowSquares,
    Slice,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.types import Value


class Domain(Enum):
    """What the loops of a kernel go over."""

    GATHER = "the samples of a data array"
    PRODUCT = "the rows of a product"
    ELEMENTWISE = "every number of an activation"
    SAMPLEWISE = "tiles of samples, and the features in each"
    FEATUREWISE = "features, and the samples of each"
    WEIGHTS = "the non-zeros of a weight"
    SCALAR = "single numbers, and the columns that are summed to them"
    MASK = "the random numbers of a mask"
    ROWS = "rows that are copied"
    VIEW = "nothing: the rows lie where they are read"
    POSITIONS = "all positions of a weight, slice by slice"
    SQUARES = "the rows of a weight's gradient"


def domain(operation: Operation, weights: Collection[str]) -> Domain:
    """The domain of one operation.

    Args:
        operation: not a group.
        weights: names of the weight-shaped values.
    """
    match operation:
        case Load():
            return Domain.GATHER
        case Product() | TransposedProduct():
            return Domain.PRODUCT
        case WeightGradient():
            return Domain.WEIGHTS
        case DenseGradient():
            return Domain.POSITIONS
        case Bernoulli():
            return Domain.MASK
        case Concat():
            return Domain.ROWS
        case Slice():
            return Domain.VIEW
        case RowSquares():
            return Domain.SQUARES
        case Reduce(axis="batch"):
            return Domain.FEATUREWISE
        case Reduce(x=x):
            return Domain.SAMPLEWISE if x.type.batched else Domain.SCALAR
        case Map(result=result):
            return Domain.ELEMENTWISE if result.type.batched else _unbatched(result, weights)
        case Update(parameter=parameter):
            return _unbatched(parameter, weights)
    raise TypeError(f"{type(operation).__name__} has no domain: expand it before")


def group_domain(body: Sequence[Operation], weights: Collection[str]) -> Domain:
    """The domain of operations that share the loops of one kernel."""
    domains = [domain(operation, weights) for operation in body]
    for leading in (Domain.SAMPLEWISE, Domain.FEATUREWISE):
        if leading in domains:
            return leading
    return domains[0]


def _unbatched(value: Value, weights: Collection[str]) -> Domain:
    if value.name in weights:
        return Domain.WEIGHTS
    return Domain.SCALAR if value.type.shape == (1, 1) else Domain.FEATUREWISE
