"""Replacing parameters and patterns."""

import numpy as np
import pytest
from scipy import sparse

from runtime_fixture.models import data, dense, same, state, variant


@pytest.fixture(scope="module")
def tiny():
    return variant()


def pattern(positions, values=None):
    rows, columns = zip(*positions, strict=True)
    values = np.arange(1, len(rows) + 1) / 8 if values is None else values
    return sparse.csr_array((values, (rows, columns)), shape=(3, 4))


def test_set_parameters_round_trip(tiny, tmp_path):
    model, other = tiny.Model(seed=1), tiny.Model(seed=2)
    model.fit(*data())
    other.set_parameters(model.parameters())
    assert same(other.parameters(), model.parameters())
    X, _ = data(23, seed=9)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    before = state(model, tmp_path / "a.npz")
    model.set_parameters(model.parameters())
    assert state(model, tmp_path / "a.npz") == before


def test_set_a_part(tiny):
    model = tiny.Model()
    before = dense(model.parameters())
    model.set_parameters({"y.bias": [1, 2]})
    after = dense(model.parameters())
    np.testing.assert_array_equal(after.pop("y.bias"), np.float32([1, 2]))
    before.pop("y.bias")
    assert same(after, before)
    model.set_parameters({})


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_any_sparse_format(tiny, form):
    model = tiny.Model()
    weight = pattern([(0, 1), (0, 3), (2, 0)])
    model.set_parameters({"h.weight": weight.asformat(form)})
    np.testing.assert_array_equal(model.parameters()["h.weight"].toarray(), weight.toarray())
    model.set_parameters({"h.weight": sparse.csr_matrix(weight)})


def test_a_pattern_may_change_within_the_allocated(tiny):
    model = tiny.Model()
    weight = pattern([(0, 1), (2, 0), (2, 3)], [0.5, 0.0, -1.0])
    model.set_parameters({"h.weight": weight})
    stored = model.parameters()["h.weight"]
    assert stored.indices.tolist() == [1, 0, 3]
    assert stored.indptr.tolist() == [0, 1, 1, 3]
    assert stored.data.tolist() == [0.5, 0.0, -1.0]  # the explicit zero stays
    assert model.nnz["h.weight"] == 3
    assert model.density["h.weight"] == 0.25
    X, t = data(5)
    gradients = model.gradients(X, t)
    assert gradients["h.weight"].nnz == 3
    p = dense(model.parameters())
    expected = np.tanh(X @ p["h.weight"].T + p["h.bias"]) @ p["y.weight"].T + p["y.bias"]
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-6)
    model.train_step(X, t)
    model.set_parameters({"h.weight": pattern([(0, c) for c in range(4)] + [(1, 0), (1, 1)])})
    assert model.nnz["h.weight"] == 6


def test_an_empty_pattern(tiny):
    model = tiny.Model()
    model.set_parameters({"h.weight": sparse.csr_array((3, 4))})
    assert model.nnz["h.weight"] == 0
    X, t = data(5)
    model.train_step(X, t)
    assert model.gradients(X, t)["h.weight"].nnz == 0
    assert model.parameters()["h.weight"].nnz == 0


def test_optimizer_state_stays_where_a_position_stays(tiny, tmp_path):
    model = tiny.Model()
    model.set_parameters({"h.weight": pattern([(0, 1), (0, 3), (1, 2), (2, 0)])})
    X, t = data()
    model.train_epoch(X, t)
    model.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        velocity = file["h.weight:state:v"]
    assert velocity.all()
    model.set_parameters({"h.weight": pattern([(0, 0), (0, 3), (2, 0), (2, 1)])})
    model.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        moved = file["h.weight:state:v"]
        kept = file["y.weight:state:v"]
    assert moved.tolist() == [0, velocity[1], velocity[3], 0]
    assert kept.any()


def invalid_csr():
    weight = sparse.csr_array((np.ones(2), [0, 1], [0, 1, 2, 2]), shape=(3, 4))
    weight.indices[1] = 99
    return weight


BAD_PARAMETERS = {
    "unknown": ({"h.wieght": 0}, "model tiny has no parameter 'h.wieght'; did you mean 'h.weight'"),
    "far": ({"qqq": 0}, "has no parameter 'qqq'; it has h.weight, h.bias, y.weight, y.bias"),
    "key": ({3: 0}, "has no parameter 3"),
    "no dictionary": ([1, 2], "parameters: expected a dictionary .* got list"),
    "shape": (
        {"y.weight": np.zeros((3, 2))},
        r"y.weight: expected an array \[2, 3\], got \[3, 2\]",
    ),
    "vector": ({"y.bias": np.zeros((2, 1))}, r"y.bias: expected an array \[2\], got \[2, 1\]"),
    "type": ({"y.bias": ["a", "b"]}, "y.bias: expected floating-point numbers, got <U1"),
    "complex": ({"y.bias": np.zeros(2, complex)}, "y.bias: expected floating-point numbers"),
    "nan": ({"y.bias": [0, np.nan]}, "y.bias: expected finite numbers, got nan"),
    "overflow": ({"y.bias": [0, 1e300]}, r"y.bias: expected finite numbers, got 1e\+300"),
    "sparse for dense": ({"y.weight": sparse.eye_array(2, 3)}, "y.weight: expected an array"),
    "dense for sparse": ({"h.weight": np.zeros((3, 4))}, r"h.weight: .* pass scipy.sparse.csr_arr"),
    "sparse shape": (
        {"h.weight": sparse.csr_array((4, 3))},
        r"h.weight: .* \[3, 4\], got \[4, 3\]",
    ),
    "sparse nan": ({"h.weight": pattern([(0, 1)], [np.inf])}, "h.weight: expected finite numbers"),
    "too many": (
        {"h.weight": sparse.csr_array(np.ones((3, 4)))},
        "h.weight: expected at most 6 non-zeros, as many as are allocated, got 12",
    ),
    "twice": (
        {"h.weight": sparse.coo_array(([1.0, 2.0], ([1, 1], [2, 2])), shape=(3, 4))},
        r"h.weight: expected each position once, got \[1, 2\] more than once",
    ),
    "invalid": ({"h.weight": invalid_csr()}, "h.weight: the sparse array"),
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameters_change_nothing(tiny, tmp_path, name):
    parameters, message = BAD_PARAMETERS[name]
    model = tiny.Model()
    before = state(model, tmp_path / "a.npz")
    if isinstance(parameters, dict):  # what is good comes first, and is not installed either
        parameters = {"h.bias": np.ones(3), **parameters}
    with pytest.raises(ValueError, match=message):
        model.set_parameters(parameters)
    assert state(model, tmp_path / "a.npz") == before
