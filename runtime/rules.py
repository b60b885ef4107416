"""Patterns by a rule of the user's: asked for all weights, checked, and then installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nerva_dsl.runtime import arguments
from nerva_dsl.runtime.arguments import Samples
from nerva_dsl.runtime.engine import Engine
from nerva_dsl.runtime.failures import check_report
from nerva_dsl.runtime.initial import drawn_values
from nerva_dsl.runtime.parameters import Contents, check_pattern, csr, with_pattern
from nerva_dsl.runtime.philox import Purpose, Stream
from nerva_dsl.runtime.regrowing import regrow_of
from nerva_dsl.runtime.spec import GrowingSpec, ModelSpec, ParameterSpec
from nerva_dsl.runtime.trainer import Trainer

Gradient = Callable[..., NDArray[Any]]
Rule = Callable[[str, Any, Gradient], Any]


def apply_rule(
    spec: ModelSpec, engine: Engine, trainer: Trainer, rule: Rule, samples: Samples | None
) -> dict[str, int]:
    """Ask a rule for all patterns, then install them; how many weights moved, by weight.

    Args:
        spec: a model that regrows.
        engine: of the model, whose turn it is.
        trainer: of the model.
        rule: see `Model.regrow`.
        samples: whose gradient a rule may ask for, or None.

    Raises:
        ValueError: what the rule returned is no pattern; nothing has changed.
    """
    stream = (trainer.seed, trainer.regrowth.regrows)
    news: list[tuple[ParameterSpec, Contents]] = []
    moved: dict[str, int] = {}
    for growing in regrow_of(spec).weights:
        parameter = spec.by_name[growing.name]

        def gradient(
            first: int = 0, last: int | None = None, parameter: ParameterSpec = parameter
        ) -> NDArray[Any]:
            if samples is None:
                raise ValueError("X: expected a batch, for the rule asks for its gradient")
            rows = parameter.shape[0]
            begin = arguments.integer("first", first, 0, rows)
            end = rows if last is None else arguments.integer("last", last, begin, rows)
            report, dense = engine.dense_gradient(trainer.job(samples), parameter, begin, end)
            check_report(spec, report, samples)
            return dense

        contents = engine.contents(parameter)
        new, moved[growing.name] = _applied(spec, growing, contents, rule, gradient, stream)
        news.append((parameter, new))
    if any(moved.values()):
        for parameter, new in news:
            engine.install(parameter, new)
        trainer.rewired(moved)
    return moved


def _applied(
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
