"""What compiled models promise: the same bits on any number of threads and after resuming, no NaN
from the padding, memory in proportion to the non-zeros, and PyTorch's optimizers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F

import nerva_dsl
import twins
from nerva_dsl.check import check, check_source
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.source import Source
from oracle import compiled, needs_mkl

MODELS = sorted(twins.TWINS)


def _bits(net):
    return {
        name: (value.data if sp.issparse(value) else value).tobytes()
        for name, value in net.parameters().items()
    }


def _train(net, x, t, steps):
    for step in range(steps):
        rows = slice(step * 7, step * 7 + net._spec["batch"] - step % 3)
        net.train_step(x[rows], None if t is None else t[rows], lr=0.05)


@pytest.mark.parametrize("backend", ["auto", pytest.param("mkl", marks=needs_mkl), "native"])
@pytest.mark.parametrize("name", MODELS)
def test_same_bits_on_any_number_of_threads(name, backend, models):
    module = nerva_dsl.compile(models / f"{name}.nerva", backend=backend)
    x, t = twins.TWINS[name].data(np.random.default_rng(1), 200)
    nets = [module.Model(seed=3, threads=threads) for threads in (1, 2, 3, 2)]
    for net in nets:
        _train(net, x, t, 10)
    assert all(_bits(net) == _bits(nets[0]) for net in nets[1:])
    outputs = [net.predict(x).tobytes() for net in nets]
    assert len(set(outputs)) == 1
    assert len({net.evaluate(x, t)["loss"] for net in nets}) == 1


@pytest.mark.parametrize("name", MODELS)
def test_resuming_in_a_new_process(name, models, tmp_path):
    """Ten steps, save, load elsewhere, ten steps: the same as twenty."""
    module = nerva_dsl.compile(models / f"{name}.nerva")
    x, t = twins.TWINS[name].data(np.random.default_rng(2), 20 * module.SPEC["batch"])
    half = len(x) // 2
    first = module.Model(seed=4)
    first.train_epoch(x[:half], None if t is None else t[:half])
    first.save(tmp_path / "half.npz")
    first.train_epoch(x[half:], None if t is None else t[half:])
    assert first.step == 20
    np.savez(tmp_path / "data.npz", **({"x": x[half:]} | ({} if t is None else {"t": t[half:]})))
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from nerva_dsl.runtime.loading import load_module\n"
        "module = load_module(Path(sys.argv[1])); data = np.load('data.npz')\n"
        "net = module.Model.load('half.npz', threads=1)\n"
        "net.train_epoch(data['x'], data['t'] if 't' in data else None)\n"
        "net.save('whole.npz')"
    )
    subprocess.run([sys.executable, "-c", code, module.__file__], cwd=tmp_path, check=True)
    second = module.Model.load(tmp_path / "whole.npz")
    assert _bits(second) == _bits(first)
    first.save(tmp_path / "uninterrupted.npz")
    with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "uninterrupted.npz") as two:
        assert set(one.files) == set(two.files)
        assert all(one[key].tobytes() == two[key].tobytes() for key in one.files)


INVERSE = """
model inverse
input x : float32[6]
target t : class[3]
function inverse(x) = 1 / x
h = inverse(linear(x, 20, density = 0.5))
g = inverse(linear(h, 20))
y = linear(g, 3)
output = y
loss = softmax_cross_entropy(y, t)
train {
    batch = 32
    learning_rate = 0.001
}
"""


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_no_nan_comes_from_the_padding(precision):
    """1 / 0 in a padding lane would be infinite, and 0 times it NaN in the next product."""
    module = compiled(check_source(Source("inverse.nerva", INVERSE), {}).model, precision)
    rng = np.random.default_rng(0)
    x, t = rng.uniform(1, 2, (101, 6)), rng.integers(0, 3, 101)
    net = module.Model(seed=1)
    start = net.parameters()
    start = {k: abs(v) if sp.issparse(v) or v.ndim == 2 else v + 0.5 for k, v in start.items()}
    net.set_parameters(start)
    history = net.fit(x, t, epochs=3)
    assert np.isfinite(history.loss).all()
    assert all(np.isfinite(value).all() for value in net.predict(x))
    for value in net.parameters().values():
        assert np.isfinite(value.data if sp.issparse(value) else value).all()
    gradients = net.gradients(x[:5], t[:5])
    for value in gradients.values():
        assert np.isfinite(value.data if sp.issparse(value) else value).all()


def _peak(code: str, cwd: Path) -> int:
    """Peak resident memory of a fresh process, in bytes."""
    code += (
        "\nprint(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, check=True, capture_output=True, text=True
    )
    return 1024 * int(done.stdout.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_is_that_of_the_non_zeros(models, tmp_path):
    module = nerva_dsl.compile(models / "cifar10.nerva")
    base = "import numpy as np, scipy.sparse"
    work = (
        f"import sys; sys.path.insert(0, {str(Path(module.__file__).parent)!r})\n"
        f"{base}; import cifar10\n"
        "x = np.random.default_rng(0).integers(0, 256, (100, 3072), dtype=np.uint8)\n"
        "t = np.random.default_rng(1).integers(0, 10, 100)\n"
        "net = cifar10.Model(seed=1); net.train_step(x, t)"
    )
    assert _peak(work, tmp_path) - _peak(base, tmp_path) <= 40 * 2**20


def test_no_array_of_a_dense_layers_size(tmp_path):
    """A layer of 4 · 10⁹ weights, 40,000 of them there: its dense form would take 16 GB."""
    text = (
        "model wide\ninput x : float32[200000]\nh = linear(x, 20000, density = 0.00001)\n"
        "y = linear(h, 10, density = 0.1)\noutput = y\ntarget t : class[10]\n"
        "loss = softmax_cross_entropy(y, t)\ntrain { \n batch = 16\n }\n"
    )
    (tmp_path / "wide.nerva").write_text(text)
    module = nerva_dsl.compile(tmp_path / "wide.nerva")
    work = (
        f"import sys; sys.path.insert(0, {str(Path(module.__file__).parent)!r})\n"
        "import numpy as np, scipy.sparse, wide\n"
        "x = np.zeros((16, 200000), np.float32); t = np.zeros(16, int)\n"
        "net = wide.Model(seed=1); net.train_step(x, t); net.parameters(); net.gradients(x, t)"
    )
    assert _peak(work, tmp_path) < 200 * 2**20


OPTIMIZERS = {
    "sgd()": lambda p: torch.optim.SGD(p, lr=0.05),
    # v ← μv − lr·g and PyTorch's v ← μv + g, w ← w − lr·v agree at a constant learning rate.
    "momentum(0.8)": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8),
    "nesterov(momentum = 0.9)": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twenty_steps_of_an_optimizer_are_pytorchs(optimizer):
    text = (
        "model steps\ninput x : float32[12]\ntarget t : class[4]\n"
        "h = tanh(linear(x, 16))\ny = linear(h, 4)\noutput = y\n"
        "loss = softmax_cross_entropy(y, t)\n"
        f"train {{\n    batch = 20\n    optimizer = {optimizer}\n}}\n"
    )
    model = check_source(Source("steps.nerva", text), {}).model
    module = compiled(model, "float64")
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(400, 12)), rng.integers(0, 4, 400)
    net = module.Model(seed=1)
    p = {k: torch.tensor(v, requires_grad=True) for k, v in net.parameters().items()}
    theirs = OPTIMIZERS[optimizer](list(p.values()))
    for start in range(0, 400, 20):
        batch, labels = x[start : start + 20], t[start : start + 20]
        net.train_step(batch, labels, lr=0.05)
        theirs.zero_grad()
        hidden = torch.tanh(F.linear(torch.tensor(batch), p["h.weight"], p["h.bias"]))
        output = F.linear(hidden, p["y.weight"], p["y.bias"])
        F.cross_entropy(output, torch.tensor(labels)).backward()
        theirs.step()
    for name, value in net.parameters().items():
        expected = p[name].detach().numpy()
        assert abs(value - expected).max() <= 1e-9 * abs(expected).max(), name


def test_learning_rate_schedule_is_pytorchs(models):
    """multistep against torch.optim.lr_scheduler.MultiStepLR, epoch by epoch."""
    module = nerva_dsl.compile(models / "cifar10.nerva")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[50, 75], gamma=0.1)
    lib = module.Model._extension.lib
    for epoch in range(100):
        assert lib.nerva_learning_rate(epoch, 100, 1) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3"])
def test_narrower_vectors_compute_the_same(target, models):
    """Code for older processors, run on this one."""
    from nerva_dsl.driver import emit_model

    model = check(models / "residual.nerva", {}).model
    x, t = twins.TWINS["residual"].data(np.random.default_rng(3), 32)
    wide = load_module(build(emit_model(model), resolve_target("native"))).Model(seed=1)
    narrow = load_module(build(emit_model(model, target=target), resolve_target(target))).Model(
        seed=1
    )
    for name, value in wide.gradients(x, t).items():
        other = narrow.gradients(x, t)[name]
        error = abs(value - other).max()
        assert error <= 1e-5 * abs(value).max(), name
