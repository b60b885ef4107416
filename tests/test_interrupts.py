"""Ctrl-C, threads and forked processes."""

import _thread
import os
import subprocess
import sys
import threading
import time
from unittest.mock import patch

import numpy as np
import pytest

from nerva_dsl.runtime.worker import Work, run_interruptible
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


def test_work_that_was_given_up_never_begins():
    done = []
    work = Work(lambda: done.append(1))
    assert work.over()
    work.run()
    assert not done
    assert work.over()


def test_work_goes_on_to_its_end_however_often_the_caller_is_interrupted():
    """The wait is broken off at its worst moments: in `stop`, and in the wait for the end."""
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def function():
        begun.set()
        release.wait(5)
        ended.set()

    class Impatient(Work):
        interrupts = 0

        def wait(self):
            begun.wait(5)
            self.interrupts += 1
            if self.interrupts < 5:
                raise KeyboardInterrupt
            release.set()
            return super().wait()

    work = Impatient(function)
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work, lambda: None, None)
    assert ended.is_set()
    assert work.over()


def test_a_model_whose_call_still_goes_on_refuses_another(slow):
    X, t = data(400)
    model = slow.Model()
    with (
        patch("nerva_dsl.runtime.engine.run_interruptible", leave_behind),
        pytest.raises(KeyboardInterrupt),
    ):
        model.train_epoch(X, t)
    del X, t
    with pytest.raises(RuntimeError, match="at work"):
        model.predict(np.zeros((1, 4)))
    deadline = time.monotonic() + 10
    while model.step < 80:  # its arrays are kept until it ends
        assert time.monotonic() < deadline
        time.sleep(0.01)
    model.predict(np.zeros((1, 4)))


def leave_behind(work, stop, progress):
    """What happens if interrupts come faster than they are handled."""
    threading.Thread(target=work.run).start()
    while not work.begun:
        time.sleep(0)
    raise KeyboardInterrupt


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


def in_a_new_process(script, module):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        env=environment(module),
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_forked_in_mid_batch_is_told_so(slow):
    script = (
        "import os, signal, threading, time, numpy as np, tiny\n"
        "X, t = np.ones((1000, 4)), np.zeros(1000, int)\n"
        "model, other = tiny.Model(threads=1), tiny.Model(threads=1)\n"
        "other.train_step(X[:5], t[:5])\n"
        "thread = threading.Thread(target=model.train_epoch, args=(X, t))\n"
        "thread.start(); time.sleep(0.1)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(10)\n"
        "    other.train_step(X[:5], t[:5])\n"
        "    try: model.predict(X[:1])\n"
        "    except RuntimeError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1]); thread.join(); print(model.step)"
    )
    told, status, steps = in_a_new_process(script, slow).splitlines()
    assert "at work when this process was forked" in told
    assert (status, steps) == ("0", "200")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_hang(tiny):
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
    assert in_a_new_process(script, tiny) == "0"
