"""Changing patterns between epochs: by the file's choices or others, or by a rule of the user's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nerva_dsl.rewiring import GROWERS, PRUNERS
from nerva_dsl.runtime.initial import drawn_values
from nerva_dsl.runtime.parameters import Contents, check_pattern, csr, with_pattern
from nerva_dsl.runtime.philox import Purpose, Stream
from nerva_dsl.runtime.spec import GrowingSpec, ModelSpec, ParameterSpec, RegrowSpec

Gradient = Callable[..., NDArray[Any]]
Rule = Callable[[str, Any, Gradient], Any]


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


def apply_rule(
    spec: ModelSpec,
    growing: GrowingSpec,
    contents: Contents,
    rule: Rule,
    gradient: Gradient,
    stream: tuple[int, int],
) -> tuple[Contents, int]:
    """What a weight holds after a rule of the user's; it is not installed yet.

    Args:
        spec: the model.
        growing: the weight.
        contents: what it holds.
        rule: gets the weight's name, a copy of it and the gradient on request, and returns a
            pattern: a sparse array, or row starts and columns.
        gradient: see `rule`.
        stream: seed and round of the first values of new weights.

    Returns:
        The contents, and how many weights are elsewhere.

    Raises:
        ValueError: what came back is no pattern with as many non-zeros.
    """
    parameter = spec.by_name[growing.name]
    weights = csr(parameter, contents.row_start, contents.column, contents.value).copy()
    row_start, column = _pattern(parameter, rule(growing.name, weights, gradient))
    if len(column) != len(contents.value):
        raise ValueError(
            f"rule: {growing.name}: expected as many non-zeros as before, {len(contents.value)}, "
            f"got {len(column)}"
        )
    moved, stays = with_pattern(parameter, contents, row_start, column, spec.real)
    distribution, first, second = growing.initial
    fresh = np.flatnonzero(~stays)
    drawn = drawn_values(
        Stream(stream[0], Purpose.GROWN_VALUE, parameter.index, stream[1]),
        len(fresh),
        distribution=distribution,
        first=first,
        second=second,
    )
    moved.value[fresh] = drawn
    return moved, len(fresh)


def _pattern(parameter: ParameterSpec, given: Any) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Row starts and columns of what a rule returned, checked."""
    name = f"rule: {parameter.name}"
    if sparse.issparse(given):
        if given.format != "csr" or given.shape != parameter.shape:
            raise ValueError(
                f"{name}: expected a CSR array {list(parameter.shape)}, "
                f"got {given.format.upper()} {list(given.shape)}"
            )
        given = (given.indptr, given.indices)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ValueError(
            f"{name}: expected a CSR array or a pair of row starts and columns, "
            f"got {type(given).__name__}"
        )
    arrays = []
    for part in given:
        array = np.asarray(part)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise ValueError(f"{name}: expected row starts and columns that are integers")
        arrays.append(array.astype(np.int64))
    row_start, column = arrays
    wrong = check_pattern(parameter, row_start, column)
    if wrong:
        raise ValueError(f"{name}: {wrong}")
    return row_start, column.astype(np.int32)
