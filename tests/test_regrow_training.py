"""Regrowth while a model trains: when, how much, resumed to the same bits, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse as sp
from regrowing import GROWING, compiled, contents, data, text

from nerva_dsl.cli.reporters import metrics
from nerva_dsl.errors import NervaError
from nerva_dsl.runtime.model import Model
from runtime_fixture.models import dense, same, state, variant


@pytest.fixture(scope="module")
def models():
    return compiled()


def patterns(net):
    """The positions of all growing weights, as bytes."""
    stored = [contents(net, name) for name in GROWING]
    return b"".join(each.row_start.tobytes() + each.column.tobytes() for each in stored)


# When and how much


def test_every_epoch_until_a_part_of_the_training(models):
    """Before the first batch of epochs 2 and 3 of 4: the last begins at 0.75 of the training."""
    net = models["epochs"]()
    seen = []
    history = net.fit(*data(60), callbacks=(lambda net, row: seen.append(patterns(net)),))
    assert [seen[i] != seen[i + 1] for i in range(3)] == [True, True, False]
    assert [moved > 0 for moved in history.moved] == [False, True, True, False]
    nnz = net.nnz
    for epoch, churn in enumerate(history.churn):
        fraction = 0.4 * np.exp(-0.3 * epoch) if epoch in (1, 2) else 0
        for name in GROWING[:3]:  # `full` has fewer empty places than would move
            moved = np.floor(fraction * nnz[name] + 0.5)
            assert churn[name] == pytest.approx(moved / nnz[name]), (epoch, name)
        assert history.moved[epoch] == sum(round(churn[name] * nnz[name]) for name in GROWING)
    total = {"total": net.density["total"]}
    assert [density | total for density in history.density] == [net.density] * 4


def test_what_the_command_line_says_of_an_epoch(models):
    rows = []
    models["epochs"]().fit(*data(60), epochs=2, callbacks=(lambda _, row: rows.append(row),))
    assert "moved 0  " in metrics(rows[0])
    assert f"moved {rows[1]['moved']:,}  " in metrics(rows[1])


def test_every_few_steps(models):
    """Before steps 4, 7, 10, …, whoever calls them."""
    net = models["float64"](seed=5)
    X, t = data(60)
    changed, before = [], patterns(net)
    for step in range(1, 9):
        net.train_step(X[:20], t[:20])
        if patterns(net) != before:
            changed.append(step)
        before = patterns(net)
    assert changed == [4, 7]
    history = models["float64"](seed=5).fit(X[:40], t[:40], epochs=4)  # two steps an epoch
    assert [moved > 0 for moved in history.moved] == [False, True, False, True]


def test_steps_by_hand_are_no_epoch(models):
    net = models["epochs"]()
    X, t = data(20)
    net.train_epoch(X, t)
    before = patterns(net)
    net.train_step(X, t)
    assert patterns(net) == before
    net.train_epoch(X, t)
    assert patterns(net) != before


# The same bits


@pytest.mark.parametrize("name", ["float32", "float64", "epochs"])
def test_resuming_at_every_batch_of_an_epoch(models, name, tmp_path, monkeypatch):
    """Interrupted after each batch, saved, loaded on another number of threads: the same bits."""
    X, t = data(90)
    whole = models[name](seed=4, threads=1)
    expected = whole.fit(X, t, epochs=3)
    net, rows, threads = models[name](seed=4, threads=2), [], 0
    while len(rows) < 3:
        with monkeypatch.context() as patch:
            end_after_a_batch(net, patch)
            with pytest.raises(KeyboardInterrupt):
                net.fit(X, t, epochs=3 - len(rows), callbacks=(lambda _, row: rows.append(row),))
        net.save(tmp_path / "part.npz")
        threads = threads % 3 + 1
        net = models[name].load(tmp_path / "part.npz", threads=threads)
        if net._trainer.position is not None and net._trainer.position.samples == len(X):
            net.fit(X, t, epochs=1, callbacks=(lambda _, row: rows.append(row),))
    assert [row["moved"] for row in rows] == expected.moved
    assert [row["churn"] for row in rows] == expected.churn
    assert state(net, tmp_path / "a.npz") == state(whole, tmp_path / "b.npz")


def end_after_a_batch(net, patch):
    """Let the next call of an epoch end after one batch, as an interrupt would."""
    fill = net._engine._fill

    def stop(job):
        kept = fill(job)
        net._engine._report.stop = 1
        return kept

    def interrupt(*_):
        raise KeyboardInterrupt

    patch.setattr(net._engine, "_fill", stop)
    patch.setattr(net._trainer, "_check", interrupt)


def test_seeds_tell_models_apart(models):
    first, again, other = (models["epochs"](seed=seed) for seed in (1, 1, 2))
    start = first.parameters()
    for net in (first, again, other):
        net.set_parameters(start)
        net.regrow("set(0.3)", "random()")
    assert patterns(first) == patterns(again) != patterns(other)
    before = patterns(first)
    first.regrow("set(0.3)", "random()")  # another round has other random numbers
    assert patterns(first) != before


# A rule of one's own


def test_a_rule(models):
    """RigL once more, in NumPy: the same survivors, states and positions as in C."""
    X, t = data(20)
    nets = [models["float64"](seed=6) for _ in range(2)]
    for net in nets:
        net.train_step(X, t)

    def rigl(name, weights, gradient):
        size = np.abs(weights.data)
        filled = np.zeros(weights.shape, bool)
        filled[weights.tocoo().coords] = True
        empty = np.flatnonzero(~filled.ravel())
        count = min(int(0.2 * len(size) + 0.5), len(empty))
        gone = np.argsort(size, kind="stable")[:count]
        grown = empty[np.argsort(-np.abs(gradient().ravel()[empty]), kind="stable")[: len(gone)]]
        row, column = weights.tocoo().coords
        kept = np.delete(row * weights.shape[1] + column, gone)
        places = np.sort(np.concatenate((kept, grown)))
        starts = np.searchsorted(places, np.arange(weights.shape[0] + 1) * weights.shape[1])
        return starts, places % weights.shape[1]

    X, t = data(20, seed=8)
    by_rule = nets[0].regrow(rule=rigl, X=X, t=t)
    by_code = nets[1].regrow("magnitude(0.2)", "gradient()", X=X, t=t)
    assert by_rule == by_code
    assert patterns(nets[0]) == patterns(nets[1])
    for net in nets:
        net.train_step(X, t)
    assert same(nets[0].parameters(), nets[1].parameters())
    assert nets[0].fit(X, t, epochs=1).moved[0] >= sum(by_rule.values())


def shifted(array, change):
    """A CSR array with other column indices."""
    columns = array.indices.copy()
    change(columns)
    return array.indptr, columns


RULES = {
    "columns that ascend in each row": lambda w: shifted(w, lambda c: c.__setitem__(0, c[1])),
    "columns that ascend": lambda w: (w.indptr, w.indices[::-1].copy()),
    r"columns in 0 … \d+": lambda w: shifted(w, lambda c: c.__setitem__(-1, w.shape[1])),
    "columns in 0": lambda w: shifted(w, lambda c: c.__setitem__(0, -1)),
    r"as many non-zeros as before, \d+, got": lambda w: sp.csr_array(
        (w.data[:-1], w.indices[:-1], np.minimum(w.indptr, w.nnz - 1)), w.shape
    ),
    "expected at most": lambda w: sp.csr_array(np.ones(w.shape)),
    r"expected a CSR array \[": lambda w: w.T.tocsr(),
    "got COO": lambda w: w.tocoo(),
    "a pair of row starts and columns, got NoneType": lambda w: None,
    "got ndarray": lambda w: w.toarray(),
    "that are integers": lambda w: (w.indptr, w.indices.astype(float)),
    "row starts that ascend": lambda w: (w.indptr[::-1].copy(), w.indices),
    r"expected \d+ row starts": lambda w: (w.indptr[:-1], w.indices),
}


@pytest.mark.parametrize("message", RULES)
def test_rules_that_return_no_pattern(models, message, tmp_path):
    """The last weight's is wrong: nothing changes, not even those before it."""
    net = models["float32"](seed=6)
    before = state(net, tmp_path / "a.npz")

    def rule(name, weights, gradient):
        if name == "full.weight":
            return RULES[message](weights)
        first = weights.indices[: weights.indptr[1]]
        first[:] = np.arange(len(first))  # another pattern than before
        return weights

    with pytest.raises(ValueError, match=rf"rule: full\.weight: .*{message}"):
        net.regrow(rule=rule)
    assert state(net, tmp_path / "b.npz") == before


