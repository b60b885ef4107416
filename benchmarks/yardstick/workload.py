"""What a workload is measured with: its data, and the weights that every contender starts from.

Imports NumPy only: a process whose memory is measured must not hold what it does not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.yardstick.workloads import REFERENCE, SEED, Workload

FloatArray = NDArray[np.float32] | NDArray[np.float64]
IntArray = NDArray[np.int64]

_SPREAD = 40  # bytes in one of a sample's numbers
_CLOUDS = 10  # where the target does not say how many


@dataclass(frozen=True)
class SparseWeight:
    """A weight in compressed sparse rows.

    Attributes:
        shape: output and input features.
        row_start: where each row starts, `[outputs + 1]`.
        columns: of each non-zero, `[nnz]`, ascending in each row.
        values: `[nnz]`.
    """

    shape: tuple[int, int]
    row_start: IntArray
    columns: IntArray
    values: FloatArray

    @property
    def rows(self) -> IntArray:
        """The row of each non-zero, `[nnz]`."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.row_start))

    def dense(self) -> FloatArray:
        """The weight with its zeros, `[outputs, inputs]`."""
        result = np.zeros(self.shape, self.values.dtype)
        result[self.rows, self.columns] = self.values
        return result

    def mask(self) -> FloatArray:
        """One where the pattern is, and else zero."""
        result = np.zeros(self.shape, self.values.dtype)
        result[self.rows, self.columns] = 1
        return result


@dataclass(frozen=True)
class Layer:
    """A linear layer.

    Attributes:
        name: as in the model's file.
        weight: sparse, or `[outputs, inputs]` where it has all its weights.
        bias: `[outputs]`.
    """

    name: str
    weight: SparseWeight | FloatArray
    bias: FloatArray

    def dense(self) -> FloatArray:
        """The weight with its zeros."""
        return self.weight.dense() if isinstance(self.weight, SparseWeight) else self.weight

    def mask(self) -> FloatArray | None:
        """Of the pattern, or None if the layer is dense."""
        return self.weight.mask() if isinstance(self.weight, SparseWeight) else None


Network = tuple[Layer, ...]


def network_of(workload: Workload, parameters: Mapping[str, Any], seed: int = SEED) -> Network:
    """The patterns of a compiled model's `parameters()`, with weights that let a signal through.

    A weight's variance is two over the mean number of weights of an output (He et al., ICCV 2015,
    counting what is there). With the variance of a dense layer the loss of a network at 0.1 % would
    not move, and equal losses would show nothing. Biases stay as they are.
    """
    rng = np.random.default_rng(seed)
    precision = np.dtype(workload.precision)
    layers = []
    for name in workload.layers:
        weight = parameters[f"{name}.weight"]
        outputs, inputs = weight.shape
        sparse = not isinstance(weight, np.ndarray)  # scipy.sparse.csr_array
        count = weight.nnz if sparse else weight.size
        values = rng.standard_normal(count, dtype=precision) * precision.type(
            (2 * outputs / count) ** 0.5
        )
        if sparse:
            weight = SparseWeight(
                (outputs, inputs),
                weight.indptr.astype(np.int64),
                weight.indices.astype(np.int64),
                values,
            )
        else:
            weight = values.reshape(outputs, inputs)
        layers.append(Layer(name, weight, parameters[f"{name}.bias"].astype(precision)))
    return tuple(layers)


def weights_in(network: Network) -> int:
    """How many weights a network has, biases not counted."""
    return sum(
        len(layer.weight.values) if isinstance(layer.weight, SparseWeight) else layer.weight.size
        for layer in network
    )


def save_network(network: Network, file: Path) -> None:
    """Write a network to an `.npz` file."""
    arrays: dict[str, NDArray[Any]] = {}
    for layer in network:
        arrays[f"{layer.name}.bias"] = layer.bias
        weight = layer.weight
        if isinstance(weight, SparseWeight):
            arrays[f"{layer.name}.shape"] = np.array(weight.shape)
            arrays[f"{layer.name}.row_start"] = weight.row_start
            arrays[f"{layer.name}.columns"] = weight.columns
            arrays[f"{layer.name}.values"] = weight.values
        else:
            arrays[f"{layer.name}.dense"] = weight
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stubs take `allow_pickle` for one


def load_network(file: Path) -> Network:
    """Read what `save_network` wrote of the reference network."""
    layers = []
    with np.load(file) as arrays:
        for name in REFERENCE.layers:
            weight: SparseWeight | FloatArray
            if f"{name}.dense" in arrays:
                weight = arrays[f"{name}.dense"]
            else:
                outputs, inputs = arrays[f"{name}.shape"].tolist()
                weight = SparseWeight(
                    (outputs, inputs),
                    arrays[f"{name}.row_start"],
                    arrays[f"{name}.columns"],
                    arrays[f"{name}.values"],
                )
            layers.append(Layer(name, weight, arrays[f"{name}.bias"]))
    return tuple(layers)


@dataclass(frozen=True)
class Data:
    """Samples and their targets.

    Attributes:
        X: `[n, features]`; normalised, if the samples are bytes.
        t: classes, `[n]`, or numbers, `[n, outputs]`.
        raw: what the compiled model is given: `X`, or the bytes.
    """

    X: FloatArray
    t: IntArray | FloatArray
    raw: FloatArray | NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.t)


def make_data(workload: Workload, samples: int, seed: int = SEED) -> Data:
    """Gaussian clouds: a loss that falls, so that agreement means something.

    The target is the number of a sample's cloud, or the cloud's centre for a loss of numbers: then
    the network learns to take the noise away, and its input is as wide as its output.
    """
    rng = np.random.default_rng(seed)
    precision = np.dtype(workload.precision)
    numbers = workload.loss == "squared_error"
    clouds = _CLOUDS if numbers else workload.outputs
    centres = rng.standard_normal((clouds, workload.features), dtype=precision)
    cloud = rng.integers(0, clouds, samples)
    X = rng.standard_normal((samples, workload.features), dtype=precision)
    X += centres[cloud]
    t = centres[cloud] if numbers else cloud
    if not workload.bytes_:
        return Data(X, t, X)
    raw = np.clip(128 + _SPREAD * X, 0, 255).astype(np.uint8)
    return Data((raw / precision.type(255) - precision.type(0.5)) / precision.type(0.25), t, raw)


def orders(samples: int, seed: int = SEED) -> list[IntArray]:
    """A few shuffled orders of the samples, the same for every contender."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(samples) for _ in range(4)]
