"""Saving and loading a model's whole state as `.npz`: arrays and one text, nothing executable.

    header                JSON: fingerprint of the model, seed, epoch, step, position in an epoch,
                          changes of patterns
    NAME:value            numbers of parameter NAME; of a sparse one, of its non-zeros
    NAME:state:STATE      what the optimizer keeps beside them
    NAME:row_start        of a sparse parameter: where each row starts
    NAME:column           of a sparse parameter: columns

All numbers are in the model's precision, row starts are int64 and columns int32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nerva_dsl
from nerva_dsl.runtime.archives import DamagedError, reading_arrays
from nerva_dsl.runtime.parameters import Contents, check_pattern
from nerva_dsl.runtime.philox import MAX_ROUND, MAX_SEED
from nerva_dsl.runtime.replacing import replacing
from nerva_dsl.runtime.spec import ModelSpec, ParameterSpec

FORMAT = 1

# Of the numbers in a header: what the random numbers, and the integers of the C code, can take.
_MOST = {"seed": MAX_SEED, "epoch": MAX_ROUND, "epochs": MAX_ROUND, "step": MAX_ROUND}


@dataclass(frozen=True)
class Position:
    """How far an epoch in the model's own order has come.

    Attributes:
        samples: how many are done.
        total: how many the epoch has.
        batch: of the module that did them.
        totals: sums over the samples done.
    """

    samples: int
    total: int
    batch: int
    totals: tuple[float, ...]


@dataclass(frozen=True)
class Regrowth:
    """How far the patterns' changes have come.

    Attributes:
        regrows: how often they have changed.
        regrown: the steps done when they did by the file's schedule for the last time, or -1.
        moved: how many weights have moved in the epoch under way, by weight.
    """

    regrows: int = 0
    regrown: int = -1
    moved: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """What a model is between two batches.

    Attributes:
        seed: of patterns, weights and orders.
        epoch: epochs done.
        epochs: how many the last `fit` was to reach, for schedules that look ahead.
        step: steps done.
        position: in an epoch that was interrupted, or None.
        parameters: contents by name.
        regrowth: of a model whose patterns change.
    """

    seed: int
    epoch: int
    epochs: int
    step: int
    position: Position | None
    parameters: Mapping[str, Contents]
    regrowth: Regrowth = Regrowth()


def save(path: str | os.PathLike[str], spec: ModelSpec, state: State) -> None:
    """Write a state; an existing file is replaced at once or not at all.

    Raises:
        OSError: the directory is missing or cannot be written.
    """
    destination = Path(path)
    arrays: dict[str, NDArray[Any]] = {"header": np.array(json.dumps(_header(spec, state)))}
    for parameter in spec.parameters:
        arrays |= _to_arrays(parameter, state.parameters[parameter.name])
    if not destination.parent.is_dir():
        raise FileNotFoundError(f"cannot save {destination}: there is no such directory")
    with replacing(destination) as aside, aside.open("wb") as file:
        # A file, not a name: numpy would append a suffix to a name that lacks it.
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())


def load(path: str | os.PathLike[str], spec: ModelSpec) -> State:
    """Read a state.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, is damaged, or is of another model.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"there is no file {source}")
    try:
        with source.open("rb") as file, reading_arrays():
            arrays = _read_arrays(file)
            header = json.loads(str(arrays["header"]))
    except (DamagedError, MemoryError) as error:  # a damaged size asks for any amount of memory
        raise ValueError(
            f"{source} is not a checkpoint of nervac, or it is damaged: {error}",
        ) from error
    _check_header(source, header)
    _check_fingerprint(source, header["fingerprint"], fingerprint(spec))
    try:
        return _state(spec, header, arrays)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{source} is damaged: {detail}") from error


def fingerprint(spec: ModelSpec) -> dict[str, Any]:
    """What two modules must share for one to load the other's checkpoints."""
    return {
        "name": spec.name,
        "precision": spec.precision,
        "input": [spec.features],
        "target": [spec.target_kind, spec.target_size],
        "outputs": spec.outputs,
        "parameters": {
            parameter.name: {
                "shape": list(parameter.shape),
                "format": parameter.format,
                "nnz": parameter.nnz,
                "states": [name for name, _ in parameter.states],
            }
            for parameter in spec.parameters
        },
    }


def _header(spec: ModelSpec, state: State) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "nervac": nerva_dsl.__version__,
        "fingerprint": fingerprint(spec),
        "seed": state.seed,
        "epoch": state.epoch,
        "epochs": state.epochs,
        "step": state.step,
        # JSON keeps every bit of a float
        "position": None if state.position is None else asdict(state.position),
        **({} if spec.regrow is None else {"regrowth": asdict(state.regrowth)}),
    }


