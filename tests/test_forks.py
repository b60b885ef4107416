"""Processes that are forked from one which has used a model, or has one at work: never a hang."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nerva_dsl.runtime import forks
from runtime_fixture.models import directory, variant

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
TESTS = Path(__file__).parent
PATIENCE = 120  # seconds; a hang is for ever

HEAD = """\
import multiprocessing, os, sys, threading, time
import numpy as np
from runtime_fixture.models import data, slow, variant
X, t = data()

def use(net):
    net.train_step(X[:5], t[:5])
    net.fit(X, t, epochs=1)
    return net.predict(X).tobytes()

def old(_):
    return use(net)

def new(_):
    return use(variant().Model(seed=1))

def attempt(function, queue):
    try:
        queue.put(function(0))
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")

def in_a_fork(function):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=attempt, args=(function, queue))
    process.start()
    result = queue.get()
    process.join()
    return result
"""


@pytest.fixture(scope="module", autouse=True)
def built():
    """Compile here, so that the processes find it."""
    variant()
    variant(delay=2_000_000)


def run(script, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", f"{HEAD}\n{script}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS), "FIXTURE_CACHE": directory(), **environment},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # with the children that hang
        process.communicate()
        raise
    assert process.returncode == 0, errors
    return output.split()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_children_of_a_process_that_has_trained(threads):
    """A model from before the fork goes on where the parent was, and one that the child makes."""
    script = """
net = variant().Model(seed=1)
fresh = use(variant().Model(seed=1))
use(net)
forked = [in_a_fork(old), in_a_fork(old)]
here = use(net)
print(forked[0] == here, forked[1] == here, in_a_fork(new) == fresh)
"""
    assert run(script, OMP_NUM_THREADS=threads) == ["True"] * 3


def test_children_of_children():
    script = """
net = variant().Model(seed=1)
use(net)
def grandchild(_):
    use(net)
    return in_a_fork(old)
expected = variant().Model(seed=1)
for _ in range(3):
    last = use(expected)
print(in_a_fork(grandchild) == last)
"""
    assert run(script) == ["True"]


def test_a_pool():
    script = """
net = variant().Model(seed=1)
use(net)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(len(set(pool.map(new, range(4)))), len(pool.map(old, range(4))))
"""
    assert run(script) == ["1", "4"]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend):
    pytest.importorskip("joblib")
    script = f"""
import joblib
def task(seed):
    import sys; from runtime_fixture.models import data, variant
    X, t = data()
    net = variant().Model(seed=seed)
    net.fit(X, t, epochs=2)
    return net.predict(X).tobytes()
here = [task(seed) for seed in range(3)]
there = joblib.Parallel(n_jobs=2, backend="{backend}")(
    joblib.delayed(task)(seed) for seed in range(3)
)
print(here == there)
"""
    assert run(script) == ["True"]


def test_a_model_that_another_thread_trains_raises_in_the_child():
    script = """
net = slow().Model(seed=1)
many, labels = np.repeat(X, 200, axis=0), np.repeat(t, 200)
stop = threading.Event()
def train():
    while not stop.is_set():
        net.fit(many, labels, epochs=1)
thread = threading.Thread(target=train)
thread.start()
def at_work():
    work = net._engine._work
    return work is not None and work.begun and not work._outcome
while not at_work():
    time.sleep(0.001)
print(in_a_fork(old).replace(" ", "_"))
print(type(in_a_fork(new)).__name__)
stop.set()
thread.join()
print(len(use(net)) > 0)
"""
    message, fresh, parent = run(script)
    assert message.startswith("RuntimeError:_the_model_was_at_work_when_this_process_was_forked")
    assert (fresh, parent) == ("bytes", "True")


def test_somebody_else_used_openmp_before_the_fork():
    """PyTorch takes the OpenMP runtime that is loaded already, which is ours."""
    pytest.importorskip("torch")
    script = """
net = variant().Model(seed=1)
import torch
torch.set_num_threads(2)
(torch.ones(600, 600) @ torch.ones(600, 600)).sum().item()
print(type(in_a_fork(old)).__name__, type(in_a_fork(new)).__name__)
"""
    assert run(script, OMP_NUM_THREADS="2") == ["bytes", "bytes"]


@pytest.mark.parametrize("setting", ["FALSE", "TRUE"])
def test_an_openmp_that_is_told_not_to_begin_anew(setting):
    """What joblib and scikit-learn tell LLVM's OpenMP; gcc's does not listen."""
    script = """
net = variant().Model(seed=1)
fresh = use(variant().Model(seed=1))
use(net)
forked = in_a_fork(old)
print(forked == use(net), in_a_fork(new) == fresh)
"""
    assert run(script, KMP_INIT_AT_FORK=setting, OMP_NUM_THREADS="2") == ["True"] * 2


@pytest.mark.parametrize(
    ("setting", "libraries", "expected"),
    [
        ("FALSE", b"r-xp /usr/lib/llvm-14/lib/libomp.so.5\n", True),
        (" 0", b"r-xp /venv/lib/libiomp5.so\n", True),
        ("FALSE", b"r-xp /usr/lib/libgomp.so.1\n", False),
        ("FALSE", None, True),
        ("TRUE", b"r-xp /usr/lib/llvm-14/lib/libomp.so.5\n", False),
        ("", b"r-xp /usr/lib/llvm-14/lib/libomp.so.5\n", False),
    ],
)
def test_when_one_thread_is_all_there_is(monkeypatch, tmp_path, setting, libraries, expected):
    monkeypatch.setenv("KMP_INIT_AT_FORK", setting)
    monkeypatch.setattr(forks, "_LIBRARIES", tmp_path / "maps")
    if libraries is not None:
        (tmp_path / "maps").write_bytes(libraries)
    forks._without_team.cache_clear()
    try:
        assert forks.alone() is False  # this process is not forked
        monkeypatch.setattr(forks, "_forked", True)
        assert forks.alone() is expected
    finally:
        forks._without_team.cache_clear()


def test_a_process_knows_that_it_was_forked_before_nervac_was_imported():
    script = (
        "import os, sys\n"
        "child = os.fork()\n"
        "from nerva_dsl.runtime.forks import forked\n"
        "if child == 0: os._exit(40 + forked())\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), forked())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    expected = "41" if sys.platform == "linux" else "40"
    assert done.stdout.split() == [expected, "False"]


def test_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(forks, "_STATUS", tmp_path / "missing")
    assert forks._system_says_forked() is False
    (tmp_path / "stat").write_bytes(b"1 (a ) b) S 0 0 0 0 0 64 0\n")
    monkeypatch.setattr(forks, "_STATUS", tmp_path / "stat")
    assert forks._system_says_forked() is True
    (tmp_path / "stat").write_bytes(b"nonsense")
    assert forks._system_says_forked() is False
