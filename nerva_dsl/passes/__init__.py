"""The passes: each takes a program and returns one that means the same.

A pass is a frozen dataclass with a `name`; its other fields are its options. `pipeline` is their
order. To add one: a file here, its place below, and pairs of input and output in the tests.
"""

from __future__ import annotations

from typing import Protocol

from nerva_dsl.ir.program import Program
from nerva_dsl.machine import Machine
from nerva_dsl.passes.choose_kernels import ChooseKernels
from nerva_dsl.passes.drop_dead import DropDead
from nerva_dsl.passes.expand import Expand
from nerva_dsl.passes.fuse import Fuse
from nerva_dsl.passes.join_sums import JoinSums
from nerva_dsl.passes.keep_bytes import KeepBytes
from nerva_dsl.passes.layout import ChooseLayout
from nerva_dsl.passes.one_sample import OneSample
from nerva_dsl.passes.plan_buffers import PlanBuffers
from nerva_dsl.passes.reuse import Reuse
from nerva_dsl.passes.schedule import Schedule
from nerva_dsl.passes.simplify import Simplify

__all__ = ["Pass", "pipeline"]


class Pass(Protocol):
    """A step from a program to one that means the same."""

    @property
    def name(self) -> str:
        """Of the stage, as in `nervac ir --after NAME`."""

    def __call__(self, program: Program) -> Program:
        """The program after the pass; the argument is not changed."""


def pipeline(*, backend: str, machine: Machine, mkl: bool = False) -> tuple[Pass, ...]:
    """All passes in order.

    Args:
        backend: family of kernels.
        machine: that runs the model.
        mkl: whether MKL is installed.
    """
    return (
        Expand(),
        Simplify(),
        Reuse(),
        DropDead(),
        Fuse(),
        OneSample(),
        ChooseLayout(machine.vector_bytes),
        ChooseKernels(machine, backend, mkl),
        KeepBytes(machine),
        JoinSums(),
        Schedule(),
        PlanBuffers(),
    )
