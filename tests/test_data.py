"""Data sets: what `--data` accepts, how arrays are converted, and what is refused."""

import numpy as np
import pytest
from refusals import refused

from nerva_dsl.runtime.data import load_data


def spec(features=4, element="float32", kind="class", size=3, precision="float32"):
    target = None if kind is None else {"name": "t", "kind": kind, "size": size}
    return {
        "input": {"name": "x", "element": element, "features": features},
        "target": target,
        "precision": precision,
    }


def samples(n=10, features=4):
    return np.arange(n * features, dtype=np.float32).reshape(n, features)


@pytest.fixture
def archive(tmp_path):
    """Write an .npz file; returns its path as text."""

    def write(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


def test_digits_are_the_default_with_a_held_out_fifth():
    data = load_data(None, spec(64, size=10), 1)
    assert data.X_train.shape == (1438, 64)
    assert data.X_test.shape == (359, 64)
    assert data.X_train.dtype == np.float32
    assert data.X_train.max() == 16
    assert data.sample_shape == (8, 8)
    assert data.t_train.dtype == np.int32
    assert set(data.t_test) == set(range(10))
    assert data.source == "digits"
    assert "held-out fifth by seed 1" in data.description


def test_diabetes_is_the_default_of_a_regression_of_its_size():
    data = load_data(None, spec(10, kind="real", size=1), 1)
    assert data.X_train.shape == (354, 10)
    assert data.t_train.shape == (354, 1)
    assert data.t_test.dtype == np.float32
    assert data.source == "diabetes"
    refused(None, spec(10, kind="class", size=2), "this model has 10 inputs")


def test_the_held_out_part_is_a_function_of_the_seed(archive):
    path = archive(Xtrain=samples(50), Ttrain=np.arange(50) % 3)
    first, again, other = (load_data(path, spec(), seed) for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert len(first.X_test) == 10
    together = np.concatenate([first.X_train, first.X_test])
    np.testing.assert_array_equal(together[np.argsort(together[:, 0])], samples(50))
    rows = (first.X_train[:, 0] / 4).astype(int)
    np.testing.assert_array_equal(first.t_train, rows % 3)  # targets stay with their inputs


def test_the_default_needs_a_model_of_its_width():
    refused(None, spec(3072), "this model has 3072 inputs", "64", "`digits`", "`FILE.npz`")


@pytest.mark.parametrize(
    "keys", [("Xtrain", "Ttrain", "Xtest", "Ttest"), ("X_train", "y_train", "X_test", "y_test")]
)
def test_both_namings_of_an_archive(archive, keys):
    labels = np.array([0, 1, 2] * 2)
    path = archive(**dict(zip(keys, (samples(6), labels, samples(3), labels[:3]), strict=True)))
    data = load_data(path, spec(), 1)
    np.testing.assert_array_equal(data.X_train, samples(6))
    np.testing.assert_array_equal(data.t_train, labels)
    np.testing.assert_array_equal(data.X_test, samples(3))
    np.testing.assert_array_equal(data.t_test, labels[:3])
    assert data.source == path


@pytest.mark.parametrize(
    "form",
    [
        np.array([2, 0, 1, 2, 0]),
        np.array([2, 0, 1, 2, 0], np.uint8),
        np.array([2.0, 0, 1, 2, 0]),
        np.array([[2], [0], [1], [2], [0]]),
        np.eye(3)[[2, 0, 1, 2, 0]],
        np.eye(3, dtype=bool)[[2, 0, 1, 2, 0]],
    ],
    ids=["integers", "bytes", "floats", "column", "one-hot", "truths"],
)
def test_forms_of_class_targets(archive, form):
    path = archive(Xtrain=samples(5), Ttrain=form, Xtest=samples(5), Ttest=form)
    data = load_data(path, spec(), 1)
    assert data.t_train.dtype == np.int32
    np.testing.assert_array_equal(data.t_train, [2, 0, 1, 2, 0])


@pytest.mark.parametrize(
    ("form", "size"),
    [(np.eye(3)[[2, 0]], 3), (np.array([2, 0]), 3), (np.array([0.5, 1.5]), 1)],
    ids=["rows", "labels", "numbers"],
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_forms_of_real_targets(archive, form, size, precision):
    path = archive(Xtrain=samples(2), Ttrain=form, Xtest=samples(2), Ttest=form)
    data = load_data(path, spec(kind="real", size=size, precision=precision), 1)
    assert data.t_train.dtype == precision
    assert data.X_train.dtype == precision
    expected = form.reshape(2, 1) if size == 1 else np.eye(3)[[2, 0]]
    np.testing.assert_array_equal(data.t_train, expected)


def test_a_model_without_target_needs_and_gets_none(archive):
    data = load_data(archive(Xtrain=samples()), spec(kind=None), 1)
    assert data.t_train is None
    assert data.t_test is None
    assert len(data.fingerprint()) == 32


def test_images_are_flattened_and_bytes_stay_bytes(archive):
    images = np.arange(5 * 2 * 2, dtype=np.uint8).reshape(5, 2, 2)
    path = archive(Xtrain=images, Ttrain=np.zeros(5, int))
    assert load_data(path, spec(element="uint8"), 1).X_train.dtype == np.uint8
    data = load_data(path, spec(), 1)
    assert data.X_train.shape == (4, 4)
    assert data.X_train.dtype == np.float32


def test_whole_numbers_become_bytes(archive):
    path = archive(Xtrain=samples(), Ttrain=np.zeros(10, int))
    data = load_data(path, spec(element="uint8"), 1)
    assert data.X_train.dtype == np.uint8
    assert data.X_train.flags.c_contiguous


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan])
def test_what_is_no_byte_is_refused(archive, value):
    X = samples()
    X[3, 2] = value
    path = archive(Xtrain=X, Ttrain=np.zeros(10, int))
    refused(path, spec(element="uint8"), "row 3, feature 2", "0 to 255")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_refused(archive, value):
    X = samples().astype(np.float64)
    X[3, 2] = value
    path = archive(Xtrain=X, Ttrain=np.zeros(10, int))
    refused(path, spec(), "training inputs", "row 3, column 2")


@pytest.mark.parametrize("label", [-1, 3, 0.5, np.nan])
def test_labels_out_of_range_are_refused(archive, label):
    labels = np.zeros(10)
    labels[7] = label
    refused(archive(Xtrain=samples(), Ttrain=labels), spec(), "row 7", "0 … 2")


@pytest.mark.parametrize("row", [[1, 1, 0], [0, 0, 0], [0.5, 0.5, 0], [np.nan, 0, 0]])
def test_rows_that_name_no_class_are_refused(archive, row):
    t = np.eye(3)[np.zeros(10, int)]
    t[7] = row
    refused(archive(Xtrain=samples(), Ttrain=t), spec(), "row 7", "one 1 among zeros")


def test_unknown_names_get_a_suggestion():
    refused("digts", spec(), "`--data digts`", "did you mean `digits`?")
    refused("imagenet", spec(), "there is no such data", "`digits`")
    refused("digits:7", spec(64), "takes nothing after it")


def test_files_that_are_not_there_or_not_archives(tmp_path, archive):
    refused(str(tmp_path / "none.npz"), spec(), "there is no file")
    refused(str(tmp_path), spec(), "is a folder", f"`idx:{tmp_path}`")
    whole = archive(Xtrain=samples(500), Ttrain=np.zeros(500, int))
    content = (tmp_path / "data.npz").read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 10):
        (tmp_path / "data.npz").write_bytes(content[:size])
        refused(whole, spec(), "not an .npz file of numbers")
    encrypted = bytearray(content)
    for begin in range(len(encrypted) - 4):
        if encrypted[begin : begin + 4] == b"PK\x01\x02":
            encrypted[begin + 8] |= 1
    (tmp_path / "data.npz").write_bytes(encrypted)
    refused(whole, spec(), "not an .npz file of numbers")
    (tmp_path / "text.npz").write_text("hello")
    refused(str(tmp_path / "text.npz"), spec(), "not an .npz file of numbers")
    np.save(tmp_path / "one.npy", samples())
    refused(str(tmp_path / "one.npy"), spec(), "is one array")


