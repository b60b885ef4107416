"""Parameters between Python and the model's arrays: patterns, values, optimizer state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nerva_dsl.runtime.ahead import made_ahead, usable_cores
from nerva_dsl.runtime.given_patterns import Pattern
from nerva_dsl.runtime.initial import initial_pattern, initial_values
from nerva_dsl.runtime.spec import ModelSpec, ParameterSpec

Array = NDArray[Any]

# Weights of a model from which starting threads pays: it takes about as long as drawing a thousand.
_WORTH_THREADS = 50_000


@dataclass(frozen=True)
class Contents:
    """Everything that is stored of one parameter.

    Attributes:
        value: in order of rows and columns; for `csr`, of the non-zeros only.
        states: what the optimizer keeps, each as long as `value`.
        row_start: for `csr`: where each row starts, `[outputs + 1]`.
        column: for `csr`: columns, ascending in each row, as long as `value`.
    """

    value: Array
    states: tuple[Array, ...]
    row_start: NDArray[np.int64] | None = None
    column: NDArray[np.int32] | None = None


def initial_contents(
    spec: ModelSpec, seed: int, given: Mapping[str, Pattern], threads: int | None
) -> Iterator[tuple[ParameterSpec, Contents]]:
    """What a new model's parameters hold, made on several threads.

    Averages are left out: their positions are drawn when those of their weights are there.

    Args:
        spec: of the model.
        seed: of patterns and values.
        given: the patterns that the model's file gives, by parameter.
        threads: that make them, up to the number of cores, which None takes. The contents do not
            depend on it: each parameter has random numbers of its own.
    """
    drawn = [parameter for parameter in spec.parameters if parameter.name not in spec.averages]
    cores = usable_cores()
    threads = cores if threads is None else min(threads, cores)
    if sum(parameter.nnz for parameter in drawn) < _WORTH_THREADS:
        threads = 1

    def contents(parameter: ParameterSpec) -> Contents:
        return _initial_contents(spec, parameter, seed, given)

    yield from zip(drawn, made_ahead(contents, drawn, threads), strict=True)


def _initial_contents(
    spec: ModelSpec, parameter: ParameterSpec, seed: int, given: Mapping[str, Pattern]
) -> Contents:
    """What one parameter of a new model holds."""
    row_start = column = None
    if parameter.name in given:
        row_start, column = given[parameter.name]
    elif parameter.sparse:
        rows, columns = parameter.shape
        row_start, column = initial_pattern(seed, parameter.index, (rows, columns), parameter.nnz)
    distribution, first, second = parameter.initial
    value = initial_values(
        seed,
        parameter.index,
        parameter.nnz,
        distribution=distribution,
        first=first,
        second=second,
    )
    states = tuple(np.full(parameter.nnz, initial, spec.real) for _, initial in parameter.states)
    return Contents(value.astype(spec.real), states, row_start, column)


def as_user_sees(parameter: ParameterSpec, contents: Contents) -> Any:
    """A `scipy.sparse.csr_array` or an array, which share memory with the contents."""
    if not parameter.sparse:
        return contents.value.reshape(parameter.shape)
    return csr(parameter, contents.row_start, contents.column, contents.value)


def csr(
    parameter: ParameterSpec, row_start: Array | None, column: Array | None, value: Array
) -> Any:
    """A CSR array of the parameter's shape that keeps explicit zeros."""
    arrays: Any = (value, column, row_start)
    shape: Any = parameter.shape
    matrix: Any = sparse.csr_array(arrays, shape=shape)
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix


def replacements(
    spec: ModelSpec, given: object, current: Mapping[str, Contents]
) -> dict[str, Contents]:
    """What `set_parameters` is to install: everything is checked before anything is changed.

    Args:
        spec: the model.
        given: what the user passed: new values by name.
        current: contents of at least the parameters that are named.

    Raises:
        ValueError: an unknown name, a wrong type or shape, too many non-zeros, or a value that is
            not finite.
    """
    if not isinstance(given, Mapping):
        raise ValueError(
            "parameters: expected a dictionary of arrays by name, as parameters() returns, "
            f"got {type(given).__name__}"
        )
    result = {}
    for name, value in given.items():
        parameter = known_parameter(spec, name)
        if parameter.sparse:
            result[name] = _sparse_replacement(spec, parameter, value, current[name])
        else:
            checked = _dense_values(spec, parameter, value)
            result[name] = Contents(checked, current[name].states)
    return result


def known_parameter(spec: ModelSpec, name: object) -> ParameterSpec:
    """The parameter of a name.

    Raises:
        ValueError: there is none; the message has the closest name.
    """
    parameter = spec.by_name.get(name) if isinstance(name, str) else None
    if parameter is not None:
        return parameter
    close = get_close_matches(str(name), spec.by_name, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(spec.by_name)}"
    raise ValueError(f"parameters: model {spec.name} has no parameter {name!r}; {hint}")


def check_pattern(parameter: ParameterSpec, row_start: Array, column: Array) -> str | None:
    """What is wrong with a pattern, or None: what the C code reads must never be out of range."""
    rows, columns = parameter.shape
    if row_start.shape != (rows + 1,) or column.ndim != 1:
        return f"expected {rows + 1} row starts, got an array {list(row_start.shape)}"
    if row_start[0] != 0 or row_start[-1] != len(column) or (np.diff(row_start) < 0).any():
        return "expected row starts that ascend from 0 to the number of non-zeros"
    if len(column) > parameter.nnz:
        return f"expected at most {parameter.nnz} non-zeros, got {len(column)}"
    if len(column):
        if column.min() < 0 or column.max() >= columns:
            return f"expected columns in 0 … {columns - 1}"
        ascends = np.diff(column.astype(np.int64)) > 0
        starts = row_start[1:-1]
        ascends[starts[(starts > 0) & (starts < len(column))] - 1] = True
        if not ascends.all():
            return "expected columns that ascend in each row, each once"
    return None


