"""The protocol of README.md, carried out.

    python -m benchmarks.dynamic_sparsity --data DIR -o DIR

DIR of the data has the four IDX files of Fashion-MNIST (`nervac data fashion-mnist` fetches them).
Writes `results.json` and `results.md` after each run, and begins with those that are not there yet.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import nerva_dsl
from benchmarks.dynamic_sparsity.masked import Outcome, train
from benchmarks.yardstick import machine
from benchmarks.yardstick.environment import remove_overrides
from benchmarks.yardstick.report import table
from nerva_dsl.runtime.data import load_data

METHODS = {"static": "static", "set": "SET", "rigl": "RigL"}
CONTENDERS = ("nervac", "PyTorch masked")
SEEDS = (1, 2, 3)


def main() -> None:
    """Run what is not there yet, in turns, and write everything after each run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dynamic_sparsity")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=CONTENDERS, help="one contender; both if not given")
    arguments = parser.parse_args()
    removed = remove_overrides()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": []}
    for run in _runs(arguments, results["runs"]):
        print(run, flush=True)
        results["runs"].append(run)
        results["machine"] = machine.describe(arguments.threads, removed)
        file.write_text(json.dumps(results, indent=1) + "\n")
        (arguments.output / "results.md").write_text(markdown(results))


def _runs(arguments: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The runs that are not done."""
    here = Path(__file__).parent
    modules = {
        method: nerva_dsl.compile(here / f"{method}.nerva", backend="native") for method in METHODS
    }
    data = load_data(f"idx:{arguments.data}", modules["static"].SPEC, 1)
    sets = (data.X_train, data.t_train), (data.X_test, data.t_test)
    nnz = {
        (layer["outputs"], layer["inputs"]): layer["nnz"]
        for layer in modules["static"].SPEC["layers"]
    }
    keys = ("seed", "method", "contender")
    present = {tuple(run[key] for key in keys) for run in done}
    wanted = [arguments.only] if arguments.only else CONTENDERS
    for key in itertools.product(SEEDS, METHODS, wanted):
        if key in present:
            continue
        seed, method, contender = key
        if contender == "nervac":
            net = modules[method].Model(seed=seed, threads=arguments.threads)
            history = net.fit(*sets[0])
            outcome = Outcome(net.evaluate(*sets[1])["accuracy"], sum(history.seconds))
        else:
            outcome = train(method, nnz, sets, seed)
        load = machine.load_average()
        yield {**dict(zip(keys, key, strict=True)), **asdict(outcome), "load": load}


def markdown(results: dict[str, Any]) -> str:
    """A table of all runs, and whether the contenders are at parity."""
    rows = []
    for method, title in METHODS.items():
        found = {
            contender: [
                run
                for run in results["runs"]
                if (run["method"], run["contender"]) == (method, contender)
            ]
            for contender in CONTENDERS
        }
        accuracies = {name: [run["accuracy"] for run in runs] for name, runs in found.items()}
        for contender, runs in found.items():
            mean = f"{statistics.mean(accuracies[contender]):.4f}" if runs else ""
            rows.append(
                [
                    title,
                    contender,
                    ", ".join(f"{accuracy:.4f}" for accuracy in accuracies[contender]),
                    mean,
                    ", ".join(f"{run['seconds']:.1f}" for run in runs),
                    _parity(*accuracies.values()) if contender == CONTENDERS[0] else "",
                ]
            )
    described, loads = results["machine"], [run["load"] for run in results["runs"]]
    return (
        f"Measured {described['date']} on {described['cpu']}, {described['threads']} threads; load "
        f"average after the runs {min(loads):.1f} to {max(loads):.1f}.\n\n"
        + table(["method", "", "accuracy by seed", "mean", "seconds by seed", "parity"], rows)
        + "\n"
    )


def _parity(ours: list[float], theirs: list[float]) -> str:
    """As the protocol says; nothing before all runs are done."""
    if len(ours) < len(SEEDS) or len(theirs) < len(SEEDS):
        return ""
    spread = max(max(each) - min(each) for each in (ours, theirs))
    difference = abs(statistics.mean(ours) - statistics.mean(theirs))
    return "yes" if difference <= spread else "no"


if __name__ == "__main__":
    main()
