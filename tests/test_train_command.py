"""Training from the command line: runs, resuming, evaluating, predicting, bad input."""

import json
import re
import shutil

import numpy as np
import pytest
import scipy.sparse as sp
from runs import assert_same_weights, metrics
from typer.testing import CliRunner

from nerva_dsl.cli.app import app
from nerva_dsl.runtime.run_directory import METRICS

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
    assert list(epochs[0]) == ["event", *METRICS]
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


def test_evaluating_a_loss_that_is_not_finite_in_json(folder, nervac, run):
    with np.load(run / "weights.npz") as weights:
        arrays = dict(weights)
    arrays["y.weight:value"] = np.full_like(arrays["y.weight:value"], 3e38)
    np.savez(run / "weights.npz", **arrays)
    line = nervac("evaluate", run, "--json").stdout
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_a_run_that_cannot_be_begun_leaves_nothing(folder, nervac, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nerva_dsl.runtime.run_directory.RunDirectory.write", full)
    done = nervac("train", "small.nerva", "--data", "data.npz", "-o", "new", status=3)
    assert "no space left on device" in done.stderr
    assert not (folder / "new").exists()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
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
    (folder / "in.npy").write_bytes((folder / "data.npz").read_bytes()[:500])
    refused("not a .npy file")
    np.save(folder / "in.npy", np.zeros((0, 2, 2)))
    refused("at least one sample")


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        ([], 2, "a FILE to train is missing"),
        (["--resume", "run", "small.nerva"], 2, "leave the FILE out"),
        (["--resume", "run", "--seed", "2"], 2, "--seed cannot change"),
        (["--resume", "run", "-D", "width=2"], 2, "-D cannot change"),
        (["--resume", "run", "-o", "x"], 2, "--output cannot change"),
        (["--resume", "run", "--target", "native"], 2, "--target cannot change"),
        (["small.nerva", "--threads", "100000"], 2, "1<=x<=1024"),
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


def test_a_run_goes_on_when_what_its_model_reads_is_gone(folder, nervac):
    text = MODEL.replace("input  x", 'import "lib/parts.nerva"\ninput  x')
    text = text.replace("relu(linear(x, width))", 'part(x, width, file = "lib/h.npz")')
    (folder / "small.nerva").write_text(text)
    (folder / "lib").mkdir()
    (folder / "lib" / "parts.nerva").write_text(
        "layer part(x; n, file) {\n    return relu(linear(x, n, pattern = file))\n}\n"
    )
    sp.save_npz(folder / "lib" / "h.npz", sp.csr_array(np.eye(8, 4)))
    nervac("train", "small.nerva", "--data", "data.npz", "-o", "run", "--epochs", 2)
    nervac("train", "small.nerva", "--data", "data.npz", "-o", "whole", "--epochs", 3)
    shutil.rmtree(folder / "lib")
    (folder / "small.nerva").unlink()
    nervac("train", "--resume", "run", "--epochs", 1)
    nervac("evaluate", "run")
    assert_same_weights(folder / "run", folder / "whole")
    assert {path.name for path in (folder / "run").glob("*/*")} == {"parts.nerva", "h.npz"}


def test_metrics_in_numbers_and_a_table(folder, nervac):
    metric = "metric accuracy = accuracy(y, t)\nmetric confusion = confusion_matrix(y, t)\n"
    (folder / "small.nerva").write_text(MODEL.replace("train {", metric + "train {"))
    done = nervac("train", "small.nerva", "--data", "data.npz", "--json", "-o", "run")
    trained = events(done.stdout)[-1]
    (result,) = events(nervac("evaluate", "run", "--json").stdout)
    counts = np.array(result["confusion"])
    assert trained["metrics"]["confusion"] == result["confusion"]
    assert counts.shape == (3, 3)
    assert counts.sum() == result["samples"] == 20
    assert np.trace(counts) / 20 == pytest.approx(result["accuracy"])
    text = nervac("evaluate", "run").stdout
    rows = re.findall(r"^ +(\d) +(\d+) +(\d+) +(\d+)$", text, re.MULTILINE)
    assert [[int(n) for n in row] for row in rows] == [[k, *counts[k]] for k in range(3)]
