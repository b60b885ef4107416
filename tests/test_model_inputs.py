"""What compiled models accept as samples and targets, and what they say of the rest."""

import numpy as np
import pytest
from scipy import sparse

from runtime_fixture.models import data, same, state, variant


@pytest.fixture(scope="module")
def tiny():
    return variant()


# Inputs


def predictions_agree(model, X, converted):
    np.testing.assert_array_equal(model.predict(X), model.predict(converted))


def test_accepted_inputs(tiny):
    model = tiny.Model()
    X, _ = data(23)
    wide = np.zeros((46, 8), np.float32)
    wide[::2, ::2] = X
    for given in (
        X.astype(np.float64).astype(np.float32),
        wide[::2, ::2],
        np.asfortranarray(X),
        X.astype(">f4"),
        X.tolist(),
        np.ma.masked_array(X),
    ):
        predictions_agree(model, given, X)
    bytes_ = np.arange(12, dtype=np.uint8).reshape(3, 4)
    predictions_agree(model, bytes_, bytes_.astype(np.float32))
    predictions_agree(model, bytes_.tolist(), bytes_)
    X.flags.writeable = False
    model.predict(X)


def test_a_view_is_not_changed_and_may_be_reversed(tiny):
    X, t = data(5)
    assert tiny.Model().train_step(X[::-1], t[::-1]) == pytest.approx(
        tiny.Model().train_step(X[::-1].copy(), t[::-1].copy())
    )


BAD_INPUTS = {
    "width": (lambda X: X[:, :3], r"X: expected a \[n, 4\] array, got \[23, 3\]"),
    "one sample": (lambda X: X[0], r"X: expected a \[n, 4\] array, got \[4\]; for one sample pass"),
    "images": (lambda X: X.reshape(23, 2, 2), r"got \[23, 2, 2\]; pass X.reshape"),
    "scalar": (lambda X: 3.0, r"X: expected a \[n, 4\] array, got float"),
    "array scalar": (lambda X: np.float64(3), r"X: expected a \[n, 4\] array, got \[\]"),
    "text": (lambda X: "X", r"X: expected a \[n, 4\] array, got str"),
    "refusing": (lambda X: Refusing(), r"X: expected a \[n, 4\] array, got Refusing: on the GPU"),
    "none": (lambda X: None, r"X: expected a \[n, 4\] array, got None"),
    "empty": (lambda X: X[:0], r"X: expected at least one sample, got an empty \[0, 4\] array"),
    "int64": (lambda X: X.astype(np.int64), "X: expected float32, float64 or uint8, got int64"),
    "float16": (lambda X: X.astype(np.float16), "X: expected float32.* got float16"),
    "longdouble": (lambda X: X.astype(np.longdouble), "X: expected float32, float64 or uint8, got"),
    "complex": (lambda X: X.astype(complex), "X: expected float32.* got complex128"),
    "bool": (lambda X: X > 0, "X: expected float32.* got bool"),
    "strings": (lambda X: X.astype(str), "X: expected float32.* got <U"),
    "objects": (lambda X: X.astype(object), "X: expected float32.* got object"),
    "ragged": (lambda X: [[1, 2, 3, 4], [1]], r"X: expected a \[n, 4\] array, got list"),
    "sparse": (sparse.csr_array, r"X: expected a \[n, 4\] array, got csr_array; pass its toarray"),
}