def _dense_values(spec: ModelSpec, parameter: ParameterSpec, value: object) -> Array:
    name = parameter.name
    if sparse.issparse(value):
        raise ValueError(f"{name}: expected an array {list(parameter.shape)}, got a sparse one")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.shape != parameter.shape:
        raise ValueError(
            f"{name}: expected an array {list(parameter.shape)}, got {list(array.shape)}",
        )
    converted = _finite(spec, parameter, array)
    return np.ascontiguousarray(converted).reshape(-1).copy()


def _sparse_replacement(
    spec: ModelSpec, parameter: ParameterSpec, value: object, current: Contents
) -> Contents:
    name = parameter.name
    if not sparse.issparse(value):
        raise ValueError(
            f"{name}: expected a sparse array {list(parameter.shape)}, got "
            f"{type(value).__name__}; pass scipy.sparse.csr_array(value), "
            "whose stored positions become the pattern"
        )
    given: Any = value
    if given.shape != parameter.shape:
        raise ValueError(
            f"{name}: expected a sparse array {list(parameter.shape)}, got {list(given.shape)}",
        )
    stored = _stored_positions(parameter, given)
    positions, values = stored
    if len(positions) > parameter.nnz:
        raise ValueError(
            f"{name}: expected at most {parameter.nnz} non-zeros, as many as are allocated, "
            f"got {len(positions)}"
        )
    duplicates = np.flatnonzero(np.diff(positions) == 0)
    columns = parameter.shape[1]
    if len(duplicates):
        row, column = divmod(int(positions[duplicates[0]]), columns)
        raise ValueError(
            f"{name}: expected each position once, got [{row}, {column}] more than once; "
            "call sum_duplicates() first"
        )
    converted = _finite(spec, parameter, values)
    row_start = np.searchsorted(positions, np.arange(parameter.shape[0] + 1) * columns)
    return Contents(
        converted,
        _moved_states(parameter, current, positions, spec.real),
        row_start.astype(np.int64),
        (positions % columns).astype(np.int32),
    )


def _stored_positions(parameter: ParameterSpec, given: Any) -> tuple[Array, Array]:
    """Positions (row · columns + column), sorted, and values of what a sparse array stores."""
    if given.format in ("csr", "csc", "bsr") and hasattr(given, "check_format"):
        try:
            given.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(f"{parameter.name}: the sparse array is not valid: {error}") from None
    coordinates = given.tocoo(copy=False)
    row, column = coordinates.coords
    positions = row.astype(np.int64) * parameter.shape[1] + column
    if len(positions) and not (
        0 <= row.min() <= row.max() < parameter.shape[0]
        and 0 <= column.min() <= column.max() < parameter.shape[1]
    ):
        raise ValueError(f"{parameter.name}: the sparse array stores positions out of its range")
    by_position = np.argsort(positions, kind="stable")
    return positions[by_position], coordinates.data[by_position]


def _positions(parameter: ParameterSpec, contents: Contents) -> Array:
    """Positions (row · columns + column) of a sparse parameter's non-zeros, sorted."""
    if contents.row_start is None or contents.column is None:
        raise TypeError(f"{parameter.name} is not sparse")
    rows = np.repeat(np.arange(parameter.shape[0]), np.diff(contents.row_start))
    positions: Array = rows * parameter.shape[1] + contents.column
    return positions


def _moved_states(
    parameter: ParameterSpec, current: Contents, positions: Array, real: np.dtype[Any]
) -> tuple[Array, ...]:
    """Optimizer state at new positions: kept where a position stays, initial elsewhere."""
    before = _positions(parameter, current)
    _, stays_before, stays_now = np.intersect1d(
        before, positions, assume_unique=True, return_indices=True
    )
    states = []
    for (_, initial), state in zip(parameter.states, current.states, strict=True):
        moved = np.full(len(positions), initial, real)
        moved[stays_now] = state[stays_before]
        states.append(moved)
    return tuple(states)


def with_pattern(
    parameter: ParameterSpec,
    current: Contents,
    row_start: NDArray[np.int64],
    column: NDArray[np.int32],
    real: np.dtype[Any],
) -> tuple[Contents, NDArray[np.bool_]]:
    """A sparse parameter at other positions.

    Returns:
        Values and optimizer state where a position stays, zero and initial state elsewhere; and
        which positions stay.
    """
    empty = Contents(np.zeros(len(column), real), (), row_start, column)
    positions = _positions(parameter, empty)
    before = _positions(parameter, current)
    _, stays_before, stays_now = np.intersect1d(
        before, positions, assume_unique=True, return_indices=True
    )
    empty.value[stays_now] = current.value[stays_before]
    stays = np.zeros(len(column), np.bool_)
    stays[stays_now] = True
    states = _moved_states(parameter, current, positions, real)
    return Contents(empty.value, states, row_start, column), stays


def _finite(spec: ModelSpec, parameter: ParameterSpec, array: Array) -> Array:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{parameter.name}: expected floating-point numbers, got {array.dtype}")
    with np.errstate(over="ignore"):
        converted = array.astype(spec.real)
    wrong = np.flatnonzero(~np.isfinite(converted))
    if len(wrong):
        raise ValueError(
            f"{parameter.name}: expected finite numbers, got {array.reshape(-1)[wrong[0]]}",
        )
    return converted
