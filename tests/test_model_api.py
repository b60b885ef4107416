"""The interface of compiled models, on one written by hand."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from nerva_dsl.runtime.history import Callback, History
from nerva_dsl.runtime.model import Model as BaseModel
from runtime_fixture import models
from runtime_fixture.models import data, dense, environment, same, state, variant


@pytest.fixture(scope="module")
def tiny():
    return variant()


@pytest.fixture(scope="module")
def slow():
    return models.slow()


# Creation


def test_same_seed_same_bits(tiny):
    assert same(tiny.Model(seed=5).parameters(), tiny.Model(seed=5).parameters())
    assert not same(tiny.Model(seed=5).parameters(), tiny.Model(seed=6).parameters())
    assert tiny.Model().seed == tiny.SPEC["seed"] == 1
    assert same(tiny.Model().parameters(), tiny.Model(seed=1).parameters())


def test_initial_parameters(tiny):
    model = tiny.Model()
    parameters = model.parameters()
    assert list(parameters) == ["h.weight", "h.bias", "y.weight", "y.bias"]
    weight = parameters["h.weight"]
    assert isinstance(weight, sparse.csr_array)
    assert weight.shape == (3, 4)
    assert weight.nnz == 6
    assert weight.dtype == np.float32
    assert np.abs(weight.data).max() <= 0.5
    assert not parameters["h.bias"].any()
    assert parameters["y.weight"].shape == (2, 3)
    assert (model.epoch, model.step, model.threads) == (0, 0, None)


def test_parameters_are_copies(tiny):
    model = tiny.Model()
    before = dense(model.parameters())
    parameters = model.parameters()
    parameters["h.weight"].data[:] = 9
    parameters["y.bias"][:] = 9
    assert same(model.parameters(), before)


@pytest.mark.parametrize("seed", [-1, 1 << 64, 1.5, "1", True])
def test_bad_seed(tiny, seed):
    with pytest.raises(ValueError, match="seed: expected an integer in 0"):
        tiny.Model(seed=seed)


@pytest.mark.parametrize("threads", [0, -2, 1.5, "two", 65_536])
def test_bad_threads(tiny, threads):
    with pytest.raises(ValueError, match="threads: expected an integer"):
        tiny.Model(threads=threads)


def test_largest_seed(tiny):
    assert tiny.Model(seed=(1 << 64) - 1).seed == (1 << 64) - 1
    assert tiny.Model(seed=np.int32(3)).seed == 3


def test_out_of_memory():
    with pytest.raises(MemoryError, match="not enough memory for model tiny"):
        variant(out_of_memory=True).Model()


def test_the_base_class_is_no_model():
    with pytest.raises(TypeError, match="base class"):
        BaseModel()


def test_repr(tiny):
    text = repr(tiny.Model(seed=3))
    assert "tiny.Model: 4 → 2, float32, seed 3, epoch 0, step 0" in text
    assert "h.weight [3, 4] csr: 6 non-zeros, density 0.5" in text


def test_density_and_nnz(tiny):
    model = tiny.Model()
    assert model.nnz == {"h.weight": 6, "y.weight": 6, "total": 12}
    assert model.density == {"h.weight": 0.5, "y.weight": 1.0, "total": 12 / 18}


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_pickle(tiny, copier):
    with pytest.raises(TypeError, match="use save and load"):
        copier(tiny.Model())


# Training


def softmax(y):
    y = np.exp(y - y.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


def test_a_step_is_the_published_arithmetic():
    """Against NumPy: loss, gradients, and two steps of momentum."""
    model = variant(precision="float64").Model()
    X, t = data(5)
    p = dense(model.parameters())
    pattern = model.parameters()["h.weight"]
    mask = np.zeros((3, 4))
    mask[np.repeat(np.arange(3), np.diff(pattern.indptr)), pattern.indices] = 1
    velocity = {name: np.zeros_like(value) for name, value in p.items()}
    for step in range(2):
        hidden = np.tanh(X @ p["h.weight"].T + p["h.bias"])
        output = hidden @ p["y.weight"].T + p["y.bias"]
        loss = -np.log(softmax(output)[np.arange(5), t]).mean()
        delta = (softmax(output) - np.eye(2)[t]) / 5
        d_hidden = delta @ p["y.weight"] * (1 - hidden**2)
        expected = {
            "h.weight": d_hidden.T @ X * mask,
            "h.bias": d_hidden.sum(axis=0),
            "y.weight": delta.T @ hidden,
            "y.bias": delta.sum(axis=0),
        }
        gradients = model.gradients(X, t)
        assert isinstance(gradients["h.weight"], sparse.csr_array)
        assert gradients["h.weight"].nnz == 6
        for name, value in dense(gradients).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-12)
            velocity[name] = 0.9 * velocity[name] - 0.2 * expected[name]
            p[name] = p[name] + velocity[name]
        assert model.loss(X, t) == pytest.approx(loss, abs=1e-12)
        assert model.train_step(X, t, lr=0.2) == pytest.approx(loss, abs=1e-12)
        assert model.step == step + 1
        assert model.epoch == 0
        for name, value in dense(model.parameters()).items():
            np.testing.assert_allclose(value, p[name], atol=1e-12)


def test_gradients_change_nothing(tiny, tmp_path):
    model = tiny.Model()
    X, t = data(5)
    before = state(model, tmp_path / "a.npz")
    first = model.gradients(X, t)
    assert same(first, model.gradients(X, t))
    model.predict(X)
    model.evaluate(X, t)
    model.loss(X, t)
    assert state(model, tmp_path / "a.npz") == before


def test_an_epoch_is_its_steps(tiny):
    """With an order of the caller's; the last batch is short."""
    X, t = data(23)
    order = np.random.default_rng(1).permutation(23)
    whole, single = tiny.Model(), tiny.Model()
    loss = whole.train_epoch(X, t, lr=0.05, order=order)
    losses = 0.0
    for start in range(0, 23, 5):
        rows = order[start : start + 5]
        losses += single.train_step(X[rows], t[rows], lr=0.05) * len(rows)
    assert loss == pytest.approx(losses / 23, rel=1e-12)
    assert same(whole.parameters(), single.parameters())
    assert (whole.epoch, whole.step) == (1, 5)
    assert (single.epoch, single.step) == (0, 5)


