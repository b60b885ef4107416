"""The instruction set that a model is compiled for."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from nerva_dsl.faults import NervaError
from nerva_dsl.machine import Machine
from nerva_dsl.runtime.tuned import load_constants

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_FIRST_PROCESSOR = 16_384  # characters; the system measures each processor that is read about
# gcc prefers 256-bit vectors on processors that have 512-bit ones unless it is told.
_WIDE = "-mprefer-vector-width=512"


class TargetError(NervaError):
    """A target that is not known."""


@dataclass(frozen=True)
class Target:
    """An instruction set.

    Attributes:
        name: as the user gives it.
        vector_bytes: width of a vector register; activations are padded to it.
        flags: options of the C compiler that select it.
        cache_bytes: size of a core's second cache, for which products are cut.
        shared_bytes: size of the cache beyond it.
        features: what `native` resolves to on this machine, sorted; empty for a named target, whose
            flags say it all. Part of the cache key: a cache may be shared between machines.
    """

    name: str
    vector_bytes: int
    flags: tuple[str, ...]
    features: tuple[str, ...] = ()
    cache_bytes: int = Machine.cache_bytes
    shared_bytes: int = Machine.shared_bytes

    @property
    def usual(self) -> Machine:
        """A usual machine of this kind."""
        return Machine(self.vector_bytes, self.cache_bytes, self.shared_bytes)

    @property
    def machine(self) -> Machine:
        """What the cost model knows of it; of this machine, what `nervac tune` measured."""
        measured = load_constants(self.features) if self.features else {}
        return self.usual.with_constants(measured)


_NAMED = (
    Target("x86-64-v2", 16, ("-march=x86-64-v2",)),
    Target("x86-64-v3", 32, ("-march=x86-64-v3",)),
    Target("x86-64-v4", 64, ("-march=x86-64-v4", _WIDE)),
    Target("armv8-a", 16, ("-march=armv8-a",)),
)
TARGET_NAMES = ("native", *(target.name for target in _NAMED))


def resolve_target(name: str) -> Target:
    """The target of a name.

    Args:
        name: `native`, this machine's processor, or one of `TARGET_NAMES`.

    Raises:
        TargetError: the name is not known; the message lists those that are.
    """
    if name == "native":
        return _native()
    for target in _NAMED:
        if target.name == name:
            return target
    close = get_close_matches(name, TARGET_NAMES, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else ""
    raise TargetError(
        f"unknown target `{name}`: the targets are {', '.join(TARGET_NAMES)}{hint}",
    )


def _native() -> Target:
    machine = platform.machine()
    features = processor_features()
    wide = "avx512f" in features
    width = 64 if wide else 32 if "avx2" in features or "avx" in features else 16
    second = cache_size(2) or Target.cache_bytes
    shared = cache_size(3) or max(second, Target.shared_bytes)
    return Target(
        "native",
        width,
        ("-march=native", _WIDE) if wide else ("-march=native",),
        tuple(sorted({*(features or (machine,)), f"l2={second}", f"l3={shared}"})),
        second,
        shared,
    )


def cache_size(level: int) -> int:
    """Bytes of a core's cache of a level, shared or not; 0 if the system does not say."""
    try:
        text = (_CACHES / f"index{level}" / "size").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    match = re.fullmatch(r"(\d+)([KM])", text)
    return int(match[1]) << (10 if match[2] == "K" else 20) if match else 0


def processor_features() -> tuple[str, ...]:
    """Features of the processor, sorted: the line `flags` (x86) or `Features` (Arm) of cpuinfo.

    The model numbers are included because `-march=native` also tunes for them.
    """
    fields = _first_processor()
    flags = fields.get("flags") or fields.get("Features") or ""
    identity = [
        f"{key}={fields[key]}"
        for key in ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
        if key in fields
    ]
    return tuple(sorted({*flags.split(), *identity}))


def processor_name() -> str:
    """What the processor calls itself; empty if the system does not say."""
    return _first_processor().get("model name", "")


def _first_processor() -> dict[str, str]:
    """The fields of cpuinfo on the first processor; none if this is not Linux."""
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_FIRST_PROCESSOR)
    except OSError:
        return {}
    fields = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    return fields
