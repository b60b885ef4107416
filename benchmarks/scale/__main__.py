"""Training large sparse networks: time and memory by the non-zero, beside the reference network.

    python -m benchmarks.scale [--threads N]

Each network is a process of its own: import, model, samples, epochs of a few steps. Time is the
median of the epochs. The peak is VmHWM of Linux, the most memory that the process ever held, less
what it held before the model was made, the samples included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import printed_by
from benchmarks.yardstick import machine
from benchmarks.yardstick.report import table

STATE_BYTES = 24
"""What a non-zero of a float32 network may take with Nesterov's momentum, indices included."""

_THIS = "benchmarks.scale"
_EPOCHS, _STEPS = 5, 5


@dataclass(frozen=True)
class Network:
    """A network to train.

    Attributes:
        features: of the input, bytes.
        widths: of the hidden layers.
        density: of their weights.
    """

    features: int
    widths: tuple[int, ...]
    density: float

    @property
    def text(self) -> str:
        """The model's file."""
        values = ["x", *(f"h{i}" for i, _ in enumerate(self.widths, 1))]
        layers = "\n".join(
            f"{value} = relu(linear({before}, {width}, density = {self.density}))"
            for before, value, width in zip(values, values[1:], self.widths, strict=False)
        )
        return f"""model large
input  x : uint8[{self.features}]
target t : class[10]

scaled = x / 255
{layers.replace("(x,", "(scaled,")}
y = linear({values[-1]}, 10)

output = y
loss   = softmax_cross_entropy(y, t)

train {{ batch = 100; epochs = 1; optimizer = nesterov(0.9); learning_rate = 0.01 }}
"""


NETWORKS = {
    "3072-1024-512, 1 %": Network(3072, (1024, 512), 0.01),
    "3 × 16,384, 1 %": Network(3072, (16_384,) * 3, 0.01),
    "10 × 4,096, 1 %": Network(3072, (4_096,) * 10, 0.01),
    "1,000,000 features, 0.001 %": Network(1_000_000, (1_024,), 0.00001),
}


def measured(network: Network, threads: int) -> dict[str, float]:
    """Train a network in a fresh process.

    Returns:
        `nnz`, all weights; seconds to `make` a model; seconds a `step`; `peak`, MB; and `arena`, MB
        of activations.

    Raises:
        RuntimeError: the process fails.
    """
    import nerva_dsl  # noqa: PLC0415 -- the child does not need it
    from nerva_dsl import driver  # noqa: PLC0415
    from nerva_dsl.runtime.target import resolve_target  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "large.nerva")
        file.write_text(network.text, encoding="utf-8")
        module = nerva_dsl.compile(file, backend="native").__file__
        model = driver.check(file).model
    program = driver.optimize(model, backend="native", machine=resolve_target("native").machine)
    training = ("--train", str(module), "--threads", str(threads))
    found: dict[str, float] = printed_by(_THIS, *training, what=f"training {network}")
    return {**found, "arena": 4 * program.arena / 1e6}


def _train(module: str, threads: int) -> None:
    """What a process does: train, and print what that took."""
    import json  # noqa: PLC0415 -- the parent does not need these

    import numpy as np  # noqa: PLC0415

    from benchmarks.yardstick.memory_child import peak_megabytes  # noqa: PLC0415
    from nerva_dsl.runtime.loading import load_module  # noqa: PLC0415

    large = load_module(module)
    rng = np.random.default_rng(0)
    samples = _STEPS * large.SPEC["batch"]
    X = rng.integers(0, 256, (samples, large.SPEC["input"]["features"]), np.uint8)
    t = rng.integers(0, 10, samples)
    before = peak_megabytes()
    begin = time.perf_counter()
    net = large.Model(seed=1, threads=threads)
    made = time.perf_counter() - begin
    epochs = []
    for _ in range(_EPOCHS):
        begin = time.perf_counter()
        net.train_epoch(X, t)
        epochs.append(time.perf_counter() - begin)
    found = {
        "nnz": net.nnz["total"],
        "make": made,
        "step": statistics.median(epochs) / _STEPS,
        "peak": peak_megabytes() - before,
    }
    print(json.dumps(found))


def main() -> None:
    """Measure and print, or, in a process of its own, train."""
    parser = argparse.ArgumentParser(prog=f"python -m {_THIS}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", metavar="MODULE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train is not None:
        _train(arguments.train, arguments.threads)
        return
    load = machine.load_average()
    rows = []
    for name, network in NETWORKS.items():
        found = measured(network, arguments.threads)
        state = found["peak"] - found["arena"]
        rows.append(
            [
                name,
                f"{found['nnz']:,.0f}",
                f"{found['make']:.2f}",
                f"{1e3 * found['step']:.2f}",
                f"{1e9 * found['step'] / found['nnz']:.1f}",
                f"{found['peak']:.0f}",
                f"{found['arena']:.0f}",
                f"{1e6 * state / found['nnz']:.1f}",
            ]
        )
    head = ["network", "non-zeros", "s to make", "ms a step", "ns a non-zero", "peak MB"]
    head += ["activations MB", "bytes a non-zero"]
    print(table(head, rows))
    print(f"{arguments.threads} threads; load average before {load:.1f}.")


if __name__ == "__main__":
    main()
