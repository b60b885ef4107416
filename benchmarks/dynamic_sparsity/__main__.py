"""The protocol of README.md, carried out.

    python -m benchmarks.dynamic_sparsity --data DIR -o DIR

DIR of the data has the four IDX files of Fashion-MNIST (`nervac data fashion-mnist` fetches them).
Writes `results.json` and `results.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
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
    """Run everything, in turns, and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dynamic_sparsity")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    removed = remove_overrides()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    runs = _runs(arguments.data, arguments.threads)
    results = {
        "machine": machine.describe(arguments.threads, removed),
        "load_after": machine.load_average(),
        "runs": runs,
    }
    (arguments.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.output / "results.md").write_text(markdown(results))
    print(markdown(results))


def _runs(folder: Path, threads: int) -> list[dict[str, Any]]:
    here = Path(__file__).parent
    modules = {
        method: nerva_dsl.compile(here / f"{method}.nerva", backend="native") for method in METHODS
    }
    data = load_data(f"idx:{folder}", modules["static"].SPEC, 1)
    train_set, test_set = (data.X_train, data.t_train), (data.X_test, data.t_test)
    nnz = {
        (layer["outputs"], layer["inputs"]): layer["nnz"]
        for layer in modules["static"].SPEC["layers"]
    }
    runs = []
    for seed in SEEDS:
        for method, module in modules.items():
            net = module.Model(seed=seed, threads=threads)
            history = net.fit(*train_set)
            ours = Outcome(net.evaluate(*test_set)["accuracy"], sum(history.seconds))
            theirs = train(method, nnz, (train_set, test_set), seed)
            for contender, outcome in zip(CONTENDERS, (ours, theirs), strict=True):
                run = {"method": method, "contender": contender, "seed": seed, **asdict(outcome)}
                print(run, flush=True)
                runs.append(run)
    return runs


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
        means, ranges = [], []
        for contender, runs in found.items():
            accuracies = [run["accuracy"] for run in runs]
            means.append(statistics.mean(accuracies))
            ranges.append(max(accuracies) - min(accuracies))
            rows.append(
                [
                    title,
                    contender,
                    ", ".join(f"{accuracy:.4f}" for accuracy in accuracies),
                    f"{means[-1]:.4f}",
                    ", ".join(f"{run['seconds']:.1f}" for run in runs),
                ]
            )
        parity = abs(means[0] - means[1]) <= max(ranges)
        rows[-2].append("yes" if parity else "no")
        rows[-1].append("")
    described = results["machine"]
    return (
        f"Measured {described['date']} on {described['cpu']}, {described['threads']} threads; load "
        f"average {results['load_after']:.1f} at the end.\n\n"
        + table(["method", "", "accuracy by seed", "mean", "seconds by seed", "parity"], rows)
        + "\n"
    )


if __name__ == "__main__":
    main()
