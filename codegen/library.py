"""The kernels of a file: equal ones are one, and each has a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from nerva_dsl.codegen.kernel_plan import Call, Kernel
from nerva_dsl.codegen.names import Names
from nerva_dsl.codegen.plan import Entry
from nerva_dsl.ir.types import Place


@dataclass
class Library:
    """The kernels so far; equal ones are one.

    Attributes:
        source_lines: the line of the source that stands at a place.
        taken: the file's other names.
    """

    source_lines: Mapping[Place, str]
    taken: Names
    _kernels: dict[Kernel, list[Place]] = field(default_factory=dict)

    def add(self, kernel: Kernel, origin: Iterable[Place]) -> str:
        """Keep a kernel; returns a key that stands for its name until all are known."""
        places = self._kernels.setdefault(kernel, [])
        places.extend(place for place in origin if place not in places)
        return str(list(self._kernels).index(kernel))

    def named(self) -> tuple[Kernel, ...]:
        """All kernels with their names and the source lines that they implement."""
        named = []
        for (kernel, places), name in zip(self._kernels.items(), self._names(), strict=True):
            lines = dict.fromkeys(self.source_lines[p] for p in places if p in self.source_lines)
            named.append(replace(kernel, name=name, implements=tuple(lines)))
        return tuple(named)

    def resolve(self, entry: Entry) -> Entry:
        """The entry with names of kernels in its calls."""
        names = self._names()

        def with_names(phases: tuple[tuple[Call, ...], ...]) -> tuple[tuple[Call, ...], ...]:
            return tuple(
                tuple(replace(call, kernel=names[int(call.kernel)]) for call in phase)
                for phase in phases
            )

        return replace(entry, before=with_names(entry.before), after=with_names(entry.after))

    def _names(self) -> list[str]:
        """Names from what is computed: the template and the labels of the epilogue."""
        names = self.taken.copy()
        return [names.fresh(_base_name(kernel)) for kernel in self._kernels]


def _base_name(kernel: Kernel) -> str:
    words = [kernel.template]
    if kernel.label:
        words.append(kernel.label)
    elif kernel.epilogue is not None:
        words += [store.value.removesuffix("_value") for store in kernel.epilogue.stores]
    return "_".join(word for word in words if word.isidentifier())
