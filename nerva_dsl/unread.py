"""Features of a batch that no weight reads, and that need not be gathered.

Where few non-zeros meet very many features, turning the batch would take longer than all products
with it. What is not gathered is not there: rows of such a batch hold whatever was in that memory.
"""

from __future__ import annotations

from math import exp

from nerva_dsl.ir.operations import Group, Load, Product, WeightGradient
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Value

BLOCK = 16
"""Features that are gathered together or not at all: a multiple of the lanes of a vector."""

_CROWDED = 2.0
"""Non-zeros a block, on average, from which blocks without one are too rare to look for."""

_READ_NON_ZEROS_ONLY = frozenset(("spmm", "spmm_bytes", "mkl_spmm", "sddmm", "sddmm_bytes"))


def readers(program: Program, graph: Graph, gather: Group) -> tuple[str, ...]:
    """The sparse weights that alone read what a group gathers, and in few of its blocks.

    Empty if anything else reads it, or if all its numbers have to be looked at.

    Args:
        program: whose kernels are chosen.
        graph: that the group is of.
        gather: any group.
    """
    load = gather.head
    if not isinstance(load, Load) or load.array.type.element != "uint8":
        return ()  # whether numbers are finite is for all of them to say
    if not gather.kernel.startswith("gather"):
        return ()
    gathered = {value.name for value in gather.results}
    if gathered & {value.name for _, value in graph.results}:
        return ()
    found: dict[str, None] = {}
    shaped = patterns(program, graph)
    for group in graph.operations:
        if group is gather or not isinstance(group, Group):
            continue
        if not gathered & {value.name for value in group.operands}:
            continue
        weight = _only_reader(group, gathered)
        if weight is None or shaped[weight.name].type.format != "csr":
            return ()
        found[shaped[weight.name].name] = None
    weights = tuple(sorted(found))
    return weights if _per_block(program, weights, load) < _CROWDED else ()


def share_read(program: Program, weights: tuple[str, ...], load: Load) -> float:
    """The share of blocks that is expected to be read; all, if there are no such weights."""
    return 1 - exp(-_per_block(program, weights, load)) if weights else 1.0


def _per_block(program: Program, weights: tuple[str, ...], load: Load) -> float:
    numbers = {parameter.value.name: parameter.nnz for parameter in program.parameters}
    return sum(numbers[name] for name in weights) * BLOCK / load.array.type.columns


def _only_reader(group: Group, gathered: set[str]) -> Value | None:
    """The weight by whose non-zeros a group reads the batch; None if it reads it otherwise."""
    if group.kernel not in _READ_NON_ZEROS_ONLY:
        return None
    match group.head:
        case Product(weight=weight, x=x) | WeightGradient(weight=weight, x=x):
            reads = [v for part in group.body for v in part.operands if v.name in gathered]
            multiplied = {
                x,
                *(v for part in group.body if x in part.results for v in part.operands),
            }
            return weight if len(reads) == 1 and reads[0] in multiplied else None
    return None
