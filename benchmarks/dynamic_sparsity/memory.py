"""Peak memory of training by RigL, beside the same training with patterns that stay.

    python -m benchmarks.dynamic_sparsity.memory [--width N] [--density D]

Three layers of N x N. Each training is a process of its own: import, model, samples, two epochs of
four steps; RigL changes the patterns before every second step but the first. The peak is VmHWM of
Linux, the most memory that the process ever held.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.processes import printed_by

SLICE = 2**18 * 16 / 1e6
"""MB of the gradient at 2^18 positions with their places, 16 bytes each: what a slice of the dense
gradient takes whose largest are to be found by sorting."""

_THIS = "benchmarks.dynamic_sparsity.memory"
_BATCH, _STEPS = 16, 4
_TEXT = """\
model wide
input  x : float32[{width}]
target t : class[10]

sparsity = uniform({density})

h1 = relu(linear(x, {width}))
h2 = relu(linear(h1, {width}))
h3 = relu(linear(h2, {width}))
y  = linear(h3, 10, density = 1)

output = y
loss   = softmax_cross_entropy(y, t)

train {{ batch = {batch}; epochs = 2; optimizer = nesterov(0.9); learning_rate = 0.01 }}
"""
_BLOCK = """
regrow { every = steps(2); prune = magnitude(0.3); grow = gradient(); weights = zero() }
"""


def peaks(width: int, density: float, *, repeats: int = 1, threads: int = 2) -> dict[str, float]:
    """Peak MB of both trainings, medians over the repeats.

    Args:
        width: features of the input and of each layer.
        density: of the three layers.
        repeats: processes of each kind, in turns.
        threads: to compute with.

    Returns:
        MB by name: `static` and `RigL`.

    Raises:
        RuntimeError: a process fails.
    """
    import nerva_dsl  # noqa: PLC0415 -- the child does not need it

    modules = {}
    text = _TEXT.format(width=width, density=density, batch=_BATCH)
    with tempfile.TemporaryDirectory() as scratch:
        for name, block in (("static", ""), ("RigL", _BLOCK)):
            file = Path(scratch, "wide.nerva")
            file.write_text(text + block, encoding="utf-8")
            modules[name] = nerva_dsl.compile(file, backend="native").__file__
    found: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(repeats):
        for name, module in modules.items():
            training = ("--train", str(module), "--threads", str(threads))
            what = f"measuring the memory of {module}"
            found[name].append(printed_by(_THIS, *training, what=what))
    return {name: statistics.median(each) for name, each in found.items()}


def _train(module: str, threads: int) -> None:
    """What a process does: train, and print its peak."""
    import numpy as np  # noqa: PLC0415 -- the parent does not need it

    from benchmarks.yardstick.memory_child import peak_megabytes  # noqa: PLC0415
    from nerva_dsl.runtime.loading import load_module  # noqa: PLC0415

    wide = load_module(module)
    net = wide.Model(seed=1, threads=threads)
    rng = np.random.default_rng(0)
    X = rng.random((_BATCH * _STEPS, wide.SPEC["input"]["features"]), np.float32)
    net.fit(X, rng.integers(0, 10, len(X)))
    print(peak_megabytes())


def main() -> None:
    """Measure and print, or, in a process of its own, train."""
    parser = argparse.ArgumentParser(prog=f"python -m {_THIS}")
    parser.add_argument("--width", type=int, default=16_384)
    parser.add_argument("--density", type=float, default=0.001)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", metavar="MODULE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train is not None:
        _train(arguments.train, arguments.threads)
        return
    sizes = arguments.width, arguments.density
    found = peaks(*sizes, repeats=arguments.repeats, threads=arguments.threads)
    more = found["RigL"] - found["static"]
    print(
        f"static {found['static']:.1f} MB, RigL {found['RigL']:.1f} MB: {more:.1f} MB more; "
        f"a slice is {SLICE:.1f} MB, a layer's dense gradient {4 * arguments.width**2 / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