def test_the_shuffle_is_a_function_of_seed_and_epoch(tiny):
    X, t = data()
    first, again, other = tiny.Model(seed=1), tiny.Model(seed=1), tiny.Model(seed=1)
    for model in (first, again):
        model.train_epoch(X, t)
    assert same(first.parameters(), again.parameters())
    other.train_epoch(X, t, order=np.arange(23))
    assert not same(first.parameters(), other.parameters())


def test_without_shuffle():
    module = variant(shuffle=False)
    X, t = data()
    own, given = module.Model(), module.Model()
    own.train_epoch(X, t)
    given.train_epoch(X, t, order=np.arange(23))
    assert same(own.parameters(), given.parameters())


def test_lr_none_is_the_schedule(tiny):
    X, t = data(5)
    scheduled, given = tiny.Model(), tiny.Model()
    for rate in (0.1, 0.1, 0.01, 0.01, 0.01):  # beyond the file's four epochs too
        scheduled.train_epoch(X, t)
        given.train_epoch(X, t, lr=rate)
    assert same(scheduled.parameters(), given.parameters())


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(tiny, threads):
    X, t = data()
    one, other = tiny.Model(), tiny.Model(threads=threads)
    one.fit(X, t)
    other.fit(X, t)
    assert same(one.parameters(), other.parameters())
    other.threads = 2
    assert other.threads == 2


