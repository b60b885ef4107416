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
from benchmarks.yardstick.workload import Data, FloatArray, IntArray, Network, SparseWeight
from benchmarks.yardstick.workloads import SEED, Workload
from nerva_dsl.driver import explain
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


def compile_network(workload: Workload, density: float, backend: str) -> Compiled:
    """Compile a network with a backend.

    Raises:
        NervaError: there is no C compiler, or no such backend.
        ImportError: the backend's libraries are not found.
    """
    params: dict[str, Any] = {**workload.params, "density": density}
    return Compiled(backend, nerva_dsl.compile(workload.model_file, backend=backend, **params))


def compile_backends(workload: Workload, density: float) -> tuple[list[Compiled], dict[str, str]]:
    """Compile the network with each backend.

    Returns:
        Those that work, and why the others do not.
    """
    found: list[Compiled] = []
    missing: dict[str, str] = {}
    for backend in BACKENDS:
        try:
            found.append(compile_network(workload, density, backend))
        except (NervaError, ImportError) as error:
            missing[f"nervac {backend}"] = str(error).strip().splitlines()[0]
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


def roof(workload: Workload, density: float, backend: str, threads: int) -> float:
    """Seconds of a step whose kernels each do without a pause what takes them longest.

    That is multiplying, or reading from one level of memory, by the cost model, shared by threads.
    """
    params: dict[str, Any] = {**workload.params, "density": density}
    explained = explain(workload.model_file, params, backend=backend)
    return sum(operation.bound for operation in explained.operations) / 1e6 / threads


def losses(workload: Workload, model: Any, data: Data, batches: Sequence[IntArray]) -> list[float]:
    """Train on some batches; the loss before each update."""
    rate = workload.learning_rate
    return [model.train_step(data.raw[batch], data.t[batch], lr=rate) for batch in batches]


def training_task(name: str, workload: Workload, model: Any, data: Data, order: IntArray) -> Task:
    """An epoch, in one call."""
    rate = workload.learning_rate
    few = min(_WARM_STEPS * workload.batch, len(data))
    first = data.raw[:few], data.t[:few]
    own = np.ascontiguousarray(order)
    return Task(
        name,
        lambda: model.train_epoch(data.raw, data.t, lr=rate, order=own),
        len(data) // workload.batch,
        lambda: model.train_epoch(*first, lr=rate),
    )


def predictor(model: Any, x: FloatArray) -> Callable[[], Any]:
    """Prediction of some samples."""
    samples = np.ascontiguousarray(x)
    return lambda: model.predict(samples)
