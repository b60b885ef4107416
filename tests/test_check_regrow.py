"""The checker: `regrow { }`."""

import pytest
from checking import checked, codes

from nerva_dsl.scalar import Number, variables

LAYERS = "h = linear(x, 4, density = 0.5)\ny = linear(h, 3)"


def regrown(lines, values=LAYERS):
    return checked(values, more=f"regrow {{\n{lines}\n}}").regrow


def test_without_the_block_patterns_stay():
    assert checked(LAYERS).regrow is None


def test_all_settings():
    values = (
        "a = linear(x, 4, density = 0.5)\nb = linear(a, 4, density = 0.5, regrow = false)\n"
        "c = linear(b, 4, density = 0.25)\ny = linear(c, 3)"
    )
    regrow = regrown(
        "every = steps(100)\nprune = magnitude(0.3)\ngrow = gradient()\n"
        'weights = xavier(fan_in = "sparse")\nuntil = 0.75',
        values,
    )
    assert (regrow.every, regrow.unit, regrow.grow, regrow.until) == (
        100,
        "steps",
        "gradient",
        0.75,
    )
    assert (regrow.prune, regrow.fraction) == ("magnitude", Number(0.3))
    bounds = {name: start.second for name, start in regrow.weights}
    assert bounds == {"a": pytest.approx(1 / 2), "c": pytest.approx(1)}  # 4 and 1 non-zeros a row


def test_defaults():
    regrow = regrown("every = epochs(1)\nprune = threshold(0)\ngrow = momentum()")
    assert (regrow.every, regrow.unit, regrow.until) == (1, "epochs", 1.0)
    assert (regrow.prune, regrow.fraction) == ("threshold", Number(0.0))
    ((name, start),) = regrow.weights
    assert (name, start.first, start.second) == ("h", 0.0, 0.0)


def test_a_fraction_may_be_a_schedule():
    lines = "every = epochs(1)\nprune = set(multistep(0.3, [5, 8]))\ngrow = random()"
    assert variables(regrown(lines).fraction) == ("epoch",)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("every = epochs(0)", "N0502"),
        ("every = epochs(1.5)", "N0502"),
        ("every = weeks(1)", "N0201"),
        ("every = 1", "N0502"),
        ("prune = set(0)", "N0502"),
        ("prune = set(1)", "N0502"),
        ("prune = set(30)", "N0502"),
        ("prune = set()", "N0205"),
        ("prune = set(cosin(0.3))", "N0201"),
        ("prune = threshold(-1)", "N0502"),
        ("grow = random(1)", "N0205"),
        ("grow = random", "N0502"),
        ("until = 0", "N0502"),
        ("until = 1.5", "N0502"),
        ("weights = zeros()", "N0201"),
        ("often = 1", "N0501"),
    ],
)
def test_mistakes(line, code):
    sound = {
        "every": "every = epochs(1)",
        "prune": "prune = set(0.3)",
        "grow": "grow = random()",
    }
    lines = [text for key, text in sound.items() if not line.startswith(key)]
    assert codes(LAYERS, more="regrow {\n" + "\n".join([*lines, line]) + "\n}") == [code]


def test_some_layer_has_to_change():
    lines = "every = epochs(1); prune = set(0.3); grow = random()"
    for values in ("y = linear(x, 3)", "y = linear(x, 3, density = 0.5, regrow = false)"):
        assert codes(values, more=f"regrow {{\n{lines}\n}}") == ["N0503"]
