"""Which weights go and where others grow: the file's choices, or others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from nerva_dsl.rewiring import GROWERS, PRUNERS
from nerva_dsl.runtime.spec import ModelSpec, RegrowSpec


@dataclass(frozen=True)
class Rewiring:
    """Which weights go and where others grow.

    Attributes:
        prune: one of `PRUNERS`.
        amount: the fraction that goes; for `threshold`, the largest absolute value that does.
        grow: one of `GROWERS`.
    """

    prune: str
    amount: float
    grow: str


def regrow_of(spec: ModelSpec) -> RegrowSpec:
    """How a model regrows.

    Raises:
        ValueError: it does not.
    """
    if spec.regrow is None:
        raise ValueError(
            f"model {spec.name} has no `regrow {{ }}` in its file, so its patterns stay; "
            "set_parameters may give others"
        )
    return spec.regrow


def rewiring(
    spec: ModelSpec, prune: str | None, grow: str | None, scheduled: Callable[[], float]
) -> Rewiring:
    """Check what `Model.regrow` is given.

    Args:
        spec: the model.
        prune: as in a file, such as `magnitude(0.3)`; None: the file's.
        grow: as in a file, such as `random()`; None: the file's.
        scheduled: the file's fraction or threshold at this place of the training.

    Raises:
        ValueError: one of them is none of the language's, or out of range.
    """
    regrow = regrow_of(spec)
    grower = regrow.grow if grow is None else _call("grow", grow, GROWERS, "")[0]
    if grower == "momentum" and not any(weight.average for weight in regrow.weights):
        raise ValueError(
            "grow: momentum() needs an average that is kept at every step; "
            "write `grow = momentum()` in the model's file"
        )
    if prune is None:
        return Rewiring(regrow.prune, scheduled(), grower)
    pruner, argument = _call("prune", prune, PRUNERS, r"\s*(?:\w+\s*=)?\s*([-+.\w]+)\s*")
    try:
        amount = float(argument)
    except ValueError:
        raise ValueError(f"prune: expected a number in {prune!r}, got {argument}") from None
    if pruner == "threshold" and not 0 <= amount < float("inf"):
        raise ValueError(f"prune: expected a threshold of at least 0, got {argument}")
    if pruner != "threshold" and not 0 < amount < 1:
        raise ValueError(f"prune: expected a fraction above 0 and below 1, got {argument}")
    return Rewiring(pruner, amount, grower)


def _call(argument: str, given: object, known: tuple[str, ...], inside: str) -> tuple[str, str]:
    """Name and argument of a call such as `magnitude(0.3)`."""
    found = (
        re.fullmatch(rf"\s*(\w+)\s*\({inside}\s*\)\s*", given) if isinstance(given, str) else None
    )
    if found is None or found[1] not in known:
        calls = ", ".join(f"{name}({'0.3' if inside else ''})" for name in known)
        raise ValueError(f"{argument}: expected one of {calls} as text, got {given!r}")
    return found[1], found[2] if inside else ""
