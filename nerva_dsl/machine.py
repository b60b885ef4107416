"""What the cost model knows of the machine that a model is compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Machine:
    """A machine; the times are nanoseconds of one core, the defaults those of a usual one.

    Attributes:
        vector_bytes: width of a vector register.
        cache_bytes: size of a core's second cache.
        shared_bytes: size of the cache beyond it.
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
    shared_bytes: int = 1 << 24
    multiply: float = 0.2
    mkl_multiply: float = 0.2
    near: float = 0.6
    far: float = 1.4
    memory: float = 5.0
    non_zero: float = 0.5
    pick: float = 1.0
    row: float = 10.0

    def with_constants(self, constants: Mapping[str, float]) -> Machine:
        """The same machine with other times.

        Args:
            constants: by name; those that are missing stay.
        """
        return replace(self, **constants)  # type: ignore[arg-type]  # none of them is a size

    def constants(self) -> dict[str, float]:
        """The times, by name."""
        return {name: getattr(self, name) for name in CONSTANTS}


CONSTANTS = tuple(field.name for field in fields(Machine) if isinstance(field.default, float))
"""The times, which `nervac tune` measures."""
