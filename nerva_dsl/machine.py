"""What the cost model knows of the machine that a model is compiled for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine; the times are nanoseconds of one core, the defaults those of a usual one.

    Attributes:
        vector_bytes: width of a vector register.
        cache_bytes: size of a core's second cache.
        multiply: to multiply a vector and add it, with operands in registers.
        mkl_multiply: the same in MKL's dense product.
        near: to read a cache line from the second cache.
        far: to read one from beyond it, in long streams.
        memory: to read one from memory, in long streams.
        non_zero: to come to the next non-zero of a row.
        pick: to put a number to its place in a block, or take it from there.
        row: to come to the next row: its loop ends with a misprediction.
    """

    vector_bytes: int = 32
    cache_bytes: int = 1 << 19
    multiply: float = 0.2
    mkl_multiply: float = 0.2
    near: float = 0.8
    far: float = 1.4
    memory: float = 5.0
    non_zero: float = 0.5
    pick: float = 1.0
    row: float = 10.0
