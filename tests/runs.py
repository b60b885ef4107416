"""Helpers of the tests that train from the command line."""

import csv
import subprocess
import sys

import numpy as np

NERVAC = [sys.executable, "-c", "from nerva_dsl.cli import main; main()"]


def command(*arguments, cwd, status=0):
    """Run `nervac` as a process of its own."""
    done = subprocess.run(
        [*NERVAC, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def metrics(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(first, second):
    with np.load(first / "weights.npz") as a, np.load(second / "weights.npz") as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
