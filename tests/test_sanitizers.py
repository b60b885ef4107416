"""Generated C under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nerva_dsl import driver
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.target import resolve_target

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MODELS = {
    "custom": {},
    "residual": {},
    "digits_dense": {},
    "autoencoder": {},
    "cifar10": {"width": 40},
    "digits": {},
    "rigl": {},
}

# In a process of its own, in which the sanitizer is loaded first.
SCRIPT = """
import sys
import numpy as np
from nerva_dsl.runtime.loading import load_module

module = load_module(sys.argv[1])
spec, random = module.SPEC, np.random.default_rng(0)
batch, width, target = spec["batch"], spec["input"]["features"], spec["target"]


def data(n):
    X = random.integers(0, 17, (n, width)).astype(np.uint8)
    if not target:
        return X, None
    if target["kind"] == "class":
        return X, random.integers(0, target["size"], n)
    return X, random.normal(size=(n, target["size"]))


for count in (1, batch, batch + 1, 2 * batch - 1):
    X, t = data(count)
    few = (X[:batch], None if t is None else t[:batch])
    net = module.Model(threads=1 + count % 2)
    net.train_epoch(X, t, lr=1e-4)
    net.train_step(*few, lr=1e-4)
    net.evaluate(X, t), net.predict(X), net.gradients(*few)
    net.set_parameters(net.parameters())
    for choices in (("set(0.6)", "random()"), ("magnitude(0.4)", "gradient()")):
        if "regrow" in spec:
            net.regrow(*choices, X=few[0], t=few[1])
            net.train_step(*few, lr=1e-4)
    if spec["input"]["element"] != "uint8":
        wrong = X.astype(np.float32)
        wrong[-1, -1] = np.nan
        try:
            net.train_epoch(wrong, t)
        except ValueError:
            continue
        sys.exit("not a number was not found")
print("clean")
"""


def sanitizer():
    """The address sanitizer's library, which a Python that was built without it needs first."""
    done = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", MODELS)
def test_sanitized(name, models):
    target = resolve_target("native")
    generated = driver.emit_c(models / f"{name}.nerva", MODELS[name])
    entry = build(generated, target, extra_flags=SANITIZE)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(entry)],
        env={
            **os.environ,
            "LD_PRELOAD": sanitizer(),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python itself keeps memory to the end
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr
