"""How long each kernel of a training step takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerva_dsl.codegen.generated import Generated
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import Target

# Batches of a data set: together larger than the caches, as those of a real one are.
_BATCHES = 64
_MOST_BYTES = 1 << 28
_SECONDS = 1.0  # of training, at least an epoch


def kernel_seconds(generated: Generated, target: Target) -> list[float]:
    """Train a model on random data, on one thread; the median time of each kernel of a step.

    Args:
        generated: a model's texts, emitted with `measured`.
        target: instruction set.

    Returns:
        Seconds, one for each group of the step's graph.

    Raises:
        ToolchainError: there is no C compiler, or it fails.
    """
    model = load_module(build(generated, target)).Model
    net = model(seed=1, threads=1)
    spec = net._description
    rng = np.random.default_rng(1)
    row_bytes = spec.features * np.dtype(spec.element).itemsize
    batches = max(1, min(_BATCHES, _MOST_BYTES // (row_bytes * spec.batch)))
    samples = batches * spec.batch
    if spec.element == "uint8":
        x: NDArray[np.generic] = rng.integers(0, 256, (samples, spec.features), dtype=np.uint8)
    else:
        x = rng.random((samples, spec.features), dtype=spec.real)
    match spec.target_kind:
        case "class":
            t: NDArray[np.generic] | None = rng.integers(0, spec.target_size, samples)
        case "real":
            t = rng.random((samples, spec.target_size), dtype=spec.real)
        case None:
            t = None
    ffi, lib = model._extension.ffi, model._extension.lib
    shape = ffi.new("int64_t[2]")
    times = lib.nerva_kernel_seconds(shape, shape + 1)
    kernels, rounds = shape
    seen: list[NDArray[np.float64]] = []
    while sum(float(part.sum()) for part in seen) < _SECONDS:
        net.train_epoch(x, t, lr=0.0)
        steps = min(batches, rounds)
        buffer = np.frombuffer(ffi.buffer(times, 8 * kernels * rounds)).reshape(kernels, rounds)
        last = (np.arange(steps) + (len(seen) + 1) * batches - steps) % rounds
        seen.append(buffer[:, last].copy())
    return [float(seconds) for seconds in np.median(np.concatenate(seen, axis=1), axis=1)]
