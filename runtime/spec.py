"""The description of a compiled model, `SPEC`, as typed records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class ParameterSpec:
    """One array of parameters.

    Attributes:
        index: its number in the C interface.
        name: such as `h1.weight`.
        shape: `[outputs, inputs]`, or `[n]`.
        format: `csr`, `dense` or `vector`.
        nnz: how many numbers are allocated; for `csr`, the most non-zeros it may have.
        initial: distribution, first and second parameter of the initial values.
        states: names and initial values of what the optimizer keeps beside each number.
        trained: whether it has a gradient.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    format: Literal["csr", "dense", "vector"]
    nnz: int
    initial: tuple[str, float, float]
    states: tuple[tuple[str, float], ...]
    trained: bool

    @property
    def sparse(self) -> bool:
        """Whether only its non-zeros exist."""
        return self.format == "csr"

    @property
    def size(self) -> int:
        """How many positions it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GrowingSpec:
    """A weight whose pattern changes.

    Attributes:
        name: of the weight.
        initial: distribution of new weights, with its first and second parameter.
        average: name of the parameter with the average of its gradient; empty if there is none.
    """

    name: str
    initial: tuple[str, float, float]
    average: str


@dataclass(frozen=True)
class RegrowSpec:
    """How patterns change: the model file's choices.

    Attributes:
        prune: `magnitude`, `set` or `threshold`.
        grow: `random`, `gradient` or `momentum`.
        weights: those that change.
    """

    prune: str
    grow: str
    weights: tuple[GrowingSpec, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What the Python side needs to know of a compiled model; see the fields of `SPEC`.

    Attributes:
        element: what the C code reads: `uint8`, or the model's precision.
        target_kind: `class`, `real`, or None for a model without a target.
        target_size: number of classes, or of real numbers a sample.
        totals: what an evaluation sums over samples: `loss`, perhaps `accuracy`, metrics.
        step_totals: what training sums.
        confusions: names and numbers of classes of the confusion matrices.
        masks: names of what has a dropout mask, and its features; 0 for a weight.
        smallest_batch: fewest samples that a step can be trained on.
        regrow: how patterns change; None if they stay.
    """

    name: str
    precision: Literal["float32", "float64"]
    input_name: str
    element: str
    features: int
    target_name: str
    target_kind: Literal["class", "real"] | None
    target_size: int
    outputs: int
    batch: int
    epochs: int
    seed: int
    shuffle: bool
    layers: tuple[str, ...]
    parameters: tuple[ParameterSpec, ...]
    totals: tuple[str, ...]
    step_totals: tuple[str, ...]
    confusions: tuple[tuple[str, int], ...]
    masks: tuple[tuple[str, int], ...]
    smallest_batch: int
    regrow: RegrowSpec | None

    @cached_property
    def real(self) -> np.dtype[Any]:
        """The model's precision."""
        return np.dtype(self.precision)

    @cached_property
    def input_type(self) -> np.dtype[Any]:
        """Element type of the input, as the C code reads it."""
        return np.dtype(np.uint8) if self.element == "uint8" else self.real

    @cached_property
    def by_name(self) -> dict[str, ParameterSpec]:
        """The parameters by their names."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def weights(self) -> tuple[ParameterSpec, ...]:
        """The weights of linear layers."""
        return tuple(self.by_name[f"{layer}.weight"] for layer in self.layers)

    @cached_property
    def averages(self) -> frozenset[str]:
        """Names of the parameters that hold averages of gradients."""
        growing = () if self.regrow is None else self.regrow.weights
        return frozenset(weight.average for weight in growing if weight.average)

    @staticmethod
    def read(spec: Mapping[str, Any]) -> ModelSpec:
        """The record of a module's `SPEC`."""
        target = spec["target"]
        trained = spec["trained"]
        return ModelSpec(
            name=spec["name"],
            precision=spec["precision"],
            input_name=spec["input"]["name"],
            element=spec["input"]["element"],
            features=spec["input"]["features"],
            target_name=target["name"] if target else "",
            target_kind=target["kind"] if target else None,
            target_size=target["size"] if target else 0,
            outputs=spec["outputs"],
            batch=spec["batch"],
            epochs=spec["epochs"],
            seed=spec["seed"],
            shuffle=spec["shuffle"],
            layers=tuple(layer["name"] for layer in spec["layers"]),
            parameters=tuple(
                _read_parameter(index, parameter, parameter["name"] in trained)
                for index, parameter in enumerate(spec["parameters"])
            ),
            totals=tuple(spec["totals"]),
            step_totals=tuple(spec["step_totals"]),
            confusions=tuple((name, classes) for name, classes in spec["confusions"]),
            masks=tuple((name, features) for name, features in spec["masks"]),
            smallest_batch=spec["smallest_batch"],
            regrow=_read_regrow(spec["regrow"]) if "regrow" in spec else None,
        )


def _read_regrow(regrow: Mapping[str, Any]) -> RegrowSpec:
    return RegrowSpec(
        prune=regrow["prune"],
        grow=regrow["grow"],
        weights=tuple(
            GrowingSpec(weight["name"], _read_initial(weight["initial"]), weight["average"])
            for weight in regrow["weights"]
        ),
    )


def _read_initial(initial: Mapping[str, Any]) -> tuple[str, float, float]:
    return initial["distribution"], initial["first"], initial["second"]


def _read_parameter(index: int, parameter: Mapping[str, Any], trained: bool) -> ParameterSpec:
    return ParameterSpec(
        index=index,
        name=parameter["name"],
        shape=tuple(parameter["shape"]),
        format=parameter["format"],
        nnz=parameter["nnz"],
        initial=_read_initial(parameter["initial"]),
        states=tuple((name, value) for name, value in parameter["states"]),
        trained=trained,
    )
