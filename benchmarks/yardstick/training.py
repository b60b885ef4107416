"""Training: milliseconds a step, gathering a shuffled batch included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.yardstick import contenders_nervac
from benchmarks.yardstick.agreement import STEPS, check_losses
from benchmarks.yardstick.contenders_nervac import Compiled, compile_backends
from benchmarks.yardstick.contenders_pytorch import (
    csr_trainers,
    dense_trainers,
    fastest_trainer,
    training_task,
)
from benchmarks.yardstick.machine import Usage
from benchmarks.yardstick.measure import as_json, interleave, ratio
from benchmarks.yardstick.settings import Settings
from benchmarks.yardstick.torch_setup import Trainer, losses
from benchmarks.yardstick.workload import Data, Network, network_of, orders, weights_in

DENSE, MASKED, CSR = "PyTorch dense", "PyTorch masked", "PyTorch CSR"

Say = Callable[[str], None]


def measure_training(settings: Settings, data: Data, say: Say) -> dict[str, Any]:
    """Measure every density.

    Raises:
        DisagreementError: a contender computes something else than nervac's native kernels.
    """
    return _Training(settings, data, say).run()


class _Training:
    def __init__(self, settings: Settings, data: Data, say: Say) -> None:
        self._settings = settings
        self._workload = settings.workload
        self._data = data
        self._say = say
        self._order = orders(len(data))[0]
        # The same batch again and again: a loss that surely falls.
        self._batches = [self._order[: self._workload.batch]] * STEPS
        self._selections: dict[str, dict[str, Any]] = {DENSE: {}, MASKED: {}, CSR: {}}
        self._dense: Trainer | None = None
        self._masked_form: str | None = None

    def run(self) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        missing: dict[str, str] = {}
        for density in self._settings.densities:
            compiled, absent = compile_backends(self._workload, density)
            missing |= absent
            rows.append(self._row(density, compiled))
        return {
            "samples": len(self._data),
            "rows": rows,
            "selection": self._selections,
            "missing": missing,
        }

    def _row(self, density: float, compiled: list[Compiled]) -> dict[str, Any]:
        model = compiled[0].model(None, self._settings.threads)
        network = network_of(self._workload, model.parameters())
        models = {each.name: each.model(network, self._settings.threads) for each in compiled}
        reference: list[float] = []
        for name, model in models.items():
            found = contenders_nervac.losses(self._workload, model, self._data, self._batches)
            reference = reference or found
            self._check(f"{name} at density {density:g}", found, reference)
        tasks = [
            contenders_nervac.training_task(name, self._workload, model, self._data, self._order)
            for name, model in models.items()
        ]
        trainers = self._trainers(density, network, reference)
        tasks += [
            training_task(name, self._workload, trainer, self._order)
            for name, trainer in trainers.items()
        ]
        before = Usage.now()
        timings = interleave(tasks, self._settings.step)
        others = Usage.now().others_since(before)
        self._say(
            f"step, density {density:g}: "
            + ", ".join(
                f"{name} {timing.summary()['median'] * 1e3:.3g} ms"
                for name, timing in timings.items()
            )
        )
        return {
            "density": density,
            "weights": weights_in(network),
            "contenders": as_json(timings),
            "ratios": {
                theirs: {
                    ours: ratio(timings[theirs].medians(), timings[ours].medians())
                    for ours in models
                }
                for theirs in trainers
            },
            "roofs": {
                each.name: contenders_nervac.roof(
                    self._workload, density, each.backend, self._settings.threads
                )
                for each in compiled
            },
            "kernels": {each.name: each.kernels for each in compiled},
            "losses": reference,
            "others": others,
        }

    def _trainers(
        self, density: float, network: Network, reference: list[float]
    ) -> dict[str, Trainer]:
        """PyTorch's contenders at a density, each in its fastest form and checked."""
        trainers = {DENSE: self._dense_trainer(density, network, reference)}
        if density < 1:
            trainers[MASKED] = self._masked_trainer(density, network, reference)
            makers = csr_trainers(
                self._workload, network, self._data, compile_too=self._settings.compile_forms
            )
            trainers[CSR] = self._select(CSR, density, makers, reference)
        return trainers

    def _dense_trainer(self, density: float, network: Network, reference: list[float]) -> Trainer:
        """One for all densities: a dense step takes the same time whatever the weights are."""
        if self._dense is None:
            makers = self._dense_makers(network, masked=False)
            expected = reference if density == 1 else None
            self._dense = self._select(DENSE, density, makers, expected)
        return self._dense

    def _masked_trainer(self, density: float, network: Network, reference: list[float]) -> Trainer:
        """Its form is chosen once: a step with masks takes the same time whatever they are."""
        makers = self._dense_makers(network, masked=True)
        if self._masked_form is None:
            trainer = self._select(MASKED, density, makers, reference)
            self._masked_form = self._selections[MASKED][f"{density:g}"]["best"]
            return trainer
        trainer = makers[self._masked_form]()
        found = losses(trainer, self._batches)
        self._check(f"{MASKED} at density {density:g}", found, reference)
        return trainer

    def _dense_makers(self, network: Network, *, masked: bool) -> dict[str, Callable[[], Trainer]]:
        return dense_trainers(
            self._workload,
            network,
            self._data,
            masked=masked,
            compile_too=self._settings.compile_forms,
        )

    def _check(self, name: str, found: list[float], reference: list[float]) -> None:
        check_losses(name, found, reference, self._workload.precision)

    def _select(
        self,
        contender: str,
        density: float,
        makers: dict[str, Callable[[], Trainer]],
        reference: list[float] | None,
    ) -> Trainer:
        trainer, selection = fastest_trainer(
            f"{contender} at density {density:g}",
            self._workload,
            makers,
            self._batches,
            reference,
            self._order,
            self._settings.selection,
        )
        self._selections[contender][f"{density:g}"] = selection.as_json()
        self._say(f"{contender}, density {density:g}: {selection.best}")
        return trainer
