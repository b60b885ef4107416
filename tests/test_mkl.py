"""The MKL backend: same results, no stale copies, and a life beside PyTorch and without MKL."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import golden
import nerva_dsl
import twins
from nerva_dsl import driver
from nerva_dsl.check import check
from nerva_dsl.driver import emit_model
from nerva_dsl.faults import ToolchainError
from nerva_dsl.machine import Machine
from nerva_dsl.passes.choose_kernels import MKL_PREFIX
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime import mkl as mkl_module
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import Target, resolve_target
from oracle import dense, needs_mkl


def _train(module):
    net = module.Model(seed=1)
    x, t = twins.TWINS["digits"].data(np.random.default_rng(0), 320)
    for start in range(0, 320, 32):
        net.train_step(x[start : start + 32], t[start : start + 32], lr=0.5)
    return net, x


def _own_prediction(net, x):
    """What the parameters that the model shows say, in NumPy."""
    p = {name: dense(value).astype(np.float64) for name, value in net.parameters().items()}
    h1 = np.maximum(x / 16 @ p["h1.weight"].T + p["h1.bias"], 0)
    h2 = np.maximum(h1 @ p["h2.weight"].T + p["h2.bias"], 0)
    return h2 @ p["y.weight"].T + p["y.bias"]


def _is_stale(module):
    """Whether products go on using weights that have since been changed."""
    net, x = _train(module)
    expected = _own_prediction(net, x)
    return abs(net.predict(x) - expected).max() > 1e-3 * abs(expected).max()


@needs_mkl
def test_products_use_the_new_weights(models):
    assert not _is_stale(nerva_dsl.compile(models / "digits.nerva", backend="mkl"))


@needs_mkl
def test_the_call_that_copies_weights_would_be_noticed(models):
    """mkl_sparse_optimize after a hint copies the values; the test above must fail with it."""
    model = check(models / "digits.nerva", {}).model
    generated = emit_model(model, backend="mkl")
    created = "            handles[block] = NULL;\n            return 0;\n        }\n"
    assert created in generated.c_source
    optimized = (
        "        const struct matrix_descr d = { .type = SPARSE_MATRIX_TYPE_GENERAL };\n"
        "        if (handles[block]) {\n"
        "            mkl_sparse_set_mm_hint(handles[block], SPARSE_OPERATION_NON_TRANSPOSE, d,\n"
        "                                   SPARSE_LAYOUT_ROW_MAJOR, STRIDE, 1000);\n"
        "            mkl_sparse_optimize(handles[block]);\n"
        "        }\n"
    )
    text = generated.c_source.replace(created, created + optimized)
    # STRIDE is defined below the handles
    text = text.replace("ROW_MAJOR, STRIDE, 1000", "ROW_MAJOR, 32, 1000")
    tampered = build(replace(generated, c_source=text), resolve_target("native"))
    assert _is_stale(load_module(tampered))


@needs_mkl
def test_another_pattern_makes_new_handles(models):
    module = nerva_dsl.compile(models / "digits.nerva", backend="mkl")
    net, other = module.Model(seed=1), module.Model(seed=2)
    x, t = twins.TWINS["digits"].data(np.random.default_rng(0), 32)
    net.train_step(x, t)
    net.set_parameters(other.parameters())
    assert net.predict(x).tobytes() == other.predict(x).tobytes()
    fewer = net.parameters()
    fewer["h1.weight"].data[::2] = 0
    fewer["h1.weight"].eliminate_zeros()
    net.set_parameters(fewer)
    expected = _own_prediction(net, x)
    assert abs(net.predict(x) - expected).max() <= 1e-4 * abs(expected).max()
    empty = {"h1.weight": sp.csr_array(fewer["h1.weight"].shape, dtype=np.float32)}
    net.set_parameters(empty)
    expected = _own_prediction(net, x)
    assert abs(net.predict(x) - expected).max() <= 1e-4 * abs(expected).max()
    net.train_step(x, t)


@needs_mkl
@pytest.mark.parametrize("order", ["torch first", "torch last"])
def test_beside_pytorch(order, models, tmp_path):
    entry = driver.compile_model(models / "digits.nerva", {}, backend="mkl")
    lines = [
        "import torch; a = torch.randn(300, 300); torch.set_num_threads(2); b = a @ a",
        f"import sys; sys.path.insert(0, {str(entry)!r})\n"
        "import digits, numpy as np\n"
        "net = digits.Model(seed=1, threads=2); x = np.ones((64, 64), np.float32)\n"
        "t = np.zeros(64, int); net.fit(x, t, epochs=2)",
    ]
    if order == "torch last":
        lines.reverse()
    code = "\n".join([*lines, lines[0], "net.fit(x, t, epochs=2)", "print('done')"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr


def test_without_mkl_auto_is_native(models, monkeypatch):
    monkeypatch.setattr(mkl_module, "find_mkl", lambda: None)
    generated = driver.emit_c(models / "digits_dense.nerva")
    assert not generated.uses_mkl
    assert generated.spec["backend"] == "native"
    assert not any(k["kernel"].startswith(MKL_PREFIX) for k in generated.spec["kernels"])


def test_without_mkl_its_backend_says_what_to_install(models, monkeypatch):
    monkeypatch.setattr(build_module, "find_mkl", lambda: None)
    with pytest.raises(ToolchainError, match="pip install mkl mkl-include"):
        driver.compile_model(models / "digits.nerva", {"density": 0.0917}, backend="mkl")
    assert driver.emit_c(models / "digits.nerva", backend="mkl").uses_mkl  # renders all the same


def test_auto_takes_mkl_where_its_dense_product_is_faster(models, monkeypatch):
    monkeypatch.setattr(mkl_module, "find_mkl", object)
    monkeypatch.setattr(Target, "machine", Machine(mkl_multiply=0.0))
    for name, kernels in (
        ("digits", set()),
        ("digits_dense", {"mkl_gemm", "mkl_gemm_transposed", "mkl_gemm_gradient"}),
    ):
        spec = driver.emit_c(models / f"{name}.nerva").spec
        found = {k["kernel"] for k in spec["kernels"]}
        assert {kernel for kernel in found if kernel.startswith(MKL_PREFIX)} == kernels


@pytest.mark.parametrize("name", ["digits", "digits_dense"])
def test_c_with_mkl(name, request, models, monkeypatch):
    monkeypatch.chdir(models.parent)
    model = check(Path("models") / f"{name}.nerva", {}).model
    generated = emit_model(model, backend="mkl", target="x86-64-v4")
    refresh = request.config.getoption("refresh")
    golden.compare(f"{name}/c-mkl", {f"{name}.c": generated.c_source}, refresh=refresh)


def test_nothing_is_made_in_a_step(models):
    """Handles come with a pattern: the calls that make them stand in one place."""
    text = driver.emit_c(models / "digits.nerva", backend="mkl").c_source
    assert text.count("_create_csr(") == 1
    assert text.count("make_handles(") == 3  # its definition, and both calls in nerva_index
    assert "mkl_sparse_optimize(" not in text
    body = text[text.index("static void step(") :]
    assert "alloc" not in body
    assert "make_handles" not in body
