"""MNIST-style IDX files and CIFAR-10's archives: what is read from them, and what is refused."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from contextlib import suppress
from typing import ClassVar

import numpy as np
import pytest
from refusals import refused

from nerva_dsl.runtime.data import load_data
from nerva_dsl.runtime.data.idx import read_idx_file
from nerva_dsl.runtime.data.pickles import PickleError, load_byte_arrays

RANDOM = np.random.default_rng(1)


def spec(features, element="uint8", size=10):
    return {
        "input": {"name": "x", "element": element, "features": features},
        "target": {"name": "t", "kind": "class", "size": size},
        "precision": "float32",
    }


# --- IDX ---------------------------------------------------------------------------------------


def idx(array, code=8):
    """An array as an IDX file."""
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = RANDOM.integers(0, 256, (7, 3, 2), np.uint8)
LABELS = RANDOM.integers(0, 10, 7).astype(np.uint8)


@pytest.fixture
def mnist(tmp_path):
    """A folder with four small files; returns it and a function that writes one."""
    folder = tmp_path / "small"
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    write("train-images-idx3-ubyte", idx(IMAGES))
    write("train-labels-idx1-ubyte", idx(LABELS))
    write("t10k-images-idx3-ubyte", idx(IMAGES[:3]))
    write("t10k-labels-idx1-ubyte", idx(LABELS[:3]))
    return folder, write


def test_a_folder_of_idx_files(mnist, monkeypatch):
    folder, _ = mnist
    monkeypatch.chdir(folder.parent)
    data = load_data("idx:small", spec(6), 1)
    assert data.X_train.dtype == np.uint8
    assert data.sample_shape == (3, 2)
    np.testing.assert_array_equal(data.X_train, IMAGES.reshape(7, 6))
    np.testing.assert_array_equal(data.t_train, LABELS)
    np.testing.assert_array_equal(data.X_test, IMAGES[:3].reshape(3, 6))
    np.testing.assert_array_equal(data.t_test, LABELS[:3])
    assert data.source == f"idx:{folder}"
    assert data.description == "idx:small: 7 samples to train on, 3 to test on"
    assert load_data("idx:small", spec(6, "float32"), 1).X_train.dtype == np.float32


def test_gzipped_files_and_other_names(mnist):
    folder, write = mnist
    whole = load_data(f"idx:{folder}", spec(6), 1).fingerprint()
    for path in list(folder.iterdir()):
        write(path.name.replace("t10k", "test").replace("-idx", ".idx") + ".gz", path.read_bytes())
        path.unlink()
    assert load_data(f"idx:{folder}", spec(6), 1).fingerprint() == whole
    for path in folder.glob("test*"):
        path.unlink()
    assert "held-out" in load_data(f"idx:{folder}", spec(6), 1).description


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_every_type_of_numbers(tmp_path, code, dtype):
    numbers = (RANDOM.normal(size=(4, 3)) * 50).astype(dtype)
    path = tmp_path / "numbers"
    path.write_bytes(idx(numbers, code))
    read = read_idx_file(path)
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, numbers)


def test_damaged_idx_files_are_named(mnist):
    folder, write = mnist
    images = idx(IMAGES)
    for size, said in ((0, "0 bytes"), (3, "3 bytes"), (9, "header"), (50, "take 42 bytes")):
        write("train-images-idx3-ubyte", images[:size])
        name = str(folder / "train-images-idx3-ubyte")
        refused(f"idx:{folder}", spec(6), name, "is cut short", said)
    write("train-images-idx3-ubyte", images + b"x")
    refused(f"idx:{folder}", spec(6), "is longer than the 7 × 3 × 2 numbers")
    huge = b"\0\0\x08\x03" + b"\xff" * 12
    write("train-images-idx3-ubyte", huge)
    refused(f"idx:{folder}", spec(6), "is cut short", "4,294,967,295 × 4,294,967,295")


@pytest.mark.parametrize(
    "magic", [b"\0\0\x08\0", b"\0\0\x07\x03", b"\x01\0\x08\x03", b"\x89PNG", b"\0\0\x08\xff"]
)
def test_a_wrong_magic_number(mnist, magic):
    folder, write = mnist
    write("train-labels-idx1-ubyte", magic + idx(LABELS)[4:])
    refused(f"idx:{folder}", spec(6), "train-labels", "no IDX file", magic.hex(" "), "00 00 08 01")


def test_damaged_gzip_files(mnist):
    folder, _ = mnist
    (folder / "train-images-idx3-ubyte").unlink()
    packed = gzip.compress(idx(IMAGES))
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(packed[:-12])
    refused(f"idx:{folder}", spec(6), str(file), "cut short")
    file.write_bytes(idx(IMAGES))
    refused(f"idx:{folder}", spec(6), str(file), "no gzip file")
    file.rename(folder / "train-images-idx3-ubyte")
    (folder / "train-images-idx3-ubyte").write_bytes(packed)
    refused(f"idx:{folder}", spec(6), "give its name the ending .gz")


def test_idx_files_that_do_not_belong_together(mnist):
    folder, write = mnist
    write("t10k-labels-idx1-ubyte", idx(LABELS))
    refused(f"idx:{folder}", spec(6), "t10k-images-idx3-ubyte has 3 images", "7 labels")
    write("t10k-labels-idx1-ubyte", idx(IMAGES[:3]))
    refused(f"idx:{folder}", spec(6), "t10k-labels", "labels have one dimension")
    write("t10k-images-idx3-ubyte", idx(LABELS[:3]))
    refused(f"idx:{folder}", spec(6), "t10k-images", "labels, not images")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    refused(f"idx:{folder}", spec(6), "t10k-images-idx3-ubyte, and no labels")
    refused(f"idx:{folder / 'none'}", spec(6), "there is no folder", "nervac data mnist")
    refused(f"idx:{folder.parent}", spec(6), "has no train-images-idx3-ubyte")
    refused(f"{folder}", spec(6), "is a folder", f"`idx:{folder}`")


def test_idx_files_that_do_not_fit_the_model(mnist):
    folder, _ = mnist
    refused(f"idx:{folder}", spec(784), "idx:small: the training inputs", "[7, 6]", "[n, 784]")
    refused(f"idx:{folder}", spec(6, size=2), "the training targets hold", "0 … 1")


# --- CIFAR-10 ----------------------------------------------------------------------------------

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
PIXELS = {name: RANDOM.integers(0, 256, (2, 3072), np.uint8) for name in BATCHES}
CLASSES = {name: RANDOM.integers(0, 10, 2).astype(np.uint8) for name in BATCHES}


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: texts and bytes alike are its strings, and NumPy is of old."""

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, str: save_string, bytes: save_string}