def test_errors_of_a_rule_go_to_the_caller(models, tmp_path):
    net = models["float32"]()
    before = state(net, tmp_path / "a.npz")
    for rule, kind in ((lambda *_: 1 / 0, ZeroDivisionError), (lambda n, w, g: g(), ValueError)):
        with pytest.raises(kind):
            net.regrow(rule=rule)
    assert state(net, tmp_path / "b.npz") == before


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prune": "magnitude(0)"}, "a fraction above 0 and below 1, got 0"),
        ({"prune": "set(1)"}, "a fraction above 0 and below 1, got 1"),
        ({"prune": "set(nan)"}, "a fraction above 0 and below 1, got nan"),
        ({"prune": "threshold(-1)"}, "a threshold of at least 0, got -1"),
        ({"prune": "magnitude(x)"}, "expected a number"),
        ({"prune": "smallest(0.3)"}, r"expected one of magnitude\(0.3\), set"),
        ({"prune": 0.3}, "expected one of magnitude"),
        ({"grow": "random"}, r"expected one of random\(\)"),
        ({"grow": "everywhere()"}, r"expected one of random\(\)"),
        ({"grow": "gradient()"}, "X: expected a batch"),
        ({"grow": "momentum()"}, "an average that is kept at every step"),
        ({"prune": "set(0.3)", "rule": print}, "got both"),
        ({"prune": "threshold(1e6)"}, "would remove every weight of layer"),
    ],
)
def test_bad_arguments(models, arguments, message, tmp_path):
    net = models["epochs"]()
    before = state(net, tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message):
        net.regrow(**arguments)
    assert state(net, tmp_path / "b.npz") == before


