"""`nervac evaluate` and `nervac predict`: a run's model at work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from nerva_dsl.cli.measures import confusion_table, plain
from nerva_dsl.cli.reporters import print_json
from nerva_dsl.cli.train import compile_run, load_model
from nerva_dsl.faults import NervaError
from nerva_dsl.runtime.archives import DamagedError, reading_arrays
from nerva_dsl.runtime.data import load_data
from nerva_dsl.runtime.replacing import replacing
from nerva_dsl.runtime.run_directory import RunDirectory


class SamplesError(NervaError):
    """An array that is not there, cannot be read, or does not fit the model."""


def evaluate_run(path: Path, data_spec: str | None, threads: int | None, *, as_json: bool) -> None:
    """Print loss and accuracy on the test part of the run's data, or of other data.

    The part that is held out of data without a test set is that of the run: never trained on.
    """
    directory = RunDirectory.open(path)
    settings = directory.read().settings
    module = compile_run(directory, settings)
    data = load_data(data_spec or settings.data, module.SPEC, settings.seed)
    model = load_model(module, directory, threads or settings.threads)
    result = model.evaluate(data.X_test, data.t_test)
    if as_json:
        line = {"run": str(path), "data": data.source, "epoch": model.epoch}
        values = {name: plain(value) for name, value in result.items()}
        print_json({**line, "samples": len(data.X_test), **values})
        return
    print(f"{module.SPEC['name']} after {model.epoch} epochs, {len(data.X_test):,} test samples")
    for name, value in result.items():
        if isinstance(value, np.ndarray):
            print(f"{name}: labels in rows, classes taken for them in columns")
            print(confusion_table(value))
        else:
            print(f"{name} {value:.6g}")


def predict_file(path: Path, samples_file: Path, output: Path, threads: int | None) -> None:
    """Write the outputs for the samples of a `.npy` file to another.

    Raises:
        SamplesError: the samples cannot be read, or are not what the model takes.
    """
    directory = RunDirectory.open(path)
    settings = directory.read().settings
    samples = _read_samples(samples_file)
    module = compile_run(directory, settings)
    model = load_model(module, directory, threads or settings.threads)
    try:
        outputs = model.predict(samples)
    except ValueError as error:
        raise SamplesError(f"{samples_file}: {error}") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary, temporary.open("wb") as file:
        np.save(file, outputs, allow_pickle=False)
    print(f"wrote {output}: {len(outputs):,} rows of {outputs.shape[1]}")


def _read_samples(file: Path) -> NDArray[Any]:
    """The array of a `.npy` file, images flattened to rows."""
    samples: NDArray[Any] | NpzFile
    try:
        with reading_arrays():
            samples = np.load(file, allow_pickle=False)
    except OSError as error:
        raise SamplesError(f"{file} cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise SamplesError(
            f"{file} is not a .npy file of numbers: it is cut short, of another kind, or holds "
            "Python objects, which are never loaded"
        ) from error
    if isinstance(samples, NpzFile):
        samples.close()
        raise SamplesError(f"{file} is an archive of several arrays; one array is needed")
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8)
    elif samples.dtype != np.uint8 and samples.dtype.kind in "iuf":
        samples = samples.astype(np.float64, copy=False)
    if samples.ndim <= 2:
        return samples
    return samples.reshape(len(samples), math.prod(samples.shape[1:]))
