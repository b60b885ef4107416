"""Ctrl-C, threads and forked processes."""

import _thread
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from runtime_fixture import models
from runtime_fixture.models import data, environment, same, state, variant


@pytest.fixture(scope="module")
def tiny():
    return variant()


@pytest.fixture(scope="module")
def slow():
    return models.slow()


# Interrupts


def interrupt_after(seconds):
    timer = threading.Timer(seconds, _thread.interrupt_main)
    timer.start()
    return timer


def test_an_interrupted_epoch_is_continued(slow, tmp_path):
    X, t = data(400)
    whole = slow.Model(seed=2)
    expected = [whole.train_epoch(X, t), whole.train_epoch(X, t)]
    model = slow.Model(seed=2)
    timer = interrupt_after(0.08)
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        model.train_epoch(X, t)
    assert time.perf_counter() - begin < 1
    timer.join()
    assert model.epoch == 0
    assert 0 < model.step < 80
    model.predict(X[:1])  # the model is valid
    model.save(tmp_path / "part.npz")
    loaded = slow.Model.load(tmp_path / "part.npz")
    for resumed in (model, loaded):
        assert [resumed.train_epoch(X, t), resumed.train_epoch(X, t)] == expected
        assert (resumed.epoch, resumed.step) == (2, 160)
        assert state(resumed, tmp_path / "a.npz") == state(whole, tmp_path / "b.npz")


def test_an_interrupted_fit_is_continued(slow, tmp_path):
    X, t = data(200)
    whole = slow.Model()
    expected = whole.fit(X, t, validation=(X[:100], t[:100]))
    model = slow.Model()
    rows = []
    for seconds in (0.05, 0.15, 0.1, 0.12):
        timer = interrupt_after(seconds)
        with pytest.raises(KeyboardInterrupt):
            model.fit(
                X, t, validation=(X[:100], t[:100]), callbacks=[lambda _, row: rows.append(row)]
            )
            time.sleep(5)
        timer.join()
        model.save(tmp_path / "a.npz")
        model = slow.Model.load(tmp_path / "a.npz")
    model.fit(X, t, validation=(X[:100], t[:100]), callbacks=[lambda _, row: rows.append(row)])
    for key in ("epoch", "loss", "lr", "accuracy", "val_loss", "val_accuracy"):
        assert [row[key] for row in rows] == getattr(expected, key)
    assert same(model.parameters(), whole.parameters())


def test_with_another_number_of_samples_the_epoch_begins_anew(slow):
    X, t = data(400)
    model = slow.Model()
    timer = interrupt_after(0.05)
    with pytest.raises(KeyboardInterrupt):
        model.train_epoch(X, t)
    timer.join()
    steps = model.step
    model.train_epoch(X[:50], t[:50])
    assert model.step == steps + 10
    assert model.epoch == 1


def test_an_interrupted_epoch_with_an_order_is_not_continued(slow):
    X, t = data(400)
    model = slow.Model()
    timer = interrupt_after(0.05)
    with pytest.raises(KeyboardInterrupt):
        model.train_epoch(X, t, order=np.arange(400))
    timer.join()
    steps = model.step
    assert 0 < steps < 80
    model.train_epoch(X, t)
    assert model.step == steps + 80


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_interrupting_what_does_not_train(slow, call):
    X, t = data(2000)
    model = slow.Model()
    timer = interrupt_after(0.05)
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        model.predict(X) if call == "predict" else model.evaluate(X, t)
    assert time.perf_counter() - begin < 0.7
    timer.join()


# Threads and processes


def test_calls_from_several_threads_wait_for_each_other(tiny):
    X, t = data(40)
    model = tiny.Model()
    failures = []

    def work():
        try:
            for _ in range(20):
                model.train_epoch(X, t)
                model.predict(X)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (model.epoch, model.step) == (60, 480)
    other = tiny.Model()
    for _ in range(60):
        other.train_epoch(X, t)
    assert same(model.parameters(), other.parameters())


def test_the_interpreter_is_free_during_an_epoch(slow):
    X, t = data(200)
    model = slow.Model()
    thread = threading.Thread(target=model.train_epoch, args=(X, t))
    thread.start()
    count = 0
    while thread.is_alive():
        count += 1
        time.sleep(0)
    assert count > 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_hang():
    script = (
        "import os, signal, numpy as np, tiny\n"
        "X, t = np.ones((20, 4)), np.zeros(20, int)\n"
        "model = tiny.Model(threads=2)\n"
        "model.train_step(X[:5], t[:5])\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(10)\n"
        "    model.train_step(X[:5], t[:5]); model.train_epoch(X, t); model.predict(X)\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        env=environment(variant()),
        check=True,
    )
    assert done.stdout.strip() == "0"