def test_a_model_that_does_not_regrow():
    net = variant().Model()
    with pytest.raises(ValueError, match=r"has no `regrow \{ \}` in its file"):
        net.regrow("set(0.3)")


def test_a_batch_without_a_finite_loss_changes_nothing(models, tmp_path):
    net = models["float64"]()
    X, t = data(20)
    net.set_parameters({"y.bias": np.array([1e308, -1e308, 0])})
    before = state(net, tmp_path / "a.npz")
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        net.regrow("set(0.3)", "gradient()", X=X, t=t)
    X[3, 7] = np.nan
    with pytest.raises(ValueError, match="X: expected finite numbers, got nan in row 3, feature 7"):
        net.regrow("set(0.3)", "gradient()", X=X, t=t)
    assert state(net, tmp_path / "b.npz") == before


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        ("magnitude(exponential(0.4, -2))", r"magnitude\(2.*\) before step 2, epoch 2 is out of"),
        ("threshold(9)", r"threshold\(9\) before step 2, epoch 2 would remove every weight of"),
    ],
)
def test_a_file_whose_choice_is_impossible(prune, message, tmp_path):
    """It is found when it comes to that; the command line says it with status 1."""
    import nerva_dsl

    (tmp_path / "changing.nerva").write_text(text(prune=prune))
    net = nerva_dsl.compile(tmp_path / "changing.nerva", backend="native").Model()
    X, t = data(20)
    net.train_epoch(X, t)
    before = dense(net.parameters())
    with pytest.raises(NervaError, match=message) as caught:
        net.train_epoch(X, t)
    assert caught.value.exit_status == 1
    assert isinstance(caught.value, ValueError)
    assert same(net.parameters(), before)
    assert (net.epoch, net.step) == (1, 1)


def test_what_a_checkpoint_of_a_regrowing_model_may_not_say(models, tmp_path):
    models["epochs"]().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    header = str(arrays["header"])
    assert '"regrows": 0, "regrown": -1' in header
    for wrong in ('"regrows": -1, "regrown": -1', '"regrows": 0, "regrown": -2'):
        arrays["header"] = np.array(re.sub('"regrows": 0, "regrown": -1', wrong, header))
        np.savez(tmp_path / "b.npz", **arrays)
        with pytest.raises(ValueError, match="impossible changes of patterns"):
            models["epochs"].load(tmp_path / "b.npz")
    assert isinstance(models["epochs"].load(tmp_path / "a.npz"), Model)
