"""`nervac train --plot`: which pictures a run makes, and what is in them."""

import importlib.util
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from nerva_dsl.check import check_source
from nerva_dsl.cli.app import app
from nerva_dsl.cli.plots import weights_on_the_input
from nerva_dsl.runtime import plots
from nerva_dsl.runtime.model import Model
from nerva_dsl.source import Source

MODEL = """\
model small
input  x : uint8[12]
target t : class[3]
sparsity = uniform(0.5)
h = relu(linear(x / 255, 8))
y = linear(h, 3)
output = y
loss   = softmax_cross_entropy(y, t)
train { batch = 10; epochs = 2; learning_rate = 0.05 }
"""
ROW = {"epoch": 1, "loss": 2.0, "accuracy": 0.5, "val_loss": 3.0, "val_accuracy": 0.25}
ROWS = [{**ROW, "churn": None}, {**ROW, "epoch": 2, "loss": 1.0, "churn": None}]
CURVES, INPUTS = ["curves.png", "curves.svg"], ["inputs.png", "inputs.svg"]


@pytest.fixture
def nervac(tmp_path, monkeypatch):
    """Run `nervac train` in a folder with a model and images to train it on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.nerva").write_text(MODEL)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 4, 3), np.uint8)
    np.savez(tmp_path / "data.npz", Xtrain=images, Ttrain=random.integers(0, 3, 60))

    def run(*arguments, status=0):
        done = CliRunner().invoke(app, ["train", *map(str, arguments)])
        assert done.exit_code == status, done.output
        return done

    return run


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is drawn."""
    drawn = {}
    save = plots._save

    def remember(figure, folder, name):
        drawn[name] = figure
        return save(figure, folder, name)

    monkeypatch.setattr(plots, "_save", remember)
    return drawn


def panels(figure):
    """The axes by their titles, without the scales of colours."""
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def pictures(folder):
    """The names of the pictures in a folder, each of which can be read."""
    for file in folder.glob("*.png"):
        assert imread(file).std() > 0
    for file in folder.glob("*.svg"):
        assert ET.parse(file).getroot().tag.endswith("svg")
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".png", ".svg"))


def test_a_run_is_drawn(nervac, tmp_path, figures):
    done = nervac("small.nerva", "--data", "data.npz", "-o", "run", "--plot")
    run = tmp_path / "run"
    assert pictures(run) == [*CURVES, *INPUTS]
    assert "drawn: run/curves.png, run/curves.svg, run/inputs.png, run/inputs.svg\n" in done.stdout
    with np.load(run / "weights.npz") as weights:
        column = weights["h.weight:column"]
    image = panels(figures["inputs"])["h.weight"].images[0].get_array()
    np.testing.assert_array_equal(image, np.bincount(column, minlength=12).reshape(4, 3))

    done = nervac("--resume", run, "--epochs", 1, "--plot", "--json")
    end = json.loads(done.stdout.splitlines()[-1])
    assert end["plots"] == [str(run / name) for name in [*CURVES, *INPUTS]]
    loss = panels(figures["curves"])["loss"]
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert figures["curves"].get_suptitle() == "small after 3 epochs"


def test_without_matplotlib_nothing_is_trained(nervac, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    monkeypatch.setattr(Model, "fit", None)
    done = nervac("small.nerva", "--data", "data.npz", "-o", "run", "--plot", status=3)
    assert done.stderr == "error: --plot needs matplotlib: pip install 'nervac[plot]'\n"
    assert not (tmp_path / "run").exists()


def test_curves(tmp_path, figures):
    plots.draw_curves(tmp_path, "small", ROWS)
    drawn = panels(figures["curves"])
    assert list(drawn) == ["loss", "accuracy"]
    training, test = drawn["loss"].lines
    assert training.get_ydata().tolist() == [2, 1]
    assert test.get_ydata().tolist() == [3, 3]

    bare = [{**row, "accuracy": None, "val_accuracy": None, "val_loss": None} for row in ROWS]
    plots.draw_curves(tmp_path, "small", bare)
    assert list(panels(figures["curves"])) == ["loss"]
    assert len(panels(figures["curves"])["loss"].lines) == 1


def test_churn_is_drawn_where_there_is_some(tmp_path, figures):
    churn = [{"h.weight": 0.25, "y.weight": 0.5}, {"h.weight": 0.125, "y.weight": 0.0}]
    rows = [{**row, "churn": moved} for row, moved in zip(ROWS, churn, strict=True)]
    plots.draw_curves(tmp_path, "small", rows)
    drawn = panels(figures["curves"])["churn: fraction of the weights that moved"]
    assert [line.get_label() for line in drawn.lines] == ["h.weight", "y.weight"]
    assert drawn.lines[0].get_ydata().tolist() == [0.25, 0.125]


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3)])
def test_a_colour_is_an_image(tmp_path, figures, shape):
    degree = np.arange(60)
    plots.draw_inputs(tmp_path, "small", {"h.weight": degree}, shape)
    drawn = panels(figures["inputs"])
    assert list(drawn) == ["h.weight, red", "h.weight, green", "h.weight, blue"]
    blue = degree.reshape(shape)[2] if shape[0] == 3 else degree.reshape(shape)[..., 2]
    np.testing.assert_array_equal(drawn["h.weight, blue"].images[0].get_array(), blue)


def test_what_is_no_image_is_a_line_a_weight(tmp_path, figures):
    degrees = {f"h{number}.weight": np.arange(5) * number for number in range(1, 5)}
    plots.draw_inputs(tmp_path, "small", degrees, (5,))
    drawn = panels(figures["inputs"])
    assert list(drawn) == list(degrees)
    assert drawn["h2.weight"].lines[0].get_ydata().tolist() == [0, 2, 4, 6, 8]


def test_the_same_run_gives_the_same_pictures(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (plots.draw_curves(tmp_path / name, "small", ROWS) for name in "ab")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ("x", 0),
        ("normalize(relu(x / 255), mean = [1, 2], std = [3, 4])", 0),
        ("dropout(batch_norm(slice(slice(x, 2, 12), 3, 7)), 0.5)", 5),
        ("tanh(x + linear(x, 12))", 0),
        ("concat(x, x)", None),
        ("softmax(x)", None),
        ("relu(linear(x, 12))", None),
    ],
)
def test_the_weights_that_read_the_input(x, expected):
    text = MODEL.replace("uint8", "float32").replace("relu(linear(x / 255, 8))", f"linear({x}, 8)")
    found = weights_on_the_input(check_source(Source("small.nerva", text), {}).model)
    assert found.get("h") == expected or found.get("h.2") == expected
    assert "y" not in found