def old_pickle(value):
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def as_binary(name):
    return np.concatenate([CLASSES[name][:, None], PIXELS[name]], axis=1).tobytes()


def as_python(name):
    labels = [int(label) for label in CLASSES[name]]
    return old_pickle({"batch_label": name, "labels": labels, "data": PIXELS[name]})


def as_python3(name):
    return pickle.dumps({"labels": CLASSES[name].tolist(), "data": PIXELS[name]}, protocol=2)


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def batches(write, ending="", folder=""):
    return {f"{folder}{name}{ending}": write(name) for name in BATCHES}


@pytest.fixture(params=["binary", "python", "python3"])
def form(request):
    """The files of one form of CIFAR-10, and the name of their archive."""
    return {
        "binary": (batches(as_binary, ".bin", "cifar-10-batches-bin/"), "cifar-10-binary.tar.gz"),
        "python": (batches(as_python, "", "cifar-10-batches-py/"), "cifar-10-python.tar.gz"),
        "python3": (batches(as_python3, "", "cifar-10-batches-py/"), "cifar-10-python.tar.gz"),
    }[request.param]


def test_both_forms_of_cifar10_from_folders_and_archives(form, tmp_path):
    files, name = form
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
    (tmp_path / "archives").mkdir()
    packed = archive(tmp_path / "archives" / name, {**files, "cifar/readme.html": b"a page"})
    inner = (tmp_path / file).parent
    for place in (tmp_path, inner, packed, packed.parent):
        data = load_data(f"cifar10:{place}", spec(3072), 1)
        assert data.X_train.dtype == np.uint8
        assert data.X_train.flags.c_contiguous
        assert data.sample_shape == (3, 32, 32)
        np.testing.assert_array_equal(data.X_train, np.concatenate(list(PIXELS.values())[:5]))
        np.testing.assert_array_equal(data.t_train, np.concatenate(list(CLASSES.values())[:5]))
        np.testing.assert_array_equal(data.X_test, PIXELS["test_batch"])
        np.testing.assert_array_equal(data.t_test, CLASSES["test_batch"])
        assert data.source == f"cifar10:{place}"
        assert data.description == "cifar10: 10 samples to train on, 2 to test on"


