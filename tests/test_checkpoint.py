"""Saving, loading, and files that are not what they should be."""

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime_fixture.models import data, environment, same, state, variant


@pytest.fixture(scope="module")
def tiny():
    return variant()


def test_resuming_gives_the_same_bits(tiny, tmp_path):
    X, t = data(40)
    whole, first = tiny.Model(seed=3), tiny.Model(seed=3)
    whole.fit(X, t, epochs=4)
    first.fit(X, t, epochs=2)
    first.train_step(X[:5], t[:5], lr=0.0)  # with momentum a step, even so
    whole = tiny.Model(seed=3)
    whole.fit(X, t, epochs=2)
    whole.train_step(X[:5], t[:5], lr=0.0)
    first.save(tmp_path / "half.npz")
    second = tiny.Model.load(tmp_path / "half.npz", threads=1)
    assert second.threads == 1
    assert (second.seed, second.epoch, second.step) == (3, 2, 17)
    assert isinstance(second, tiny.Model)
    assert whole.fit(X, t).loss == second.fit(X, t).loss
    assert state(whole, tmp_path / "a.npz") == state(second, tmp_path / "b.npz")


def test_resuming_in_a_new_process(tmp_path):
    X, t = data(40)
    np.savez(tmp_path / "data.npz", X=X, t=t)
    module = variant(precision="float64")
    model = module.Model()
    model.fit(X, t, epochs=2)
    model.save(tmp_path / "half.npz")
    model.fit(X, t)
    script = (
        "import sys, numpy as np, tiny\n"
        "data = np.load('data.npz')\n"
        "model = tiny.Model.load('half.npz')\n"
        "model.fit(data['X'], data['t'])\n"
        "model.save('whole.npz')"
    )
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(module), check=True
    )
    assert state(module.Model.load(tmp_path / "whole.npz"), tmp_path / "a.npz") == state(
        model, tmp_path / "b.npz"
    )


def test_schedules_see_the_same_horizon_after_loading(tiny, tmp_path):
    X, t = data(5)
    model = tiny.Model()
    rates = model.fit(X, t, epochs=10).lr
    model = tiny.Model()
    first = model.fit(X, t, epochs=10, callbacks=[lambda model, _: model.save(tmp_path / "a.npz")])
    assert first.lr == rates
    model = tiny.Model.load(tmp_path / "a.npz")
    model.train_epoch(X, t)
    assert model.epoch == 11


def test_saving_appends_nothing_and_leaves_nothing(tiny, tmp_path):
    model = tiny.Model()
    for name in ("a.npz", "b", "c.npz.npz"):
        model.save(tmp_path / name)
        model.save(str(tmp_path / name))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npz", "b", "c.npz.npz"]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["h.weight:column"].dtype == np.int32
        assert json.loads(str(file["header"]))["seed"] == 1
    assert same(tiny.Model.load(tmp_path / "b").parameters(), model.parameters())


def test_saving_replaces_whole_or_not_at_all(tiny, tmp_path, monkeypatch):
    model = tiny.Model()
    model.save(tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_saving_into_a_missing_directory(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such directory"):
        tiny.Model().save(tmp_path / "no" / "a.npz")


def test_loading_a_missing_file(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.npz"):
        tiny.Model.load(tmp_path / "a.npz")


def test_loading_a_directory(tiny, tmp_path):
    with pytest.raises(OSError, match=str(tmp_path)):
        tiny.Model.load(tmp_path)


def damaged(tmp_path, name, change):
    """A good checkpoint whose arrays were changed."""
    with np.load(tmp_path / "good.npz") as file:
        arrays = {key: file[key] for key in file.files}
    change(arrays)
    np.savez(tmp_path / name, **arrays)
    return tmp_path / name


@pytest.mark.parametrize("length", [0, 1, 10, 0.3, 0.7, 0.99])
def test_loading_a_truncated_file(tiny, tmp_path, length):
    tiny.Model().save(tmp_path / "good.npz")
    content = (tmp_path / "good.npz").read_bytes()
    size = length if isinstance(length, int) else int(length * len(content))
    (tmp_path / "bad.npz").write_bytes(content[:size])
    with pytest.raises(ValueError, match=r"bad\.npz is not a checkpoint of nervac, or it is dam"):
        tiny.Model.load(tmp_path / "bad.npz")


def test_loading_a_file_with_flipped_bits(tiny, tmp_path):
    tiny.Model().save(tmp_path / "good.npz")
    content = bytearray((tmp_path / "good.npz").read_bytes())
    middle = content.find(b"h.weight:value")
    content[middle + 150] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        tiny.Model.load(tmp_path / "bad.npz")


def test_loading_files_with_any_bit_flipped(tiny, tmp_path):
    """Each is refused with a ValueError, or is as good as whole: a date does not matter."""
    tiny.Model().save(tmp_path / "good.npz")
    content = (tmp_path / "good.npz").read_bytes()
    expected = tiny.Model().parameters()
    for place in np.random.default_rng(0).integers(0, 8 * len(content), 400):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "bad.npz").write_bytes(flipped)
        try:
            loaded = tiny.Model.load(tmp_path / "bad.npz")
        except ValueError:
            continue
        assert same(loaded.parameters(), expected)


@pytest.mark.parametrize("damage", [(6, 1), (8, 99)], ids=["encrypted", "compression"])
def test_loading_an_archive_of_an_unknown_kind(tiny, tmp_path, damage):
    """A damaged byte of each entry of the directory: zipfile takes it at its word."""
    tiny.Model().save(tmp_path / "good.npz")
    content = bytearray((tmp_path / "good.npz").read_bytes())
    offset, value = damage
    for signature, place in ((b"PK\x01\x02", offset + 2), (b"PK\x03\x04", offset)):
        begin = content.find(signature)
        while begin >= 0:
            content[begin + place] = value
            begin = content.find(signature, begin + 4)
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"bad\.npz is not a checkpoint of nervac, or it is damaged"
    ):
        tiny.Model.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("key", "value"), [("seed", -1), ("epoch", -1), ("step", 2**70), ("epochs", 1e400)]
)
def test_loading_impossible_numbers(tiny, tmp_path, key, value):
    def change(arrays):
        header = json.loads(str(arrays["header"]))
        arrays["header"] = np.array(json.dumps({**header, key: value}))

    tiny.Model().save(tmp_path / "good.npz")
    with pytest.raises(ValueError, match=r"bad\.npz is damaged"):
        tiny.Model.load(damaged(tmp_path, "bad.npz", change))


