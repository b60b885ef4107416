"""nervac, with each backend that is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse

import nerva_dsl
from benchmarks.yardstick.measure import Task
from benchmarks.yardstick.workload import (
    BATCH,
    LEARNING_RATE,
    MODEL_FILE,
    SEED,
    Data,
    FloatArray,
    IntArray,
    Network,
    SparseWeight,
)
from nerva_dsl.faults import NervaError

BACKENDS = ("native", "mkl", "auto")
_WARM_STEPS = 3


@dataclass(frozen=True)
class Compiled:
    """The network, compiled.

    Attributes:
        backend: that was asked for.
        module: with `Model` and `SPEC`.
    """

    backend: str
    module: ModuleType

    @property
    def name(self) -> str:
        """Of the contender."""
        return f"nervac {self.backend}"

    @property
    def kernels(self) -> list[str]:
        """The kernels of its products and other groups, in order, each once."""
        found = (kernel["kernel"] for kernel in self.module.SPEC["kernels"])
        return list(dict.fromkeys(found))

    @property
    def directory(self) -> Path:
        """Where the module lies."""
        return Path(str(self.module.__file__)).parent

    def model(self, network: Network | None, threads: int) -> Any:
        """A new model with these weights, or its own."""
        model = self.module.Model(seed=SEED, threads=threads)
        if network is not None:
            model.set_parameters(parameters_of(network))
        return model


def compile_backends(density: float) -> tuple[list[Compiled], dict[str, str]]:
    """Compile the network with each backend.

    Returns:
        Those that work, and why the others do not.
    """
    found: list[Compiled] = []
    missing: dict[str, str] = {}
    for backend in BACKENDS:
        try:
            module = nerva_dsl.compile(MODEL_FILE, backend=backend, density=density)
        except (NervaError, ImportError) as error:  # built, but its libraries are not found
            missing[f"nervac {backend}"] = str(error).strip().splitlines()[0]
        else:
            found.append(Compiled(backend, module))
    return found, missing


def parameters_of(network: Network) -> dict[str, Any]:
    """A network as `set_parameters` takes it."""
    result: dict[str, Any] = {}
    for layer in network:
        weight = layer.weight
        result[f"{layer.name}.bias"] = layer.bias
        if isinstance(weight, SparseWeight):
            result[f"{layer.name}.weight"] = scipy.sparse.csr_array(
                (weight.values, weight.columns, weight.row_start), shape=weight.shape
            )
        else:
            result[f"{layer.name}.weight"] = weight
    return result


def losses(model: Any, data: Data, batches: Sequence[IntArray]) -> list[float]:
    """Train on some batches; the loss before each update."""
    return [model.train_step(data.X[batch], data.t[batch], lr=LEARNING_RATE) for batch in batches]


def training_task(name: str, model: Any, data: Data, order: IntArray) -> Task:
    """An epoch, in one call."""
    few = min(_WARM_STEPS * BATCH, len(data))
    first = Data(data.X[:few], data.t[:few])
    own = np.ascontiguousarray(order)
    return Task(
        name,
        lambda: model.train_epoch(data.X, data.t, lr=LEARNING_RATE, order=own),
        -(-len(data) // BATCH),
        lambda: model.train_epoch(first.X, first.t, lr=LEARNING_RATE),
    )


def predictor(model: Any, x: FloatArray) -> Callable[[], Any]:
    """Prediction of some samples."""
    samples = np.ascontiguousarray(x)
    return lambda: model.predict(samples)
