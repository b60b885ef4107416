"""The fresh process whose memory is measured: it imports nothing that its contender does not.

    python -m benchmarks.yardstick.memory_child REQUEST

REQUEST is JSON, as `memory.Request` describes. Prints `{"imported": MB, "peak": MB}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.yardstick.environment import remove_overrides

remove_overrides()

from benchmarks.yardstick.workload import (  # noqa: E402 -- imports NumPy
    Data,
    Network,
    load_network,
    make_data,
)
from benchmarks.yardstick.workloads import REFERENCE, SEED  # noqa: E402

STEPS = 10


def peak_megabytes() -> float:
    """The most memory that this process has held (VmHWM), in MB of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmHWM")


def nervac(request: dict[str, Any]) -> Callable[[], None]:
    """A compiled model, with its own weights of the same pattern."""
    sys.path.insert(0, request["module"])
    import reference  # noqa: PLC0415 -- the compiled model

    def work() -> None:
        model = reference.Model(seed=SEED, threads=request["threads"])
        data = _data()
        model.train_epoch(data.X, data.t, lr=REFERENCE.learning_rate)

    return work


def pytorch(request: dict[str, Any]) -> Callable[[], None]:
    """Training in PyTorch."""
    import torch  # noqa: PLC0415

    from benchmarks.yardstick import forms_csr, forms_dense, torch_setup  # noqa: PLC0415

    torch_setup.set_up(request["threads"])

    def work() -> None:
        network: Network = load_network(Path(request["network"]))
        data = _data()
        trainer: torch_setup.Trainer
        if request["kind"] == "csr":
            csr_form = forms_csr.CsrForm(*request["form"])
            trainer = forms_csr.CsrTrainer(REFERENCE, network, data, csr_form)
        else:
            form = forms_dense.DenseForm(*request["form"])
            trainer = forms_dense.DenseTrainer(
                REFERENCE, network, data, form, masked=request["kind"] == "masked"
            )
        torch_setup.train(trainer, torch.randperm(len(data)), REFERENCE.batch)

    return work


def onnx(request: dict[str, Any]) -> Callable[[], None]:
    """Prediction in ONNX Runtime."""
    import onnxruntime  # noqa: F401, PLC0415

    from benchmarks.yardstick import contenders_onnx  # noqa: PLC0415

    def work() -> None:
        session = contenders_onnx.make_session(request["onnx"], request["threads"])
        data = _data()
        for first in range(0, len(data), REFERENCE.batch):
            session.run(None, {"x": data.X[first : first + REFERENCE.batch]})

    return work


def nothing(_: dict[str, Any]) -> Callable[[], None]:
    """The data only: what everybody needs."""
    return lambda: _ignore(_data())


def _data() -> Data:
    return make_data(REFERENCE, STEPS * REFERENCE.batch)


def _ignore(_: object) -> None:
    return


CONTENDERS = {
    "numpy": nothing,
    "nervac": nervac,
    "dense": pytorch,
    "masked": pytorch,
    "csr": pytorch,
    "onnx": onnx,
}


def main() -> None:
    """Do what the request says."""
    request = json.loads(sys.argv[1])
    work = CONTENDERS[request["kind"]](request)
    imported = peak_megabytes()
    work()
    print(json.dumps({"imported": round(imported, 1), "peak": round(peak_megabytes(), 1)}))


if __name__ == "__main__":
    main()
