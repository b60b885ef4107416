"""Training from the command line: runs, resuming, Ctrl-C, evaluating, predicting, bad input."""

import contextlib
import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from nerva_dsl.cli.app import app

NERVAC = [sys.executable, "-c", "from nerva_dsl.cli import main; main()"]

MODEL = """\
model small
param width = 8
input  x : float32[4]
target t : class[3]
sparsity = uniform(0.5)
h = relu(linear(x, width))
y = linear(h, 3)
output = y
loss   = softmax_cross_entropy(y, t)
train { batch = 10; epochs = 3; learning_rate = 0.05 }
"""

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


@pytest.fixture
def folder(tmp_path):
    """A folder with a model and its data: three classes that can be told apart."""
    (tmp_path / "small.nerva").write_text(MODEL)
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 100)
    inputs = (random.normal(size=(100, 4)) + 3 * labels[:, None]).astype(np.float32)
    np.savez(tmp_path / "data.npz", Xtrain=inputs, Ttrain=labels)
    return tmp_path


@pytest.fixture
def nervac(folder, monkeypatch):
    """Run `nervac` in the folder; checks the exit status and that there is no traceback."""
    monkeypatch.chdir(folder)

    def run(*arguments, status=0):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def run(folder, nervac):
    """A finished run."""
    nervac("train", "small.nerva", "--data", "data.npz", "-o", "run")
    return folder / "run"


def events(output):
    return [json.loads(line) for line in output.splitlines()]


def metrics(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(first, second):
    with np.load(first / "weights.npz") as a, np.load(second / "weights.npz") as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def test_a_run_directory(folder, nervac):
    done = nervac("train", "small.nerva", "--data", "data.npz", "-D", "width=6", "--seed", 7)
    run = folder / "runs" / "small-1"
    assert (run / "model.nerva").read_text() == MODEL
    content = json.loads((run / "run.json").read_text())
    assert content["model"] == "small"
    assert content["status"] == "finished"
    settings = content["settings"]
    assert settings["overrides"] == {"width": "6"}
    assert settings["seed"] == 7
    assert settings["epochs"] == 3
    assert settings["data"] == str(folder / "data.npz")
    assert settings["backend"] == "native"
    assert {"nervac", "numpy", "scipy", "python"} <= set(content["versions"])
    assert content["machine"]["cores"] >= 1
    rows = metrics(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["val_accuracy"]) <= 1 for row in rows)
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) == [
        "metrics.csv",
        "model.nerva",
        "run.json",
        "weights.npz",
    ]
    lines = done.stdout.splitlines()
    assert "layer h: 6 × 4, density 0.5, 12 non-zeros" in lines
    assert re.fullmatch(r"test accuracy \d\.\d+ after 3 epochs, in runs/small-1", lines[-1])
    assert len([line for line in lines if line.startswith("epoch ")]) == 3


def test_runs_are_numbered(folder, nervac):
    (folder / "runs" / "small-4").mkdir(parents=True)
    (folder / "runs" / "small-x").mkdir(parents=True)
    nervac("train", "small.nerva", "--data", "data.npz", "--epochs", 1)
    assert (folder / "runs" / "small-5" / "run.json").exists()


def test_json_lines(nervac):
    done = nervac("train", "small.nerva", "--data", "data.npz", "--json", "--epochs", 2)
    start, *epochs, end = events(done.stdout)
    assert start["event"] == "start"
    assert start["model"] == "small"
    assert start["epochs"] == 2
    assert start["samples"] == 80
    assert start["test_samples"] == 20
    assert [layer["name"] for layer in start["layers"]] == ["h", "y"]
    assert [event["event"] for event in epochs] == ["epoch", "epoch"]
    keys = ["epoch", "loss", "lr", "seconds", "accuracy", "val_loss", "val_accuracy"]
    assert list(epochs[0]) == ["event", *keys]
    assert end["event"] == "end"
    assert end["status"] == "finished"
    assert end["accuracy"] == epochs[-1]["val_accuracy"]
    assert done.stderr == ""