def test_nothing_is_unpickled(archive):
    path = archive(Xtrain=np.array([{}], object), Ttrain=np.zeros(1, int))
    refused(path, spec(), "Python objects")


def test_missing_keys_are_named_with_those_that_are_there(archive):
    refused(archive(images=samples()), spec(), "no Xtrain or X_train", "images")
    refused(archive(), spec(), "nothing in it")
    refused(archive(Xtrain=samples()), spec(), "no training targets")
    path = archive(Xtrain=samples(), Ttrain=np.zeros(10, int), Xtest=samples())
    refused(path, spec(), "test inputs without Ttest or y_test")


def test_shapes_that_do_not_fit(archive):
    labels = np.zeros(10, int)
    refused(archive(Xtrain=samples(), Ttrain=labels), spec(5), "[10, 4]", "[n, 5]")
    refused(archive(Xtrain=samples().T, Ttrain=labels), spec(), "is it transposed?")
    refused(archive(Xtrain=samples(), Ttrain=labels[:9]), spec(), "are 9", "are 10")
    refused(archive(Xtrain=samples(), Ttrain=np.zeros((10, 2))), spec(), "[10, 2]")
    real = spec(kind="real")
    refused(archive(Xtrain=samples(), Ttrain=np.zeros((10, 2))), real, "needs [10, 3]")
    refused(archive(Xtrain=samples(0), Ttrain=labels[:0]), spec(), "empty")
    refused(archive(Xtrain=samples(1), Ttrain=labels[:1]), spec(), "one sample")


@pytest.mark.parametrize("dtype", [np.complex64, "U3", "datetime64[s]"])
def test_what_is_no_number_is_refused(archive, dtype):
    X = np.zeros((10, 4), dtype)
    refused(archive(Xtrain=X, Ttrain=np.zeros(10, int)), spec(), "real numbers are needed")
