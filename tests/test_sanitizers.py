"""Generated C under the address, undefined-behaviour and thread sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SHIPPED

from nerva_dsl import driver
from nerva_dsl.ir.operations import Group
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.target import resolve_target

# Compiling with sanitizers and all optimisations takes a minute for some models.
SANITIZE = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WATCH = ("-O1", "-fsanitize=thread")
MODELS = {name: {} for name in SHIPPED} | {"cifar10": {"width": 40}}
# Products by blocks, of dense weights and of sparse ones that have half of their numbers.
BLOCKED = {
    "digits_dense": ({}, {"gemm", "gemm_transposed", "gemm_gradient"}),
    "digits": ({"density": 0.5}, {"spmm_blocked", "spmm_transposed_blocked", "sddmm_blocked"}),
}

# Of a machine with a small cache that multiplies so slowly that products go through panels, not by
# blocks.
PANELS = {"multiply": 9.0, "cache_bytes": 6 << 10}

# In a process of its own, in which the sanitizer is loaded first.
SCRIPT = """
import sys
import numpy as np
from nerva_dsl.runtime.loading import load_module

module = load_module(sys.argv[1])
spec, random = module.SPEC, np.random.default_rng(0)
teams = [int(threads) for threads in sys.argv[2].split(",")]
batch, width, target = spec["batch"], spec["input"]["features"], spec["target"]


def data(n):
    X = random.integers(0, 17, (n, width)).astype(np.uint8)
    if not target:
        return X, None
    if target["kind"] == "class":
        return X, random.integers(0, target["size"], n)
    return X, random.normal(size=(n, target["size"]))


least = spec["smallest_batch"]
for count in (least, batch, batch + least, 2 * batch - 1):
    X, t = data(count)
    few = (X[:batch], None if t is None else t[:batch])
    net = module.Model(threads=teams[count % len(teams)])
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


RACY = {name: (name, overrides, {}) for name, overrides in MODELS.items()} | {
    "blocks": ("digits", {"density": 0.5}, {"multiply": 0.001}),
    "panels": ("digits", {"density": 0.5}, PANELS),
}
"""Models whose threads are watched: values of their parameters, and constants of the machine."""


def library(name):
    """A sanitizer's library, which a Python that was built without it needs first."""
    done = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def run(generated, flags, teams, command=(), **environment):
    """Build with more flags, and run the script on teams of such sizes."""
    entry = build(generated, resolve_target("native"), extra_flags=flags)
    return subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, str(entry), teams],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_sanitized(generated):
    done = run(
        generated,
        SANITIZE,
        "2,1",
        LD_PRELOAD=library("libasan.so"),
        ASAN_OPTIONS="detect_leaks=0",  # Python itself keeps memory to the end
    )
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr


def native(file, overrides, **constants):
    """Generated C without MKL for a machine with such constants, and the kernels of its step."""
    machine = resolve_target("native").usual.with_constants(constants)
    model = driver.check(file, overrides).model
    step = driver.optimize(model, backend="native", machine=machine).graph("step")
    kernels = {group.kernel for group in step.operations if isinstance(group, Group)}
    return driver.emit_model(model, backend="native", machine=machine), kernels


@pytest.mark.parametrize("name", MODELS)
def test_sanitized(name, models):
    assert_sanitized(driver.emit_c(models / f"{name}.nerva", MODELS[name]))


@pytest.mark.parametrize("name", BLOCKED)
def test_products_by_blocks_sanitized(name, models):
    overrides, kernels = BLOCKED[name]
    # on a machine that multiplies so fast that blocks are chosen wherever they can be
    generated, chosen = native(models / f"{name}.nerva", overrides, multiply=0.001)
    assert kernels <= chosen
    assert_sanitized(generated)


def test_products_in_panels_sanitized(models):
    generated, _ = native(models / "digits.nerva", {"density": 0.5}, **PANELS)
    assert "sparse_part" in generated.c_source
    assert_sanitized(generated)


@pytest.fixture
def watched(tmp_path):
    """Run generated C on three threads under the thread sanitizer.

    The library of OpenMP is not compiled for it, so that its threads would seem not to wait for
    each other; another team is in its place. Addresses are not random: gcc's sanitizer has no room
    for them on new kernels.
    """
    team = tmp_path / "libteam.so"
    source = Path(__file__).with_name("thread_team.c")
    flags = ["-O1", "-g", "-fPIC", "-shared", "-fsanitize=thread", "-Wall", "-Werror"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(team)], check=True)
    in_order = ("setarch", "-R")
    if subprocess.run([*in_order, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("addresses cannot be made not random here: a container forbids it")

    def watch(generated):
        return run(
            generated,
            WATCH,
            "3",
            in_order,
            LD_PRELOAD=f"{library('libtsan.so')} {team}",
            OPENBLAS_NUM_THREADS="1",
            TSAN_OPTIONS="halt_on_error=1",
        )

    return watch


@pytest.mark.parametrize("name", RACY)
def test_threads(name, models, watched):
    file, overrides, constants = RACY[name]
    generated, _ = native(models / f"{file}.nerva", overrides, **constants)
    done = watched(generated)
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr[:9000]


def test_threads_that_do_not_wait_would_be_noticed(models, watched):
    generated, _ = native(models / "digits.nerva", {})
    meet = "static void meet(Run *run)\n{\n"
    assert meet in generated.c_source
    broken = generated.c_source.replace(meet, f"{meet}    return;\n")
    done = watched(replace(generated, c_source=broken))
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
    assert done.returncode == 66  # the sanitizer's