def test_errors_in_json(folder, nervac):
    done = nervac("train", "small.nerva", "--data", "none.npz", "--json", status=1)
    (event,) = events(done.stdout)
    assert event["event"] == "error"
    assert event["status"] == 1
    assert "none.npz" in event["message"]
    assert "none.npz" in done.stderr
    assert not (folder / "runs").exists()


def test_the_same_seed_gives_the_same_bits(folder, nervac):
    for name, options in (("a", []), ("b", ["--threads", 1]), ("c", ["--seed", 2])):
        nervac("train", "small.nerva", "--data", "data.npz", "-o", name, *options)
    assert_same_weights(folder / "a", folder / "b")
    with pytest.raises(AssertionError):
        assert_same_weights(folder / "a", folder / "c")


def test_epochs_can_be_added(folder, nervac, run):
    nervac("train", "--resume", "run", "--epochs", 2)
    nervac("train", "small.nerva", "--data", "data.npz", "-o", "whole", "--epochs", 5)
    assert_same_weights(run, folder / "whole")
    ours, theirs = metrics(run), metrics(folder / "whole")
    assert [row["epoch"] for row in ours] == ["1", "2", "3", "4", "5"]
    for row, other in zip(ours, theirs, strict=True):
        assert row | {"seconds": ""} == other | {"seconds": ""}
    assert json.loads((run / "run.json").read_text())["settings"]["epochs"] == 5


def test_a_finished_run_has_nothing_to_resume(nervac, run):
    before = (run / "metrics.csv").read_text()
    done = nervac("train", "--resume", "run", "--json")
    assert [event["event"] for event in events(done.stdout)] == ["start", "end"]
    assert (run / "metrics.csv").read_text() == before


def test_metrics_beyond_the_checkpoint_are_cut(nervac, run):
    before = (run / "metrics.csv").read_text()
    with (run / "metrics.csv").open("a") as file:
        file.write("4,0.5,0.1,0.2,0.9,0.4,0.9\n5,0.")  # as a killed process leaves it
    nervac("train", "--resume", "run")
    assert (run / "metrics.csv").read_text() == before


def test_a_model_without_target(folder, nervac):
    text = MODEL.replace("target t : class[3]\n", "").replace("linear(h, 3)", "linear(h, 4)")
    text = text.replace("softmax_cross_entropy(y, t)", "squared_error(y, x)")
    text = text.replace("0.05", "0.0005")
    (folder / "auto.nerva").write_text(text)
    done = nervac("train", "auto.nerva", "--data", "data.npz", "-o", "auto")
    assert re.match(r"test loss [\d.]+ after 3 epochs", done.stdout.splitlines()[-1])
    assert metrics(folder / "auto")[0]["val_accuracy"] == ""


def test_a_loss_that_is_not_finite(folder, nervac):
    text = MODEL.replace("learning_rate = 0.05", "learning_rate = 1e30")
    (folder / "small.nerva").write_text(text.replace("relu(", "("))
    done = nervac("train", "small.nerva", "--data", "data.npz", "--json", "-o", "run", status=1)
    assert events(done.stdout)[-1]["event"] == "error"
    assert "epoch" in done.stderr
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "failed"


def test_evaluate(folder, nervac, run):
    text = nervac("evaluate", "run").stdout
    assert "small after 3 epochs, 20 test samples" in text
    assert "accuracy " in text
    (result,) = events(nervac("evaluate", run, "--json").stdout)
    assert result["accuracy"] == float(metrics(run)[-1]["val_accuracy"])
    assert result["loss"] == float(metrics(run)[-1]["val_loss"])
    with np.load(folder / "data.npz") as data:
        np.savez(
            folder / "other.npz",
            **{"X_train": data["Xtrain"], "y_train": data["Ttrain"]},
            **{"X_test": data["Xtrain"], "y_test": data["Ttrain"]},
        )
    (result,) = events(nervac("evaluate", run, "--json", "--data", "other.npz").stdout)
    assert result["samples"] == 100


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_predict(folder, nervac, dtype):
    nervac("train", "small.nerva", "--data", "data.npz", "-o", "run", "--epochs", 1)
    np.save(folder / "in.npy", np.arange(28).reshape(7, 4).astype(dtype))
    done = nervac("predict", "run", "in.npy", "-o", "deep/out.npy")
    outputs = np.load(folder / "deep" / "out.npy")
    assert outputs.shape == (7, 3)
    assert outputs.dtype == np.float32
    assert "7 rows of 3" in done.stdout