class Refusing:
    """Like a tensor of another library that cannot become an array as it is."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("on the GPU")


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_inputs(tiny, tmp_path, name):
    change, message = BAD_INPUTS[name]
    model = tiny.Model()
    X, t = data(23)
    bad = change(X)
    before = state(model, tmp_path / "a.npz")
    for call in (
        lambda: model.train_step(bad, t[:1]),
        lambda: model.train_epoch(bad, t),
        lambda: model.fit(bad, t),
        lambda: model.predict(bad),
        lambda: model.evaluate(bad, t),
        lambda: model.loss(bad, t),
        lambda: model.gradients(bad, t),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert state(model, tmp_path / "a.npz") == before


BAD_LABELS = {
    "none": (lambda t: None, r"t: expected integer labels \[n\], 0 … 1, got None"),
    "length": (lambda t: t[:22], "t: expected 23 labels, one for each row of X, got 22"),
    "scalar": (lambda t: 1, r"t: expected integer labels \[n\], 0 … 1, got int"),
    "column": (lambda t: t[:, None], r"got an array \[23, 1\]; pass t.ravel\(\)"),
    "one-hot": (lambda t: np.eye(2)[t], r"got an array \[23, 2\]; for one-hot rows pass"),
    "floats": (lambda t: t.astype(np.float32), r"t: expected integer labels .* got float32"),
    "bools": (lambda t: t > 0, r"t: expected integer labels .* got bool"),
    "too large": (lambda t: np.where(np.arange(23) == 7, 2, t), "got 2 in row 7"),
    "negative": (lambda t: np.where(np.arange(23) == 7, -1, t), "got -1 in row 7"),
    "beyond int32": (lambda t: np.where(np.arange(23) == 7, 1 << 40, t), "got 1099511627776 in"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels(tiny, name):
    change, message = BAD_LABELS[name]
    model = tiny.Model()
    X, t = data(23)
    for call in (model.train_epoch, model.fit, model.evaluate, model.loss):
        with pytest.raises(ValueError, match=message):
            call(X, change(t))
    assert model.step == 0


def test_accepted_labels(tiny):
    X, t = data(23)
    expected = tiny.Model().loss(X, t)
    for given in (t.tolist(), t.astype(np.uint8), t.astype(np.int32), np.repeat(t, 2)[::2]):
        assert tiny.Model().loss(X, given) == expected


def test_a_batch_has_a_most(tiny):
    X, t = data(6)
    model = tiny.Model()
    for call in (model.train_step, model.gradients):
        with pytest.raises(ValueError, match=r"X: expected at most 5 samples, .* got 6"):
            call(X, t)


@pytest.mark.parametrize("lr", [np.nan, np.inf, "fast", [0.1, 0.2], True, 1e39, 10**400])
def test_bad_learning_rate(tiny, lr):
    X, t = data(5)
    model = tiny.Model()
    for call in (model.train_step, model.train_epoch):
        with pytest.raises(ValueError, match="lr: expected a finite float32 number or None, got"):
            call(X, t, lr=lr)


BAD_ORDERS = {
    "length": (np.arange(22), "order: expected 23 indices, one for each sample, got 22"),
    "range": (np.arange(1, 24), r"order: expected indices in 0 … 22, got 23 at position 22"),
    "negative": (np.arange(-1, 22), r"got -1 at position 0"),
    "twice": (np.r_[0, 0:22], "order: expected each index once, got 0 2 times"),
    "floats": (np.arange(23.0), r"order: expected a permutation .* got float64 \[23\]"),
    "shape": (np.arange(23)[None], r"order: expected a permutation .* got int64 \[1, 23\]"),
}


@pytest.mark.parametrize("name", BAD_ORDERS)
def test_bad_orders(tiny, name):
    order, message = BAD_ORDERS[name]
    with pytest.raises(ValueError, match=message):
        tiny.Model().train_epoch(*data(23), order=order)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite(tiny, tmp_path, value):
    X, t = data(23)
    X[17, 2] = value
    model = tiny.Model()
    before = state(model, tmp_path / "a.npz")
    message = f"X: expected finite numbers, got {value} in row 17, feature 2"
    with pytest.raises(ValueError, match=message):
        model.train_epoch(X, t, order=np.roll(np.arange(23), 6))  # in the first batch
    assert state(model, tmp_path / "a.npz") == before
    for call in (model.evaluate, model.loss, model.fit):
        with pytest.raises(ValueError, match=message):
            call(X, t)
    with pytest.raises(ValueError, match=message):
        model.predict(X)
    with pytest.raises(ValueError, match="in row 2, feature 2"):
        model.train_step(X[15:20], t[15:20])
    with pytest.raises(ValueError, match="in row 2, feature 2"):
        model.gradients(X[15:20], t[15:20])


def test_an_input_beyond_the_precision(tiny):
    X, t = data(5)
    X = X.astype(np.float64)
    X[1, 3] = 1e300
    with pytest.raises(ValueError, match=r"got 1e\+300 in row 1, feature 3, which is out of the"):
        tiny.Model().loss(X, t)


def test_a_failing_batch_leaves_the_batches_before(tiny):
    X, t = data(23)
    model, reference = tiny.Model(), tiny.Model()
    bad = X.copy()
    bad[11] = np.nan
    order = np.arange(23)
    with pytest.raises(ValueError, match="in row 11"):
        model.train_epoch(bad, t, order=order)
    for start in (0, 5):
        reference.train_step(X[start : start + 5], t[start : start + 5])
    assert same(model.parameters(), reference.parameters())
    assert (model.step, model.epoch) == (2, 0)


def test_an_epoch_begins_anew_after_an_error(tiny):
    X, t = data(23)
    model = tiny.Model()
    bad = X.copy()
    bad[11] = np.nan
    with pytest.raises(ValueError, match="in row 11"):
        model.train_epoch(bad, t)
    steps = model.step
    model.train_epoch(X, t)
    assert model.step == steps + 5


def test_a_loss_that_is_not_finite():
    X, _ = data(23)
    t = np.ones((23, 2))
    model, reference = variant(target="real").Model(), variant(target="real").Model()
    with pytest.raises(FloatingPointError) as caught:
        model.train_epoch(X, t, lr=1e30, order=np.arange(23))
    text = str(caught.value)
    assert "the loss is not finite in epoch 1, batch 2 of 5" in text
    assert "layer y is the first" in text
    assert "try a learning rate below 1e+30" in text
    reference.train_step(X[:5], t[:5], lr=1e30)
    assert (model.epoch, model.step) == (0, 1)
    assert same(model.parameters(), reference.parameters())
    with pytest.raises(FloatingPointError, match="in batch 1 of 1: layer y is the first"):
        model.loss(X[:5], t[:5])


# Other inputs and targets


def test_uint8_input():
    module = variant(element="uint8")
    X = np.random.default_rng(0).integers(0, 256, (23, 4)).astype(np.uint8)
    model = module.Model()
    for given in (X.astype(np.float32), X.astype(np.float64), X.tolist(), X[::-1][::-1]):
        predictions_agree(model, given, X)
    for value, text in [(0.5, "0.5"), (256, "256.0"), (-1, "-1.0")]:
        bad = X.astype(np.float64)
        bad[3, 1] = value
        with pytest.raises(
            ValueError, match=rf"integers in 0 … 255, got {text} in row 3, feature 1"
        ):
            model.predict(bad)
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="got nan, which is not finite, in row 3, feature 1"):
        model.predict(bad)
    with pytest.raises(ValueError, match="X: expected float32, float64 or uint8, got int64"):
        model.predict(X.astype(np.int64))


def test_real_target():
    model = variant(target="real", precision="float64").Model()
    X, _ = data(23)
    t = np.random.default_rng(1).normal(size=(23, 2))
    loss = ((model.predict(X) - t) ** 2).sum(axis=1).mean()
    assert model.evaluate(X, t) == {"loss": pytest.approx(loss)}
    assert model.loss(X, t.tolist()) == pytest.approx(loss)
    history = model.fit(X, t, epochs=1, validation=(X, t))
    assert history.accuracy == history.val_accuracy == [None]
    assert "accuracy" not in repr(history)
    bad = {
        r"t: expected a float array \[n, 2\], got None": None,
        r"t: expected 23 rows, one for each row of X, got 22": t[:22],
        r"t: expected a float array \[n, 2\], got \[23\]": t[:, 0],
        r"got \[23, 2, 1\]; pass t.reshape\(23, 2\)": t[:, :, None],
        r"t: expected a float array \[n, 2\], got complex128": t.astype(complex),
    }
    for message, value in bad.items():
        with pytest.raises(ValueError, match=message):
            model.loss(X, value)
    t[4, 1] = np.inf
    with pytest.raises(ValueError, match="t: expected finite numbers, got inf in row 4, column 1"):
        model.train_epoch(X, t)


def test_no_target():
    model = variant(target=None, outputs=4).Model()
    X, t = data(23)
    assert model.loss(X) == pytest.approx(((model.predict(X) - X) ** 2).sum(axis=1).mean())
    model.train_step(X[:5])
    model.train_epoch(X)
    assert model.fit(X, epochs=1, validation=(X, None)).val_loss == [model.loss(X)]
    assert set(model.gradients(X[:5])) == set(model.parameters())
    with pytest.raises(ValueError, match="t: model tiny has no target, so None was expected"):
        model.loss(X, t)