def test_what_is_not_cifar10(tmp_path):
    refused(f"cifar10:{tmp_path / 'none'}", spec(3072), "there is no", "nervac data cifar10 -o")
    refused(f"cifar10:{tmp_path}", spec(3072), "has no data_batch_1.bin", "cifar-10-binary.tar.gz")
    text = tmp_path / "notes.tar.gz"
    text.write_text("hello")
    refused(f"cifar10:{text}", spec(3072), str(text), "no archive of CIFAR-10")
    empty = archive(tmp_path / "empty.tar.gz", {"readme": b""})
    refused(f"cifar10:{empty}", spec(3072), "has no batch data_batch_1; it has no batch")
    whole = archive(tmp_path / "whole.tar.gz", batches(as_binary, ".bin"))
    assert load_data(f"cifar10:{whole}", spec(3072), 1)
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    refused(f"cifar10:{whole}", spec(3072), str(whole), "cut short")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "its 0 bytes"),
        (b"\0" * 3072, "its 3,072 bytes are not a whole number of 3073 each"),
        (b"\x0a" + b"\0" * 3072, "a label 10"),
    ],
)
def test_binary_batches_that_are_wrong(tmp_path, content, said):
    files = {**batches(as_binary, ".bin"), "data_batch_3.bin": content}
    packed = archive(tmp_path / "cifar.tar.gz", files)
    refused(f"cifar10:{packed}", spec(3072), str(packed), "data_batch_3.bin is no batch", said)
    del files["data_batch_3.bin"]
    archive(packed, files)
    refused(f"cifar10:{packed}", spec(3072), "no batch data_batch_3; it has data_batch_1.bin")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "no dictionary"),
        ({"labels": [1, 2]}, "no `data`"),
        ({"data": np.zeros((2, 100), np.uint8), "labels": [1, 2]}, "no `data`"),
        ({"data": np.zeros((2, 3072)), "labels": [1, 2]}, "not bytes"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "no list `labels`"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "no list `labels`"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, "2"]}, "whole numbers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 99]}, "a label 99"),
        ({"data": np.zeros((2, 3072), np.uint8, order="F"), "labels": [1, 2]}, "do not agree"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_python_batches_that_are_wrong(tmp_path, value, said):
    files = {**batches(as_python), "data_batch_5": old_pickle(value)}
    packed = archive(tmp_path / "cifar.tar.gz", files)
    refused(f"cifar10:{packed}", spec(3072), "data_batch_5 is no batch of CIFAR-10", said)


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "call",
    [
        Calls(os.system, "touch executed"),
        Calls(eval, "open('executed', 'w')"),
        Calls(np.load, "executed"),
        Calls(np.frombuffer, b"executed"),
        Calls(getattr, "", "upper"),
    ],
    ids=lambda call: call.reduced[0].__name__,
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_calls_nothing(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PickleError, match="which is never called"):
        load_byte_arrays(pickle.dumps({"labels": call}, protocol=protocol))
    assert list(tmp_path.iterdir()) == []


def test_damaged_pickles_are_refused():
    """Cut anywhere, or with any byte another."""
    whole = old_pickle({"data": np.zeros((2, 3), np.uint8), "labels": [1, 2]})
    for size in range(len(whole)):
        with pytest.raises(PickleError):
            load_byte_arrays(whole[:size])
    for place in range(len(whole)):
        for value in (0, 40, 0x8C, 255):
            changed = bytearray(whole)
            changed[place] = value
            with suppress(PickleError):
                load_byte_arrays(bytes(changed))