def test_samples_that_cannot_be_predicted(folder, nervac, run):
    def refused(*expected):
        done = nervac("predict", run, "in.npy", "-o", "out.npy", status=1)
        for part in expected:
            assert part in done.stderr
        assert not (folder / "out.npy").exists()

    refused("in.npy", "o such file")
    np.save(folder / "in.npy", np.ones((2, 5), np.float32))
    refused("in.npy", "[n, 4]", "[2, 5]")
    np.save(folder / "in.npy", np.array([[1, 2, np.nan, 4]], np.float32))
    refused("in.npy", "row 0", "feature 2")
    np.save(folder / "in.npy", np.array(["a"]))
    refused("in.npy")
    np.save(folder / "in.npy", np.float32(1))
    refused("in.npy", "[n, 4]")
    np.save(folder / "in.npy", np.array([{}], object), allow_pickle=True)
    refused("Python objects")
    (folder / "in.npy").write_bytes(b"\x93NUMPY")
    refused("not a .npy file")
    (folder / "in.npy").write_bytes((folder / "data.npz").read_bytes())
    refused("archive of several arrays")


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        ([], 2, "a FILE to train is missing"),
        (["--resume", "run", "small.nerva"], 2, "leave the FILE out"),
        (["--resume", "run", "--seed", "2"], 2, "--seed cannot change"),
        (["--resume", "run", "-D", "width=2"], 2, "-D cannot change"),
        (["--resume", "run", "-o", "x"], 2, "--output cannot change"),
        (["--resume", "run", "--target", "native"], 2, "--target cannot change"),
        (["--resume", "nowhere"], 1, "there is no run directory nowhere"),
        (["--resume", "small.nerva"], 1, "is not a run directory"),
        (["--resume", "."], 1, "is not a run directory"),
        (["small.nerva"], 1, "this model has 4 inputs"),
        (["small.nerva", "--data", "digits"], 1, "[1797, 64]"),
        (["small.nerva", "--data", "digts"], 1, "did you mean `digits`"),
        (["small.nerva", "--data", "data.npz", "-o", "."], 1, "is not empty"),
        (["small.nerva", "--data", "data.npz", "-o", "small.nerva"], 1, "small.nerva"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_trained(nervac, arguments, status, expected):
    assert expected in nervac("train", *arguments, status=status).stderr


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("run.json", "{", "run.json is damaged"),
        ("run.json", "{}", "run.json is damaged"),
        ("run.json", '{"format": 99}', "another version"),
        ("weights.npz", "", "weights.npz"),
        ("weights.npz", "PK", "weights.npz"),
        ("model.nerva", "model small", "model.nerva"),
    ],
)
def test_damaged_runs(nervac, run, file, content, expected):
    (run / file).write_text(content)
    for arguments in (("train", "--resume", "run"), ("evaluate", "run")):
        assert expected in nervac(*arguments, status=1).stderr


@pytest.mark.parametrize("file", ["run.json", "weights.npz", "model.nerva"])
def test_incomplete_runs(nervac, run, file):
    (run / file).unlink()
    for arguments in (("train", "--resume", "run"), ("evaluate", "run")):
        assert f"no {file}" in nervac(*arguments, status=1).stderr


def test_a_run_goes_on_with_its_own_data_only(folder, nervac, run):
    with np.load(folder / "data.npz") as data:
        inputs, labels = data["Xtrain"], data["Ttrain"]
    (folder / "data.npz").rename(folder / "moved.npz")
    assert "there is no file" in nervac("train", "--resume", run, status=1).stderr
    nervac("train", "--resume", run, "--data", "moved.npz", "--epochs", 1)
    inputs[0, 0] += 1
    np.savez(folder / "moved.npz", Xtrain=inputs, Ttrain=labels)
    done = nervac("train", "--resume", run, status=1)
    assert "other data" in done.stderr


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
        done = command("train", "--resume", "run", cwd=long, status=1)
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
