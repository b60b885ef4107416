"""`nervac explain --prelude`: pages on what the language comes with, beside PyTorch and NumPy."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from generate.functions import PRELUDE as FUNCTIONS
from generate.losses import LOSSES
from nerva_dsl.check import attempt, check_source
from nerva_dsl.check.initialisers import OPTIONS
from nerva_dsl.check.prelude import prelude
from nerva_dsl.cli.app import app
from nerva_dsl.cli.prelude import page
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.reference.curves import features, picture
from nerva_dsl.reference.entries import BUILT_IN_FUNCTIONS, PLURALS, entries
from nerva_dsl.reference.slopes import FEATURES, function_slopes, loss_model, loss_slope, update
from nerva_dsl.scalar import without_stated
from nerva_dsl.scalar.evaluate import evaluate
from nerva_dsl.source import Source

ENTRIES = list(entries())
DOCUMENTED = (Path(__file__).parents[1] / "docs" / "language.md").read_text(encoding="utf-8")


def of_kind(kind):
    return [entry for entry in ENTRIES if entry.kind == kind]


@pytest.fixture
def explain():
    def run(*arguments, status=0):
        done = CliRunner().invoke(app, ["explain", "--prelude", *arguments])
        assert done.exit_code == status, done.output
        return done

    return run


def test_all_that_there_is():
    scope = prelude()
    for kind, table in scope.tables().items():
        names = [entry.name for entry in of_kind(kind) if entry.defined is not None]
        assert sorted(names) == sorted(table)
    built_in = [entry.name for entry in of_kind("function") if entry.defined is None]
    assert built_in == list(BUILT_IN_FUNCTIONS)
    assert [entry.name for entry in of_kind("initialiser")] == list(OPTIONS)
    assert list(PLURALS) == list(dict.fromkeys(entry.kind for entry in ENTRIES))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind} {entry.name}")
def test_the_language_page_says_the_same(entry):
    escaped = entry.formula.replace("|", "\\|")
    assert f"| `{entry.signature}` | {escaped} |" in DOCUMENTED


def test_the_list(explain):
    text = explain().stdout
    for entry in ENTRIES:
        lines = (
            "\n" + " " * 2 + re.escape(entry.signature) + r"\s+" + re.escape(entry.formula) + "\n"
        )
        assert re.search(lines, text), entry.name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("relu", ["# `relu(x)`: a function", "function relu_slope(x) = if x > 0 then 1 else 0"]),
        ("sigmoid", ["sigmoid_slope(x) = sigmoid(x) * (1 - sigmoid(x))"]),
        ("tanh", ["A primitive of the language.", "tanh_slope(x) = 1 - tanh(x) * tanh(x)"]),
        ("srelu", ["Derivatives, also by what is learned", "srelu_slope_by_tl(x; al = 0, tl = 0"]),
        ("squared_error", ["gradient = 2 * (y - t)", "Formula: Σ (y − t)²", "y, for t = 1"]),
        ("mean_squared_error", ["of 4 features:", "gradient = 0.5 * (y - t)"]),
        ("softmax_cross_entropy", ["- softmax(y) * sum(if t == 0 then 0 else -t)"]),
        ("adam", ["an optimizer", "State beside each weight: m, v", "Source: Kingma & Ba, ICLR"]),
        ("sgd", ["State beside each weight: none", "w = w - lr * g", "under sgd, lr = 0.1"]),
        ("multistep", ["a schedule", "milestones = [15, 25] in 30 epochs", "count(milestones <="]),
        (
            "he",
            ["an initialiser", "weights = he()", "Source: He et al.", "256 inputs, 128 outputs"],
        ),
        ("zero", ["Formula: 0"]),
    ],
)
def test_a_page(explain, name, parts):
    text = explain(name).stdout
    for part in parts:
        assert part in text
    assert ("│" in text) == (name != "zero")


def test_without_plotext(explain, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "plotext" else find(name)
    )
    (entry,) = (entry for entry in ENTRIES if entry.name == "gelu")
    said = "\nA plot needs plotext: pip install 'nervac[plot]'\n"
    assert explain("gelu").stdout == page(entry) + said


def test_other_words(explain):
    assert "did you mean `relu`?" in explain("rellu", status=2).stderr
    assert "did you mean `silu`?" in explain("swish", status=2).stderr
    assert "`--prelude` alone lists them" in explain("qqq", status=2).stderr
    assert "one of FILE, --code and --prelude" in explain("relu", "x.nerva", status=2).stderr


# --- What is said is so --------------------------------------------------------------------------

SLOPES = [
    text for entry in of_kind("function") for _, text in function_slopes(entry.name, entry.defined)
]


@pytest.mark.parametrize(
    "function", FUNCTIONS, ids=[function.text.format("x") for function in FUNCTIONS]
)
def test_the_slopes_are_those_of_pytorch(function):
    scope = attempt(Source("slopes.nerva", "".join(SLOPES))).scope
    name, _, given = function.text.partition("(")
    x = torch.linspace(-3, 3, 301, dtype=torch.float64)[1::2] + 0.0037  # off the kinks
    signature = [*(option.name for option in scope.functions[f"{name}_slope"].options)]
    options = {o.name: o.default for o in scope.functions[f"{name}_slope"].options}
    words = [word for word in given[:-1].split(", ")[1:] if word]
    for place, word in enumerate(words):
        key, equals, value = word.rpartition(" = ")
        options[key if equals else signature[place]] = float(value)
    learned = {
        key: torch.tensor(float(options[key]), dtype=torch.float64, requires_grad=True)
        for key in function.learned
    }
    x.requires_grad_(True)
    value = function.twin(x, *learned.values())
    for key, by in {"": x, **{f"_by_{key}": each for key, each in learned.items()}}.items():
        (expected,) = torch.autograd.grad(value.sum(), by, retain_graph=True)
        body = without_stated(scope.functions[f"{name}_slope{key}"].body)
        found = evaluate(body, {"x": x.detach().numpy(), **options}, np.float64)
        found = np.broadcast_to(found, x.shape)
        found = found if key == "" else found.sum()
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [entry.name for entry in of_kind("loss")])
def test_the_gradients_are_those_of_pytorch(name):
    """The features of a gradient are read by losses of them, one after the other."""
    loss = next(loss for loss in LOSSES if loss.text.partition("(")[0] == name)
    y = torch.tensor([[0.3, 0.15, 0.4, 0.15]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    value = loss.twin(y, t)
    value.sum().backward()
    own = loss_model(name, FEATURES).model.loss
    assert features(own, y[0].tolist(), t[0].tolist()) == pytest.approx(value.tolist())
    gradient = loss_slope(name).partition("=")[2].strip()
    text = "".join(
        f"loss {name}_{power}(y, t) = sum(({' '.join(gradient.split())}) ^ {power})\n"
        for power in range(1, FEATURES + 1)
    )
    expected = [float((y.grad**power).sum()) for power in range(1, FEATURES + 1)]
    found = []
    for power in range(1, FEATURES + 1):
        model = check_source(
            Source(
                "gradient.nerva",
                f"model gradient\ninput x : float32[1]\ntarget t : float32[{FEATURES}]\n{text}"
                "loss sum_of(y, t) = sum(y)\n"  # `sign` alone has nothing to learn
                f"y = linear(x, {FEATURES})\noutput = y\n"
                f"loss = {name}_{power}(y, t) + sum_of(y, t)\n",
            )
        ).model
        (together,) = features(model.loss, y[0].tolist(), t[0].tolist())
        found.append(together - sum(y[0].tolist()))
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("entry", of_kind("optimizer"), ids=lambda entry: entry.name)
def test_an_update_is_the_definition(entry):
    """Simplified, it is an optimizer still: as a definition it does the same."""
    text = update(entry.defined).replace(f"optimizer {entry.name}(", "optimizer again(")
    again = attempt(Source("again.nerva", text)).scope.optimizers["again"]
    assert format_source(Source("again.nerva", text)) == text
    known = {"w": 0.7, "g": -0.3, "lr": 0.1, "step": 3.0, **dict.fromkeys(("m", "v", "total"), 0.2)}
    known |= {f"option {option.name}": float(option.default) for option in again.options}
    for (name, expected), (_, found) in zip(
        entry.defined.assignments, again.assignments, strict=True
    ):
        values = [float(evaluate(body, known, np.float64)) for body in (expected, found)]
        assert values[0] == pytest.approx(values[1], rel=1e-14), name


def curve(name, kind, place=0):
    (entry,) = (entry for entry in of_kind(kind) if entry.name == name)
    return np.array(picture(entry).curves[place].points).T


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind} {entry.name}")
def test_a_picture_has_points(entry):
    drawn = picture(entry)
    assert (drawn is None) == (entry.name == "zero")
    for line in drawn.curves if drawn else ():
        assert len(line.points) > 20
        assert np.isfinite(line.points).all()
        assert len(drawn.title) < 76


def test_pictures_show_what_they_say():
    x, y = curve("gelu", "function")
    np.testing.assert_allclose(y, x * stats.norm.cdf(x), rtol=1e-12)
    x, y = curve("softplus", "function", 1)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-12)
    x, y = curve("softmax_cross_entropy", "loss")
    np.testing.assert_allclose(y, np.log1p(np.exp(-x)), rtol=1e-12)
    epoch, rate = curve("time_based", "schedule")
    np.testing.assert_allclose(rate, 0.1 / np.cumprod(1 + 0.01 * epoch), rtol=1e-12)
    epoch, rate = curve("multistep", "schedule")
    np.testing.assert_allclose(rate, np.select([epoch < 15, epoch < 25], [0.1, 0.01], 0.001))
    _, w = curve("momentum", "optimizer")
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    for expected in w:
        assert weight.item() == pytest.approx(expected, rel=1e-12)
        descent.zero_grad()
        (weight**2 / 2).sum().backward()
        descent.step()
    for name, std in (("he", np.sqrt(2 / 256)), ("xavier", 1 / 16 / np.sqrt(3)), ("normal", 0.05)):
        at, density = curve(name, "initialiser")
        assert np.trapezoid(density, at) == pytest.approx(1, rel=0.01)
        assert np.trapezoid(density * at**2, at) == pytest.approx(std**2, rel=0.02)