def _to_arrays(parameter: ParameterSpec, contents: Contents) -> dict[str, NDArray[Any]]:
    name = parameter.name
    arrays = {f"{name}:value": contents.value}
    for (state, _), array in zip(parameter.states, contents.states, strict=True):
        arrays[f"{name}:state:{state}"] = array
    if contents.row_start is not None and contents.column is not None:
        arrays[f"{name}:row_start"] = contents.row_start
        arrays[f"{name}:column"] = contents.column
    return arrays


def _read_arrays(file: Any) -> dict[str, NDArray[Any]]:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("a single array, not an .npz archive")
    with loaded:
        if "header" not in loaded.files:
            raise ValueError("it has no header")
        return {name: loaded[name] for name in loaded.files}


def _check_header(source: Path, header: Any) -> None:
    if not isinstance(header, dict) or "fingerprint" not in header:
        raise ValueError(f"{source} is not a checkpoint of nervac: its header is not one of ours")
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{source} has format {header.get('format')} of nervac {header.get('nervac')}; "
            f"this is nervac {nerva_dsl.__version__}, which reads format {FORMAT}"
        )


def _check_fingerprint(source: Path, saved: Any, expected: dict[str, Any]) -> None:
    difference = _difference(saved, expected)
    if difference:
        raise ValueError(f"{source} is of another model: {difference}")


def _difference(saved: Any, expected: dict[str, Any]) -> str:
    """The first difference between two fingerprints, in words."""
    if not isinstance(saved, dict) or not isinstance(saved.get("parameters"), dict):
        return "its fingerprint cannot be read"
    for key, value in expected.items():
        if key != "parameters" and saved.get(key) != value:
            return f"{key}: the file has {saved.get(key)}, the model {value}"
    ours, theirs = expected["parameters"], saved["parameters"]
    for name, parameter in ours.items():
        if name not in theirs:
            return f"the file has no {name}"
        for key, value in parameter.items():
            if theirs[name].get(key) != value:
                return f"{key} of {name}: the file has {theirs[name].get(key)}, the model {value}"
    extra = [name for name in theirs if name not in ours]
    return f"the model has no {extra[0]}" if extra else ""


def _state(spec: ModelSpec, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> State:
    position = header["position"]
    numbers = {key: int(header[key]) for key in _MOST}
    for key, number in numbers.items():
        if not 0 <= number <= _MOST[key]:
            raise ValueError(f"impossible {key} {number}")
    return State(
        **numbers,
        position=None if position is None else _position(position),
        regrowth=_regrowth(spec, header["regrowth"]) if "regrowth" in header else Regrowth(),
        parameters={
            parameter.name: _contents(spec, parameter, arrays) for parameter in spec.parameters
        },
    )


def _regrowth(spec: ModelSpec, saved: dict[str, Any]) -> Regrowth:
    moved = {str(name): int(number) for name, number in saved["moved"].items()}
    regrowth = Regrowth(int(saved["regrows"]), int(saved["regrown"]), moved)
    known = {weight.name for weight in spec.regrow.weights} if spec.regrow is not None else set()
    in_range = 0 <= regrowth.regrows <= MAX_ROUND and -1 <= regrowth.regrown <= MAX_ROUND
    if not in_range or min(moved.values(), default=0) < 0:
        raise ValueError(f"impossible changes of patterns {regrowth}")
    return replace(regrowth, moved={name: n for name, n in moved.items() if name in known})


def _position(saved: dict[str, Any]) -> Position:
    position = Position(
        int(saved["samples"]),
        int(saved["total"]),
        int(saved["batch"]),
        tuple(float(total) for total in saved["totals"]),
    )
    if not 0 <= position.samples <= position.total or len(position.totals) != 32:
        raise ValueError(f"impossible position {position}")
    return position


def _contents(
    spec: ModelSpec, parameter: ParameterSpec, arrays: dict[str, NDArray[Any]]
) -> Contents:
    name = parameter.name
    value = arrays[f"{name}:value"]
    states = tuple(arrays[f"{name}:state:{state}"] for state, _ in parameter.states)
    row_start = column = None
    count = parameter.nnz
    if parameter.sparse:
        row_start, column = arrays[f"{name}:row_start"], arrays[f"{name}:column"]
        if row_start.dtype != np.int64 or column.dtype != np.int32:
            raise ValueError(f"{name}: the pattern has types {row_start.dtype}, {column.dtype}")
        wrong = check_pattern(parameter, row_start, column)
        if wrong:
            raise ValueError(f"{name}: {wrong}")
        count = len(column)
    for array in (value, *states):
        if array.dtype != spec.real or array.shape != (count,):
            raise ValueError(
                f"{name}: expected {spec.precision} [{count}], "
                f"got {array.dtype} {list(array.shape)}"
            )
    return Contents(value, states, row_start, column)
