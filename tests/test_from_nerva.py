"""`nervac from-nerva`: files that equal command lines of Nerva's `mlp`.

What a file computes is compared with Nerva's algorithms, written out here in NumPy from its
specification (arXiv 2407.17437): one matrix a row a sample, gradients divided by the batch size.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import nerva_dsl
from nerva_dsl.check import check_source
from nerva_dsl.cli.app import app
from nerva_dsl.from_nerva import MlpError, translate
from nerva_dsl.from_nerva.options import ELSEWHERE, FLAGS
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.source import Source

SIZES = "--layer-sizes=20;16;12;4"
QUIET = [SIZES, "--layers=ReLU;ReLU;Linear", "--layer-weights=Xavier", "--loss=SoftmaxCrossEntropy"]


def changed(*options):
    """QUIET, with other values for some of its options."""
    names = {option.partition("=")[0] for option in options}
    return [word for word in QUIET if word.partition("=")[0] not in names] + list(options)


def statement(text, beginning):
    """What stands behind `beginning =`."""
    (line,) = (line for line in text.splitlines() if line.split() and line.split()[0] == beginning)
    return line.partition("=")[2].strip()


def train_of(*options):
    return translate(changed(*options)).text.partition("train {")[2]


@pytest.mark.parametrize(
    ("options", "key", "equal"),
    [
        ([], "h1", "relu(linear(x, 16))"),
        ([], "y", "linear(h2, 4)"),
        (["--layers=Sigmoid;Softmax;LogSoftmax"], "h1", "sigmoid(linear(x, 16))"),
        (["--layers=Sigmoid;Softmax;LogSoftmax"], "h2", "softmax(linear(h1, 12))"),
        (["--layers=hyperbolic_tangent;ReLU;Linear"], "h1", "tanh(linear(x, 16))"),
        (["--layers=AllReLU(0.3);ReLU;Linear"], "h1", "all_relu(linear(x, 16), alpha = 0.3)"),
        (
            ["--layers=LeakyReLU(alpha=.1);ReLU;Linear"],
            "h1",
            "leaky_relu(linear(x, 16), alpha = .1)",
        ),
        (["--layers=TReLU(1e-3);ReLU;Linear"], "h1", "trelu(linear(x, 16), epsilon = 1e-3)"),
        (["--layers=SReLU;SReLU(0,0,0,2);Linear"], "h1", "srelu(linear(x, 16))"),
        (["--layers=SReLU;SReLU(0,0,0,2);Linear"], "h2", "srelu(linear(h1, 12), tr = 2)"),
        (["--densities=0.5;0.25;1"], "h2", "relu(linear(h1, 12, density = 0.25))"),
        (["--densities=0.5,0.25,1"], "y", "linear(h2, 4)"),
        (["--densities=0.5"], "sparsity", "uniform(0.5)"),
        (["--overall-density=0.5"], "sparsity", "erdos_renyi(density)"),
        (["--dropouts=0.75;0;1"], "h1", "relu(linear(x, 16, drop_connect = 0.25))"),
        (["--dropouts=0.75;0;1"], "y", "linear(h2, 4)"),
        (["--layer-weights=Xavier;He;Zero"], "h2", "relu(linear(h1, 12, weights = he()))"),
        (["--layer-weights=Xavier;He;Zero"], "y", "linear(h2, 4, weights = zero())"),
        (["--layer-weights=XavierNormalized"], "y", "linear(h2, 4, weights = glorot())"),
        (["--layer-weights=Uniform"], "y", "linear(h2, 4, weights = uniform())"),
        (["--layer-weights=XavierUniform"], "y", "linear(h2, 4, weights = glorot())"),
        (["--layer-weights=Normal"], "y", "linear(h2, 4, weights = normal(mean = 0, std = 1))"),
        (
            ["--layer-weights=XavierNormal"],
            "y",
            "linear(h2, 4, weights = normal(mean = 0, std = 0.3535533905932738))",
        ),
        (
            ["--layer-weights=HeUniform"],
            "y",
            "linear(h2, 4, weights = uniform(low = -0.7071067811865476, "
            "high = 0.7071067811865476))",
        ),
        (["--loss=SquaredError", "--layers=ReLU;ReLU;Softmax"], "loss", "squared_error(y, t)"),
        (["--loss=CrossEntropy"], "loss", "cross_entropy(y, t)"),
        (["--loss=logistic-cross-entropy"], "loss", "logistic_cross_entropy(y, t)"),
        (["--loss=NegativeLogLikelihood"], "loss", "negative_log_likelihood(y, t)"),
        ([], "batch", "1"),
        ([], "epochs", "100"),
        ([], "optimizer", "gradient_descent()"),
        ([], "learning_rate", "0.01"),
        (["--batch-size=100", "--epochs", "7"], "epochs", "7"),
        (["--batch-size", "100"], "batch", "100"),
        (["--seed=123"], "seed", "123"),
        (["--no-shuffle"], "shuffle", "false"),
        (["--optimizers=Momentum(0.8)"], "optimizer", "momentum(0.8)"),
        (["--optimizers=Nesterov(mu=0.9)"], "optimizer", "nesterov(0.9)"),
        (["--optimizers=nesterov(momentum=0.9)"], "optimizer", "nesterov(0.9)"),
        (
            ["--optimizers=Nesterov(0.9);GradientDescent;Nesterov(0.9)"],
            "h2",
            "relu(linear(h1, 12, optimizer = gradient_descent()))",
        ),
        (["--learning-rate=Constant(0.1)"], "learning_rate", "constant(0.1)"),
        (["--learning-rate=TimeBased(0.1,0.01)"], "learning_rate", "time_based(0.1, decay = 0.01)"),
        (
            ["--learning-rate=StepBased(lr=0.1, drop_rate=0.5, change_rate=10)"],
            "learning_rate",
            "step_based(0.1, drop_rate = 0.5, change_rate = 10)",
        ),
        *(
            (
                [f"--learning-rate={scheduler}"],
                "learning_rate",
                "multistep(0.1, milestones = [50, 75], gamma = 0.2)",
            )
            for scheduler in (
                "MultistepLR(0.1;50,75;0.2)",
                "multistep_lr(0.1, [50, 75], 0.2)",
                "MultiStepLR(0.1, 50, 75, 0.2)",
                "MultistepLR(lr=0.1, milestones=50,75, gamma=0.2)",
            )
        ),
        (
            ["--learning-rate-scheduler=Exponential(0.1, 0.05)"],
            "learning_rate",
            "exponential(0.1, change_rate = 0.05)",
        ),
        (["--overall-density=0.5", "--prune=Magnitude(0.2)"], "prune", "magnitude(0.2)"),
        (["--overall-density=0.5", "--prune=SET(drop_fraction=0.3)"], "prune", "set(0.3)"),
        (["--overall-density=0.5", "--prune=Threshold(0)"], "prune", "threshold(0)"),
        (["--densities=0.5", "--prune=SET(0.3)", "--grow=Random"], "grow", "random()"),
        (["--densities=0.5", "--prune=SET(0.3)"], "weights", "xavier()"),
        (["--densities=0.5", "--prune=SET(0.3)", "--grow-weights=He"], "weights", "he()"),
    ],
)
def test_options_and_their_equals(options, key, equal):
    translation = translate(changed(*options))
    assert statement(translation.text, key) == equal
    assert not translation.diagnostics
    assert format_source(Source("mlp.nerva", translation.text)) == translation.text


def test_nothing_is_said_of_what_has_an_equal():
    words = changed(
        "--layers=AllReLU(0.3);SReLU;Linear",
        "--overall-density=0.5",
        "--optimizers=Nesterov(0.9)",
        "--learning-rate=MultistepLR(0.1;50,75;0.1)",
        "--epochs=100",
        "--batch-size=100",
        "--seed=1",
        "--no-shuffle",
        "--prune=SET(0.3)",
        "--grow=Random",
        "--grow-weights=Zero",
    )
    translation = translate(["python3", "../tools/mlp.py", *words])
    assert not translation.warnings
    assert not translation.diagnostics
    assert "# What Nerva's mlp trains with '--layer-sizes=20;16;12;4'" in translation.text


def test_a_density_can_be_overridden():
    translation = translate(changed("--overall-density=0.5"))
    checked = check_source(Source("mlp.nerva", translation.text), {"density": 0.1})
    assert sum(layer.nnz for layer in checked.model.layers) == 56


@pytest.mark.parametrize("names", [*ELSEWHERE, *FLAGS, ("--timer",)])
def test_what_has_no_equal_is_named(names):
    for name in names:
        words = changed(name, *(["7"] if names in ELSEWHERE else []))
        (warning,) = translate(words).warnings
        assert warning.startswith(f"{name}: ")
    assert translate(changed(f"{names[0]}=7" if names in ELSEWHERE else names[0])).warnings


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--dropouts=0.3"], "0.3 is `drop_connect = 0.7`"),
        (["--dropouts=0.3;0;0", "--densities=0.5"], "so is linear layer 1 here"),
        (["--layers=ReLU;BatchNormalization;ReLU;Linear", "--batch-size=9"], "averages over the"),
        (["--layer-weights=None"], "they are `xavier()`"),
        (["--layer-weights=PyTorch"], "biases begin at 0.01 in mlp"),
        (["--prune=SET(0.3)"], "every layer is dense"),
        (["--grow-weights=He"], "does nothing without --prune"),
        (["--learning-rate=1", "--learning-rate-scheduler=Constant(2)"], "has its own"),
        (
            [
                "--layers=SReLU;SReLU;Linear",
                "--optimizers=Momentum(0.9);Momentum(0.8);Momentum(0.9)",
            ],
            "slopes of layer 2, SReLU, have no optimizer of their own here",
        ),
        (
            ["--layer-sizes=400;300;200;10", "--overall-density=0.003"],
            "the derivative at exactly 0 is 1 in mlp",
        ),
    ],
)
def test_differences_are_named(options, part):
    (warning,) = (w for w in translate(changed(*options)).warnings if part in w)
    assert warning


def test_dropout_makes_a_layer_dense():
    """The others keep the density that they have beside it."""
    layers = [
        check_source(Source("mlp.nerva", translate(words).text)).model.layers
        for words in (
            changed("--overall-density=0.4"),
            changed("--overall-density=0.4", "--dropouts=0;0.5;0"),
        )
    ]
    before, after = [[layer.nnz for layer in each] for each in layers]
    assert (before[0], before[2]) == (after[0], after[2])
    assert (before[1] < 16 * 12, after[1]) == (True, 16 * 12)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--layer-sizes is missing, such as --layer-sizes='3072;1024;512;10'"),
        ([SIZES], "--layers is missing, such as --layers='ReLU;ReLU;Linear'"),
        (changed("--layer=ReLU"), "mlp has no option `--layer`: did you mean `--layers`?"),
        (changed("--batchsize=7"), "did you mean `--batch-size`?"),
        (changed("ReLU"), "`ReLU` behind `--loss=SoftmaxCrossEntropy` is not an option; quote"),
        (["train", *QUIET], "`train` is not an option of mlp"),
        (changed("--seed"), "--seed: expected one argument"),
        (changed("--seed=1", "--seed=2"), "--seed: given 2 times: 1 and 2"),
        (changed("--seed=-1"), "--seed: `-1` is not a whole number"),
        (changed(f"--seed={2**63}"), "--seed: a seed is below 2^63 here"),
        (changed("--seed=1\n"), "cannot be printed"),
        (changed("--help"), "`nervac from-nerva --help` helps"),
        (changed("--seed=--"), "`--` stands once, before the options of mlp"),
        (changed("--init-weights"), "--init-weights: expected one argument"),
        (changed("--info=all"), "--info: takes no value"),
        (changed("--layers=ReLU;RelU6;Linear"), "no layer `RelU6`: did you mean `ReLU`?"),
        (changed("--layers=ReLU;;Linear"), "the list `ReLU;;Linear` has an empty item"),
        (
            changed("--layers=ReLU;Linear"),
            "2 linear layers, and --layer-sizes 4 sizes, which is the",
        ),
        (changed("--layers=ReLU(1);ReLU;Linear"), "`ReLU` takes no arguments, not 1"),
        (changed("--layers=AllReLU;ReLU;Linear"), "`AllReLU(alpha)` is given no `alpha`"),
        (changed("--layers=AllReLU(beta=1);ReLU;Linear"), "`AllReLU` has no parameter `beta`"),
        (changed("--layers=AllReLU(x);ReLU;Linear"), "--layers: `x` is not a number"),
        (changed("--layers=SReLU(al=1,2);ReLU;Linear"), "`2` has no name, as the other arguments"),
        (changed("--layers=SReLU(al=1,al=2);ReLU;Linear"), "`SReLU` is given `al` twice"),
        (changed("--layers=ReLU(;ReLU;Linear"), "is not of the form `Name` or `Name(argument, …)`"),
        (
            changed("--layers=ReLU;BatchNormalization;ReLU;Linear"),
            "--batch-size 1 is what mlp takes",
        ),
        (changed("--layer-sizes=20"), "is not the number of inputs and of the outputs"),
        (changed("--densities=0.5;0.5"), "--densities: 2 for 3 linear layers"),
        (changed("--densities=5"), "a density is above 0 and at most 1, not 5"),
        (changed("--densities=0.5", "--overall-density=0.5"), "contradict each other"),
        (changed("--cifar10=a", "--mnist=b"), "contradict each other"),
        (changed("--cifar10=data"), "--cifar10 has 3072 inputs, and --layer-sizes begins with 20"),
        (changed("--dropouts=2"), "--dropouts: `2` is not from 0 to 1"),
        (changed("--layer-weights=Xavir"), "no weights `Xavir`: did you mean `Xavier`?"),
        (changed("--optimizers=Adam"), "no optimizer `Adam`: it has `GradientDescent`, `Momentum`"),
        (changed("--optimizers=Nesterov"), "`Nesterov(momentum)` is given no `momentum`"),
        (changed("--loss=Hinge"), "no loss `Hinge`"),
        (changed("--learning-rate=Cosine(1)"), "no scheduler `Cosine`"),
        (changed("--learning-rate=0.1;0.2;0.1"), "all layers have one learning rate here"),
        (changed("--learning-rate=MultistepLR(1;75,50;1)"), "the milestones 75,50 do not increase"),
        (changed("--learning-rate=nan"), "no scheduler `nan`"),
        (changed("--prune=Magnitud(0.1)"), "did you mean `Magnitude`?"),
        (
            changed("--densities=0.5", "--prune=SET(1)", "--grow=Gradient"),
            "no way to grow `Gradient`",
        ),
        (
            changed("--densities=0.5", "--prune=SET(0.1)", "--grow-weights=HeUniform"),
            "differs from layer to layer",
        ),
    ],
)
def test_what_is_wrong_is_said(words, message):
    with pytest.raises(MlpError) as found:
        translate(words)
    assert message in str(found.value)


def test_the_command():
    def run(*words):
        return CliRunner().invoke(app, ["from-nerva", *words])

    done = run("--", *QUIET, "--threads=3")
    assert (done.exit_code, done.stdout) == (0, translate([*QUIET, "--threads=3"]).text)
    assert done.stderr.startswith("warning: --threads=3: give the number to `nervac train")
    assert run(*QUIET, "--threads=3").stdout == done.stdout  # without the `--` too
    labels = run("--", *changed("--loss=SquaredError"))
    assert (labels.exit_code, "warning[N0255]" in labels.stderr) == (0, True)
    wrong = run("--", "--layerz=ReLU")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: mlp has no option `--layerz`: did you mean `--layers`?\n"
    refused = run("--", *changed("--densities=0.5", "--prune=SET(1)"))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "error[N0502]" in refused.stderr


def test_the_page_shows_what_is_printed():
    page = (Path(__file__).parents[1] / "docs/how-to/from-nerva.md").read_text(encoding="utf-8")
    command, file = (
        re.search(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
        for kind in ("console", "nerva")
    )
    line = command.replace("\\\n", "").partition("\n")[0]
    assert translate(shlex.split(line.partition(" -- ")[2])).text == file


def compiled(tmp_path, *words):
    """A model of a command line, with a name of its own."""
    file = tmp_path / "mlp.nerva"
    file.write_text(translate(words).text, encoding="utf-8")
    return nerva_dsl.compile(file)


def test_one_learns_the_digits(tmp_path):
    module = compiled(
        tmp_path,
        "--layers=BatchNormalization;ReLU;ReLU;Linear",
        "--layer-sizes=64;128;64;10",
        "--layer-weights=XavierNormalized",
        "--overall-density=0.2",
        "--optimizers=Nesterov(0.9)",
        "--learning-rate=MultistepLR(0.02;6,8;0.1)",
        "--loss=SoftmaxCrossEntropy",
        "--epochs=10",
        "--batch-size=40",
        "--prune=SET(0.1)",
        "--seed=1",
    )
    X, t = load_digits(return_X_y=True)
    net = module.Model()
    net.fit(X[:1440].astype(np.float32), t[:1440])
    assert net.evaluate(X[1440:].astype(np.float32), t[1440:])["accuracy"] > 0.85


# --- What Nerva computes, in NumPy ---------------------------------------------------------------


class Momentum:
    """Both kinds; the gradient of a sparse weight is that at its positions."""

    def __init__(self, mu, *, nesterov):
        self.mu, self.nesterov, self.delta = mu, nesterov, 0.0

    def update(self, x, gradient, eta):
        self.delta = self.mu * self.delta - eta * gradient
        return x + (self.mu * self.delta - eta * gradient if self.nesterov else self.delta)


def srelu(z, al, tl, ar, tr):
    return np.where(z <= tl, tl + al * (z - tl), np.where(z < tr, z, tr + ar * (z - tr)))


def normalized(x, gamma, beta):
    deviation = x - x.mean(axis=0)
    inverse = 1 / np.sqrt((deviation**2).mean(axis=0) + 1e-7)
    return deviation * inverse * gamma + beta, deviation * inverse, inverse


def test_steps_of_srelu_batch_normalization_and_all_relu(tmp_path):
    module = compiled(
        tmp_path,
        "--layers=SReLU(al=0.2,tr=0.4);BatchNormalization;AllReLU(0.3);Linear",
        "--layer-sizes=6;8;7;3",
        "--densities=0.6;0.5;1",
        "--layer-weights=He",
        "--optimizers=Nesterov(0.9)",
        "--learning-rate=TimeBased(0.1,0.5)",
        "--loss=SoftmaxCrossEntropy",
        "--epochs=3",
        "--batch-size=5",
        "--no-shuffle",
    )
    rng = np.random.default_rng(4)
    X = rng.normal(size=(10, 6)).astype(np.float32)
    labels = rng.integers(0, 3, 10)
    net = module.Model(seed=3)
    ours = {name: value for name, value in dense(net).items() if "running" not in name}
    masks = {name: pattern(value) for name, value in net.parameters().items()}
    optimizers = {name: Momentum(0.9, nesterov=True) for name in ours}
    eta = 0.1
    for epoch in range(3):
        eta /= 1 + 0.5 * epoch
        net.train_epoch(X, labels)
        for first in (0, 5):
            x, T = X[first : first + 5].astype(float), np.eye(3)[labels[first : first + 5]]
            p = ours
            thresholds = [p[f"h1.{name}"] for name in ("al", "tl", "ar", "tr")]
            al, tl, ar, tr = (float(np.squeeze(value)) for value in thresholds)
            z1 = x @ p["h1.weight"].T + p["h1.bias"]
            y1 = srelu(z1, al, tl, ar, tr)
            y2, z2, inverse = normalized(y1, p["h2.gamma"], p["h2.beta"])
            z3 = y2 @ p["h3.weight"].T + p["h3.bias"]
            y3 = np.where(z3 < 0, 0.3 * z3, z3)
            y4 = y3 @ p["y.weight"].T + p["y.bias"]

            d4 = (softmax(y4, axis=1) - T) / 5
            d3 = (d4 @ p["y.weight"]) * np.where(z3 < 0, 0.3, 1)
            d2 = d3 @ p["h3.weight"]
            dz = p["h2.gamma"] * d2
            d1 = inverse / 5 * (5 * dz - dz.sum(axis=0) - z2 * (z2 * dz).sum(axis=0))
            dz1 = d1 * np.where(z1 <= tl, al, np.where(z1 < tr, 1, ar))
            gradients = {
                "h1.weight": dz1.T @ x,
                "h1.bias": dz1.sum(axis=0),
                "h1.al": (d1 * np.where(z1 <= tl, z1 - tl, 0)).sum(),
                "h1.tl": (d1 * np.where(z1 <= tl, 1 - al, 0)).sum(),
                "h1.ar": (d1 * np.where(z1 >= tr, z1 - tr, 0)).sum(),
                "h1.tr": (d1 * np.where(z1 >= tr, 1 - ar, 0)).sum(),
                "h2.gamma": (z2 * d2).sum(axis=0),
                "h2.beta": d2.sum(axis=0),
                "h3.weight": d3.T @ y2,
                "h3.bias": d3.sum(axis=0),
                "y.weight": d4.T @ y3,
                "y.bias": d4.sum(axis=0),
            }
            assert gradients.keys() == ours.keys()
            ours = {
                name: optimizers[name].update(value, gradients[name] * masks[name], eta)
                for name, value in ours.items()
            }
    agree(net, ours)


def test_a_step_through_softmax(tmp_path):
    """DZ = Y ∘ (DY - diag(DY Yᵀ) 1ᵀ), and DY = (T ∘ σ(Y) - T) / N, for the loss is a mean."""
    module = compiled(
        tmp_path,
        "--layers=HyperbolicTangent;Softmax",
        "--layer-sizes=5;6;3",
        "--layer-weights=XavierNormalized",
        "--optimizers=Momentum(0.9)",
        "--learning-rate=StepBased(0.5,0.5,1)",
        "--loss=LogisticCrossEntropy",
        "--batch-size=8",
    )
    rng = np.random.default_rng(5)
    X = rng.normal(size=(8, 5)).astype(np.float32)
    labels = rng.integers(0, 3, 8)
    net = module.Model(seed=3)
    p, T = dense(net), np.eye(3)[labels]
    net.train_step(X, labels)
    y1 = np.tanh(X @ p["h1.weight"].T + p["h1.bias"])
    y2 = softmax(y1 @ p["y.weight"].T + p["y.bias"], axis=1)
    dy = (T * expit(y2) - T) / 8
    d2 = y2 * (dy - (dy * y2).sum(axis=1, keepdims=True))
    d1 = (d2 @ p["y.weight"]) * (1 - y1**2)
    eta = 0.5 * 0.5 ** np.floor((1 + 0) / 1)
    agree(
        net,
        {
            "h1.weight": p["h1.weight"] - eta * d1.T @ X,
            "h1.bias": p["h1.bias"] - eta * d1.sum(axis=0),
            "y.weight": p["y.weight"] - eta * d2.T @ y1,
            "y.bias": p["y.bias"] - eta * d2.sum(axis=0),
        },
    )


def dense(net):
    return {
        name: (value.toarray() if sparse.issparse(value) else value).astype(float)
        for name, value in net.parameters().items()
    }


def pattern(value):
    if not sparse.issparse(value):
        return 1.0
    ones = value.copy()
    ones.data[:] = 1
    return ones.toarray()


def agree(net, expected):
    found = dense(net)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], np.reshape(value, found[name].shape), 2e-5, 2e-6)
