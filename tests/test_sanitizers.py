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
# Products by blocks, of dense weights and of sparse ones that have half of their numbers.
BLOCKED = {
    "digits_dense": ({}, ("gemm", "gemm_transposed", "gemm_gradient")),
    "digits": ({"density": 0.5}, ("spmm_blocked", "spmm_transposed_blocked", "sddmm_blocked")),
    "cifar10": ({"width": 40, "density": 0.5}, ("spmm_blocked", "sddmm_blocked")),
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
    run_sanitized(driver.emit_c(models / f"{name}.nerva", MODELS[name]))


@pytest.mark.parametrize("name", BLOCKED)
def test_products_by_blocks_sanitized(name, models):
    overrides, kernels = BLOCKED[name]
    model = driver.check(models / f"{name}.nerva", overrides).model
    # on a machine that multiplies so fast that blocks are chosen wherever they can be
    machine = resolve_target("native").usual.with_constants({"multiply": 0.001})
    generated = driver.emit_model(model, backend="native", machine=machine)
    for kernel in kernels:
        assert f"static void {kernel}_" in generated.c_source
    run_sanitized(generated)


def run_sanitized(generated):
    entry = build(generated, resolve_target("native"), extra_flags=SANITIZE)
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
