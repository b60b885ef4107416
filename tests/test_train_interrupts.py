"""Training that is broken off by Ctrl-C, a signal or a pipe, and goes on to the same bits."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import numpy as np
import pytest
from runs import NERVAC, assert_same_weights, command, metrics

# An epoch of this one takes long enough to be interrupted in the middle.
LONG_MODEL = """\
model long
input  x : float32[64]
target t : class[10]
sparsity = uniform(0.5)
h1 = relu(linear(x, 256))
h2 = relu(linear(h1, 256))
y = linear(h2, 10)
output = y
loss   = softmax_cross_entropy(y, t)
train { batch = 20; epochs = 6; learning_rate = 0.001; optimizer = momentum(0.9) }
"""
LONG_SAMPLES = 20_000


def prepare_long(folder):
    """Write a model and data that take seconds to train."""
    (folder / "long.nerva").write_text(LONG_MODEL)
    random = np.random.default_rng(0)
    np.savez(
        folder / "data.npz",
        Xtrain=random.normal(size=(LONG_SAMPLES, 64)).astype(np.float32),
        Ttrain=random.integers(0, 10, LONG_SAMPLES),
        Xtest=random.normal(size=(100, 64)).astype(np.float32),
        Ttest=random.integers(0, 10, 100),
    )


@pytest.fixture
def long(tmp_path):
    """A folder with a model and data that take seconds to train."""
    prepare_long(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of them that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    prepare_long(folder)
    command(*LONG_RUN, "-o", "whole", cwd=folder)
    return folder / "whole"


# One thread: several would wait for each other while other tests use the processors.
LONG_RUN = ["train", "long.nerva", "--data", "data.npz", "--seed", "3", "--threads", "1"]


class Terminal:
    """A `nervac` on a pseudo-terminal of its own."""

    def __init__(self, *arguments, cwd):
        master, slave = pty.openpty()
        self._master = master
        self._process = subprocess.Popen(
            [*NERVAC, *arguments],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
            preexec_fn=lambda: os.login_tty(slave),  # noqa: PLW1509 -- no threads here
        )
        os.close(slave)
        self.text = ""

    def read_until(self, expected, timeout=120):
        end = time.monotonic() + timeout
        while expected not in self.text:
            assert time.monotonic() < end, self.text
            if not self._read(0.2):
                break
        assert expected in self.text, self.text

    def send(self, keys):
        os.write(self._master, keys)

    def wait(self, timeout):
        """Exit status and the seconds it took to come."""
        start = time.monotonic()
        while self._process.poll() is None:
            assert time.monotonic() - start < timeout, self.text
            self._read(0.01)
        seconds = time.monotonic() - start
        while self._read(0.01):
            pass
        return self._process.returncode, seconds

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def _read(self, seconds):
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return self._process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal(long):
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            opened = Terminal(*arguments, cwd=long)
            stack.callback(opened.close)
            return opened

        yield start


@pytest.mark.parametrize("presses", [1, 3])
def test_ctrl_c_on_a_terminal_then_resume(long, whole, terminal, presses):
    screen = terminal(*LONG_RUN, "-o", "broken")
    screen.read_until("epoch 3/6")
    for _ in range(presses):
        screen.send(b"\x03")
        time.sleep(0.05)
    status, seconds = screen.wait(timeout=30)
    assert status == 130
    assert seconds < 3  # a second on a machine that does nothing else
    assert "nervac train --resume broken" in screen.text
    assert "\x1b[?25h" in screen.text  # the cursor is back
    assert json.loads((long / "broken" / "run.json").read_text())["status"] == "interrupted"

    screen = terminal("train", "--resume", "broken")
    status, _ = screen.wait(timeout=120)
    assert status == 0
    assert_same_weights(whole, long / "broken")
    ours, theirs = metrics(long / "broken"), metrics(whole)
    for row, other in zip(ours, theirs, strict=True):
        assert row | {"seconds": ""} == other | {"seconds": ""}


def test_a_terminal_shows_a_bar_and_a_table(terminal):
    screen = terminal(*LONG_RUN, "--epochs", "2")
    status, _ = screen.wait(timeout=120)
    assert status == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.text)
    assert "━" in text
    assert "s/epoch" in text
    assert re.search(r"h1 +256 × 64 +0\.5 +8,192", text)
    assert re.search(r"test accuracy 0\.\d+ after 2 epochs, in runs/long-1\s*$", text)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_a_signal_on_a_pipe_then_resume(long, whole, number, status):
    process = subprocess.Popen(
        [*NERVAC, *LONG_RUN, "-o", "broken"], cwd=long, stdout=subprocess.PIPE, text=True
    )
    with process:
        for line in process.stdout:
            if line.startswith("epoch 2/6"):
                process.send_signal(number)
                break
        process.stdout.read()
    assert process.returncode == status
    command("train", "--resume", "broken", cwd=long)
    assert_same_weights(whole, long / "broken")
    assert [row["epoch"] for row in metrics(long / "broken")] == list("123456")


def test_two_processes_do_not_train_one_run(long):
    process = subprocess.Popen(
        [*NERVAC, *LONG_RUN, "-o", "run"], cwd=long, stdout=subprocess.PIPE, text=True
    )
    with process:
        for line in process.stdout:
            if line.startswith("epoch 1/6"):
                break
        # It must not have finished before the other has begun.
        process.send_signal(signal.SIGSTOP)
        try:
            done = command("train", "--resume", "run", cwd=long, status=1)
        finally:
            process.send_signal(signal.SIGCONT)
        assert "is being trained by another process" in done.stderr
        process.terminate()
        process.stdout.read()
    assert process.returncode == 143


def test_a_reader_that_goes_away_leaves_a_run_to_resume(long):
    process = subprocess.Popen(
        [*NERVAC, *LONG_RUN, "-o", "run"],
        cwd=long,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("epoch 1/6"):
            break
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1
    assert json.loads((long / "run" / "run.json").read_text())["status"] == "interrupted"
    command("train", "--resume", "run", cwd=long)
