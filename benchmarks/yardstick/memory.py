"""Peak memory of a fresh process: import, model, ten steps of training."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import printed_by
from benchmarks.yardstick import contenders_onnx
from benchmarks.yardstick.contenders_nervac import compile_backends
from benchmarks.yardstick.settings import Settings
from benchmarks.yardstick.workload import network_of, save_network
from benchmarks.yardstick.workloads import REFERENCE

STEPS = 10


@dataclass(frozen=True)
class Request:
    """What a fresh process is to do.

    Attributes:
        kind: `numpy`, `nervac`, `dense`, `masked`, `csr` or `onnx`.
        threads: to compute with.
        network: file of `save_network`.
        module: directory of the compiled model, for `nervac`.
        onnx: file of the ONNX model, for `onnx`.
        form: of PyTorch: gradient and optimizer.
    """

    kind: str
    threads: int
    network: str = ""
    module: str = ""
    onnx: str = ""
    form: tuple[str, ...] = field(default=())


def measure_memory(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every contender at some densities, each in processes of its own.

    PyTorch takes part in the eager form that needs least: with the fused optimizer and, for CSR,
    the sampled gradient. `torch.compile` would add its compiler's memory.
    """
    missing: dict[str, str] = {}
    rows = []
    threads = settings.threads
    with tempfile.TemporaryDirectory() as scratch:
        network_file, onnx_file = Path(scratch, "network.npz"), Path(scratch, "network.onnx")
        for density in settings.memory_densities:
            compiled, absent = compile_backends(REFERENCE, density)
            missing |= absent
            network = network_of(REFERENCE, compiled[0].model(None, threads).parameters())
            save_network(network, network_file)
            file = str(network_file)
            requests = {
                each.name: Request("nervac", threads, file, module=str(each.directory))
                for each in compiled
            }
            requests["PyTorch dense"] = Request("dense", threads, file, form=("fused",))
            if density < 1:
                requests["PyTorch masked"] = Request("masked", threads, file, form=("fused",))
                requests["PyTorch CSR"] = Request("csr", threads, file, form=("sampled", "fused"))
            try:
                onnx_file.write_bytes(contenders_onnx.model_bytes(network))
                requests["ONNX Runtime dense (prediction)"] = Request(
                    "onnx", threads, onnx=str(onnx_file)
                )
            except ImportError as error:
                missing["ONNX Runtime dense"] = str(error)
            requests["Python and NumPy only"] = Request("numpy", threads)
            peaks: dict[str, list[dict[str, float]]] = {name: [] for name in requests}
            for _ in range(settings.memory_repeats):
                for name, request in requests.items():
                    peaks[name].append(peak(request))
            row = {
                name: {
                    part: statistics.median(each[part] for each in found)
                    for part in ("imported", "peak")
                }
                for name, found in peaks.items()
            }
            say(
                f"memory, density {density:g}: "
                + ", ".join(f"{name} {found['peak']:.0f} MB" for name, found in row.items())
            )
            rows.append({"density": density, "contenders": row})
    return {"rows": rows, "missing": missing, "steps": STEPS}


def peak(request: Request) -> dict[str, float]:
    """Run a request in a fresh process; MB after the imports and at the peak.

    Raises:
        RuntimeError: it fails.
    """
    found: dict[str, float] = printed_by(
        "benchmarks.yardstick.memory_child",
        json.dumps(asdict(request)),
        what=f"measuring the memory of {request.kind}",
    )
    return found