def test_threads_that_make_a_model_do_not_matter(tiny, monkeypatch):
    one = tiny.Model(seed=3, threads=1)
    monkeypatch.setattr("nerva_dsl.runtime.parameters._WORTH_THREADS", 0)
    monkeypatch.setattr("nerva_dsl.runtime.parameters.usable_cores", lambda: 3)
    assert same(one.parameters(), tiny.Model(seed=3).parameters())
    assert same(one.parameters(), tiny.Model(seed=3, threads=2).parameters())


def test_predict_and_evaluate(tiny):
    model = tiny.Model()
    X, t = data(23)
    p = dense(model.parameters())
    expected = np.tanh(X @ p["h.weight"].T + p["h.bias"]) @ p["y.weight"].T + p["y.bias"]
    output = model.predict(X)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected, atol=1e-6)
    np.testing.assert_array_equal(model.predict(X[:1]), output[:1])
    result = model.evaluate(X, t)
    assert set(result) == {"loss", "accuracy"}
    assert result["accuracy"] == pytest.approx((expected.argmax(axis=1) == t).mean())
    assert result["loss"] == pytest.approx(-np.log(softmax(expected)[np.arange(23), t]).mean())
    assert model.loss(X, t) == result["loss"]


# fit and History


def test_fit(tiny):
    X, t = data(40)
    model = tiny.Model()
    history = model.fit(X, t, validation=(X, t))
    assert isinstance(history, History)
    assert len(history) == 4
    assert history.epoch == [1, 2, 3, 4]
    assert history.lr == [0.1, 0.1, 0.01, 0.01]
    assert history.val_loss[-1] == model.loss(X, t)
    assert history.val_accuracy[-1] == model.evaluate(X, t)["accuracy"]
    assert all(0 <= accuracy <= 1 for accuracy in history.accuracy)
    assert all(seconds > 0 for seconds in history.seconds)
    assert (model.epoch, model.step) == (4, 32)
    assert len(model.fit(X, t)) == 0
    more = model.fit(X, t, epochs=2)
    assert more.epoch == [5, 6]
    assert more.val_loss == [None, None]


def test_fit_is_its_epochs(tiny):
    X, t = data(40)
    fitted, stepped = tiny.Model(), tiny.Model()
    history = fitted.fit(X, t)
    assert history.loss == [stepped.train_epoch(X, t) for _ in range(4)]
    assert same(fitted.parameters(), stepped.parameters())


def test_fit_beyond_the_file_stretches_the_schedule(tiny):
    X, t = data(5)
    assert tiny.Model().fit(X, t, epochs=6).lr == [0.1] * 3 + [0.01] * 3
    assert tiny.Model().fit(X, t, epochs=2).lr == [0.1] * 2


def test_history_is_a_table(tiny):
    X, t = data(5)
    lines = repr(tiny.Model().fit(X, t, epochs=2)).splitlines()
    assert lines[0].split() == ["epoch", "loss", "lr", "seconds", "accuracy"]
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert repr(History()) == "History: no epochs"


def test_history_says_what_patterns_connect(tiny):
    """A row and two columns of `h.weight` are emptied: three of its seven features."""
    X, t = data(5)
    model = tiny.Model()
    pattern = sparse.csr_array(([1.0, 2.0, 3.0], ([0, 2, 2], [1, 1, 3])), shape=(3, 4))

    def cut(model, row):
        model.set_parameters({"h.weight": pattern})

    history = model.fit(X, t, epochs=2, callbacks=(cut,))
    assert history.density == [
        {"h.weight": 0.5, "y.weight": 1.0},
        {"h.weight": 0.25, "y.weight": 1.0},
    ]
    before = tiny.Model().parameters()["h.weight"].toarray() != 0
    empty = (~before.any(axis=0)).sum() + (~before.any(axis=1)).sum()
    assert history.disconnected == [
        {"h.weight": pytest.approx(empty / 7)},
        {"h.weight": pytest.approx(3 / 7)},
    ]
    assert history.moved == history.churn == [None, None]


