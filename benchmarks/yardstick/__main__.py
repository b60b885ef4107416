"""The command line of the yardstick.

    python -m benchmarks.yardstick -o DIR [--densities …] [--threads N] [--only …] [--quick]
    python -m benchmarks.yardstick -o DIR --network NAME …              another network's steps
    python -m benchmarks.yardstick --from DIR/yardstick.json -o DIR     tables and plots anew

Writes `yardstick.json`, `yardstick.md` and the plots into DIR, those of another network than the
reference into DIR/NAME; `--into FILE` also puts the tables between the network's markers in a
document.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.yardstick.environment import remove_overrides
from benchmarks.yardstick.workloads import PARTS, REFERENCE, WORKLOADS, Workload

if TYPE_CHECKING:
    from benchmarks.yardstick.settings import Settings

# What reads the environment (NumPy, PyTorch) is imported inside functions, after it was cleaned.
# ruff: noqa: PLC0415


def main() -> None:
    """Measure, or read what was measured; write it."""
    arguments = _arguments()
    if arguments.source is not None:
        results = json.loads(arguments.source.read_text(encoding="utf-8"))
    else:
        results = _measure(arguments)

    from benchmarks.yardstick.plots import write_plots
    from benchmarks.yardstick.report import markdown, put_into, workload_of, write_json

    workload = workload_of(results)
    directory: Path = arguments.output
    if workload != REFERENCE:
        directory /= workload.name
    directory.mkdir(parents=True, exist_ok=True)
    write_json(results, directory / "yardstick.json")
    plots = write_plots(results, directory)
    _write(directory / "yardstick.md", lambda beside: markdown(results, beside), plots)
    if arguments.into is not None:
        document: Path = arguments.into
        old = document.read_text(encoding="utf-8") if document.exists() else ""
        _write(document, lambda beside: put_into(old, markdown(results, beside), workload), plots)
    for warning in results["warnings"]:
        print(f"warning: {warning}")
    print(f"wrote {directory}")


def _write(file: Path, text: Callable[[dict[str, str]], str], plots: dict[str, Path]) -> None:
    """Write a document whose figures are addressed relative to it."""
    beside = {
        name: Path(os.path.relpath(plot, file.parent)).as_posix() for name, plot in plots.items()
    }
    file.write_text(text(beside), encoding="utf-8")


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    removed = remove_overrides()
    # Workers that compile ahead would be busy while others are timed.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    from benchmarks.yardstick import machine, torch_setup
    from benchmarks.yardstick.settings import full, quick

    threads = arguments.threads or len(os.sched_getaffinity(0))
    densities = tuple(sorted(arguments.densities, reverse=True))
    make = quick if arguments.quick else full
    settings = make(arguments.network, densities, threads, tuple(arguments.only))
    torch_setup.set_up(threads)
    begin = time.monotonic()
    results: dict[str, Any] = {
        "quick": settings.quick,
        "network": settings.workload.name,
        "machine": machine.describe(threads, removed),
        "load_before": machine.load_average(),
    }
    results |= _parts(settings, lambda line: print(f"[{time.monotonic() - begin:4.0f} s] {line}"))
    results["load_after"] = machine.load_average()
    results["seconds"] = round(time.monotonic() - begin)
    others = {
        f"{part}, density {row['density']:g}": row["others"]
        for part in ("step", "predict")
        for row in results.get(part, {}).get("rows", ())
    }
    results["warnings"] = machine.warnings(results["load_before"], others)
    return results


def _parts(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Every part that was asked for."""
    from benchmarks.yardstick.compilation import measure_compilation
    from benchmarks.yardstick.memory import measure_memory
    from benchmarks.yardstick.prediction import measure_prediction
    from benchmarks.yardstick.regrowth import measure_regrowth
    from benchmarks.yardstick.training import measure_training
    from benchmarks.yardstick.workload import make_data

    workload = settings.workload
    results: dict[str, Any] = {}
    # Processes of their own come first, while this one is small.
    if "memory" in settings.parts:
        results["memory"] = measure_memory(settings, say)
    if "compile" in settings.parts:
        results["compile"] = measure_compilation(settings, say)
    if "step" in settings.parts:
        results["step"] = measure_training(settings, make_data(workload, settings.samples), say)
    if "predict" in settings.parts:
        results["predict"] = measure_prediction(settings, make_data(workload, workload.batch), say)
    if "regrow" in settings.parts:
        results["regrow"] = measure_regrowth(settings, make_data(workload, workload.batch), say)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yardstick", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write to")
    parser.add_argument(
        "--densities",
        type=_list_of(_density),
        default=(),
        help="separated by commas; all nine if not given",
    )
    parser.add_argument("--threads", type=_positive, help="for everybody; all cores if not given")
    parser.add_argument(
        "--only",
        type=_list_of(_part),
        help=f"what to measure, separated by commas: {', '.join(PARTS)}; of another network than "
        f"{REFERENCE.name}: step",
    )
    parser.add_argument("--quick", action="store_true", help="a trial in under a minute")
    parser.add_argument("--into", type=Path, help="document to put the tables into")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--network",
        type=_network,
        default=REFERENCE,
        help=f"what to measure: {', '.join(WORKLOADS)}; {REFERENCE.name} if not given",
    )
    origin.add_argument(
        "--from", dest="source", type=Path, help="a yardstick.json to write anew, not measuring"
    )
    arguments = parser.parse_args()
    workload: Workload = arguments.network
    if arguments.only is None:
        arguments.only = workload.parts
    if absent := [part for part in arguments.only if part not in workload.parts]:
        parser.error(
            f"{', '.join(absent)}: measured for the network {REFERENCE.name} only; "
            f"for {workload.name} there is {', '.join(workload.parts)}"
        )
    return arguments


def _list_of(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def values(text: str) -> tuple[Any, ...]:
        return tuple(kind(part.strip()) for part in text.split(","))

    return values


def _density(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"a density is above 0 and at most 1, not {text}")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of threads, not {text}")
    return int(text)


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(PARTS)}")
    return text


def _network(text: str) -> Workload:
    if text not in WORKLOADS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(WORKLOADS)}")
    return WORKLOADS[text]


if __name__ == "__main__":
    main()
