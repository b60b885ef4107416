"""The checker on long files: everything checks, and work grows as the file does."""

import sys

import pytest

from nerva_dsl.check import check_source, checker
from nerva_dsl.source import Source


def chain(count):
    """A deep network: a residual layer a line."""
    lines = ["h0 = linear(x, 8)"]
    lines += [f"h{n} = relu(linear(h{n - 1}, 8)) + h{n - 1}" for n in range(1, count)]
    return "", lines, count - 1


def functions(count):
    """A function a line, and a value that uses it."""
    definitions = [f"function f{n}(x) = {n} * relu(x) + 1" for n in range(count // 2)]
    values = ["h0 = linear(x, 8)"]
    values += [f"h{n} = f{n}(h{n - 1})" for n in range(1, count // 2)]
    return "\n".join(definitions), values, count // 2 - 1


def layers(count):
    """Layers of some lines, used once each."""
    definitions = [
        f"layer b{n}(x; n) {{\n    h = relu(linear(x, n))\n    return h + batch_norm(h)\n}}"
        for n in range(count // 5)
    ]
    values = ["h0 = linear(x, 8)"]
    values += [f"h{n} = b{n}(h{n - 1}, 8)" for n in range(1, count // 5)]
    return "\n".join(definitions), values, count // 5 - 1


def text_of(kind, count):
    definitions, values, last = kind(count)
    return "\n".join(
        [
            "model long\ninput x : float32[8]\ntarget t : class[8]\nsparsity = erdos_renyi(0.5)",
            definitions,
            *values,
            f"output = h{last}\nloss = softmax_cross_entropy(h{last}, t)\n",
        ]
    )


def calls(text):
    """How many calls of functions checking takes, Python's and C's."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    source = Source("long.nerva", text)
    check_source(source)  # what is made once and kept does not count
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        check_source(source)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", [chain, functions, layers])
def test_work_grows_as_the_file(kind):
    short, long = calls(text_of(kind, 100)), calls(text_of(kind, 400))
    assert long < 4.4 * short


def test_a_file_of_10_000_lines():
    text = text_of(chain, 10_000)
    model = check_source(Source("long.nerva", text)).model
    assert len(model.layers) == 10_000
    assert model.parameters[-1] == "h9999.bias"


def test_the_model_is_made_once_and_when_it_is_asked_for(monkeypatch):
    made = []
    final_values = checker.final_values
    monkeypatch.setattr(
        checker, "final_values", lambda *given: made.append(1) or final_values(*given)
    )
    checked = check_source(Source("short.nerva", text_of(chain, 5)))
    assert not made
    assert checked.model is checked.model
    assert made == [1]
