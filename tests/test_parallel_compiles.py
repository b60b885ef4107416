"""Several processes compile one file from an empty cache; some of them die in the middle."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from nerva_dsl.runtime.housekeeping import usage

MODEL = """\
model small
input  x : float32[4]
target t : class[3]
sparsity = uniform(0.5)
h = relu(linear(x, 8))
y = linear(h, 3)
output = y
loss = softmax_cross_entropy(y, t)
train {
    batch         = 10
    epochs        = 1
    learning_rate = 0.05
}
"""
SCRIPT = """\
import sys, nerva_dsl
net = nerva_dsl.compile(sys.argv[1]).Model(seed=1)
net.train_step([[1, 2, 3, 4]] * 10, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
print(net.predict([[1, 2, 3, 4]]).tobytes().hex())
"""
PROCESSES = 8


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a process that compiles, trains and predicts."""
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "small.nerva").write_text(MODEL)
    processes = []

    def run():
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, "small.nerva"],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that its compilers can be killed with it
            )
        )
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def builder(processes):
    """The process that compiles C, once there is one."""
    while True:
        for process in processes:
            if process.poll() is not None:
                return process  # too late: all have been waiting for this one
            with suppress(OSError):
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                for child in children.split():
                    if b"-fPIC" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return process
        time.sleep(0.005)


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


@pytest.mark.skipif(sys.platform != "linux", reason="looks for compilers in /proc")
def test_one_of_eight_compiles_is_killed(start, tmp_path, monkeypatch, request):
    count = request.config.getoption("--kills")
    print(f"{count} rounds of {PROCESSES} processes")
    killed = building = leftovers = 0
    span = 2.0
    for seed in range(count):
        root = tmp_path / f"cache-{seed}"
        monkeypatch.setenv("NERVAC_CACHE_DIR", str(root))
        chance = random.Random(seed)
        begin = time.perf_counter()
        processes = [start() for _ in range(PROCESSES)]
        if seed % 2:  # any of them, at any time
            victim = chance.choice(processes)
            time.sleep(chance.uniform(0, span))
        else:  # the one that the others wait for
            victim = builder(processes)
            time.sleep(chance.uniform(0, 0.2))
            building += victim.poll() is None
        # Alone, and its compilers live on; or with them.
        chance.choice((os.kill, os.killpg))(victim.pid, signal.SIGKILL)
        victim.communicate()
        killed += victim.returncode == -signal.SIGKILL
        processes.remove(victim)
        outputs = {finish(process) for process in processes}
        span = time.perf_counter() - begin  # the next one is killed within such a time
        assert len(outputs) == 1
        assert outputs == {finish(start())}  # what is in the cache now
        assert usage(root).entries == 1
        left = list((root / "building").iterdir())
        assert len(left) <= 1
        leftovers += len(left)
    print(f"killed before their end: {killed}, of them building: {building}")
    print(f"left a directory behind: {leftovers}")