def test_callbacks(slow):
    X, t = data(200)
    rows, progress = [], []

    class Both(Callback):
        def on_epoch(self, model, row):
            rows.append((model.epoch, row["epoch"], model.loss(X[:5], t[:5])))

        def on_progress(self, model, samples, total):
            progress.append((samples, total))
            with pytest.raises(RuntimeError, match="the model is at work"):
                model.predict(X[:1])

    class OnlyProgress:
        def on_progress(self, model, samples, total):
            pass

    functions = []
    slow.Model().fit(
        X, t, epochs=2, callbacks=(Both(), OnlyProgress(), lambda _, row: functions.append(row))
    )
    assert [row[:2] for row in rows] == [(1, 1), (2, 2)]
    assert [row["epoch"] for row in functions] == [1, 2]
    assert progress
    assert all(0 <= samples <= total == 200 for samples, total in progress)


def test_a_callback_that_raises_ends_the_training(tiny):
    X, t = data()

    def fail(model, row):
        raise LookupError("enough")

    model = tiny.Model()
    with pytest.raises(LookupError, match="enough"):
        model.fit(X, t, callbacks=[fail])
    assert model.epoch == 1


@pytest.mark.parametrize("epochs", [-1, 1.5, "3", True])
def test_bad_epochs(tiny, epochs):
    with pytest.raises(ValueError, match="epochs: expected an integer of at least 0"):
        tiny.Model().fit(*data(), epochs=epochs)
    with pytest.raises(ValueError, match="epochs: expected an integer in 0 … 2147483647"):
        tiny.Model().fit(*data(), epochs=10**20)


def test_bad_validation_and_callbacks(tiny):
    X, t = data()
    model = tiny.Model()
    with pytest.raises(ValueError, match=r"validation: expected \(X, t\)"):
        model.fit(X, t, validation=X)
    with pytest.raises(ValueError, match=r"validation: X: expected a \[n, 4\]"):
        model.fit(X, t, validation=(X[:, :2], t))
    with pytest.raises(ValueError, match="callbacks: expected functions or objects"):
        model.fit(X, t, callbacks=[3])
    with pytest.raises(ValueError, match="callbacks: expected a list of them, got int"):
        model.fit(X, t, callbacks=3)
    assert model.step == 0
    with pytest.raises(ValueError, match="validation: X: expected finite numbers, got nan in row"):
        model.fit(X, t, validation=(X * np.nan, t))


# What an import brings


def test_an_import_is_light():
    script = (
        "import sys, tiny\n"
        "model = tiny.Model()\n"
        "model.train_step([[1, 2, 3, 4]], [0])\n"
        "heavy = 'lark msgspec jinja2 typer rich sklearn platformdirs filelock cffi torch'\n"
        "print([name for name in heavy.split() if name in sys.modules])\n"
        "print(sorted(name for name in sys.modules if name.startswith('nerva_dsl')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment(variant()),
        check=True,
    )
    heavy, ours = done.stdout.splitlines()
    assert heavy == "[]"
    for name in ("grammar", "codegen", "check", "passes", "runtime.build", "runtime.data"):
        assert f"nerva_dsl.{name}" not in ours


# Not getrusage: its peak is inherited from the process that forked.
PEAK = "print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_memory_is_that_of_the_nonzeros():
    """A weight of 20,000 × 20,000 would take 1.6 GB."""
    module = variant(features=20_000, hidden=20_000, nnz=40_000)

    def peak(script):
        done = subprocess.run(
            [sys.executable, "-c", f"import numpy, scipy.sparse\n{script}\n{PEAK}"],
            capture_output=True,
            text=True,
            env=environment(module),
            check=True,
        )
        return int(done.stdout.split()[1])

    used = peak(
        "import tiny\n"
        "model = tiny.Model(); X = numpy.zeros((5, 20_000), numpy.float32)\n"
        "model.train_step(X, [0] * 5); model.gradients(X, [0] * 5); model.parameters()"
    )
    baseline = peak("")
    assert baseline < used < baseline + 40_000  # kilobytes