def test_saving_to_a_directory_names_it(tiny, tmp_path):
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}'$"):
        tiny.Model().save(tmp_path)
    assert not list(tmp_path.parent.glob(".*"))


def test_a_full_disk_is_reported_by_the_file_that_was_asked_for(tiny, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tiny.Model(seed=5).save(tmp_path / "a.npz")
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.npz'$"):
        tiny.Model().save(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert tiny.Model.load(tmp_path / "a.npz").seed == 5


def test_loading_what_is_no_checkpoint(tiny, tmp_path):
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "other.npz", X=np.ones(3))
    np.savez(tmp_path / "header.npz", header=np.array("[1, 2]"))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"header": 1}))
    np.savez(tmp_path / "objects.npz", header=np.array([{}], dtype=object))
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"{path.name} is not a checkpoint of nervac"):
            tiny.Model.load(path)


def test_loading_executes_nothing(tiny, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "bomb.npz", header=np.array([Bomb()], dtype=object))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.npz", "plain.npz"):
        with pytest.raises(ValueError, match="not a checkpoint"):
            tiny.Model.load(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "other"}, "name: the file has tiny, the model other"),
        ({"features": 5}, r"input: the file has \[4\], the model \[5\]"),
        ({"precision": "float64"}, "precision: the file has float32, the model float64"),
        ({"target": "real"}, "target: the file has"),
        ({"nnz": 7}, "nnz of h.weight: the file has 6, the model 7"),
        ({"hidden": 6}, r"shape of h.weight: the file has \[3, 4\], the model \[6, 4\]"),
    ],
)
def test_loading_another_models_file(tiny, tmp_path, options, message):
    tiny.Model().save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=rf"a\.npz is of another model: {message}"):
        variant(**options).Model.load(tmp_path / "a.npz")


CHANGES = {
    "missing": (lambda a: a.pop("h.bias:value"), "'h.bias:value' is missing"),
    "length": (lambda a: a.update({"h.bias:value": np.zeros(9, np.float32)}), r"got float32 \[9\]"),
    "type": (lambda a: a.update({"h.bias:value": np.zeros(3)}), r"h.bias: expected float32 \[3\]"),
    "range": (lambda a: a["h.weight:column"].__setitem__(-1, 4), "expected columns in 0 … 3"),
    "negative": (lambda a: a["h.weight:column"].__setitem__(0, -1), "expected columns in 0 … 3"),
    "order": (
        lambda a: a.update(
            {
                "h.weight:row_start": np.array([0, 2, 4, 6]),
                "h.weight:column": np.array([0, 1, 2, 2, 0, 1], np.int32),
            }
        ),
        "expected columns that ascend in each row",
    ),
    "starts": (lambda a: a["h.weight:row_start"].__setitem__(1, 99), "expected row starts that"),
    "rows": (lambda a: a.update({"h.weight:row_start": np.array([0, 6])}), "expected 4 row starts"),
    "many": (
        lambda a: a.update(
            {
                "h.weight:row_start": np.array([0, 4, 8, 8]),
                "h.weight:column": np.array([0, 1, 2, 3] * 2, np.int32),
            }
        ),
        "expected at most 6 non-zeros, got 8",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_loading_damaged_arrays(tiny, tmp_path, name):
    change, message = CHANGES[name]
    tiny.Model().save(tmp_path / "good.npz")
    path = damaged(tmp_path, "bad.npz", change)
    with pytest.raises(ValueError, match=rf"bad\.npz is damaged: .*{message}"):
        tiny.Model.load(path)


def test_loading_a_later_format(tiny, tmp_path):
    def later(arrays):
        header = json.loads(str(arrays["header"]))
        arrays["header"] = np.array(json.dumps({**header, "format": 99, "nervac": "9.9"}))

    tiny.Model().save(tmp_path / "good.npz")
    with pytest.raises(ValueError, match=r"has format 99 of nervac 9\.9; this is nervac"):
        tiny.Model.load(damaged(tmp_path, "later.npz", later))
