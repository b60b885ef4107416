"""Small models for the tests of the checker, and what comes out of them."""

import pytest

from nerva_dsl.check import check_source
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.source import Source

TEXT = """\
model simple
{top}
input x : float32[8]
target t : class[3]
{values}
output = y
loss = {loss}
{more}
train {{
{train}
}}
"""


def checked(
    values="y = linear(x, 3)",
    *,
    top="",
    loss="softmax_cross_entropy(y, t)",
    more="",
    train="",
    **overrides,
):
    """The checked model of a text with these parts; the input has 8 features, the target 3."""
    text = TEXT.format(top=top, values=values, loss=loss, more=more, train=train)
    return check_source(Source("simple.nerva", text), overrides).model


def problems(*arguments, **named):
    """The errors of such a text."""
    with pytest.raises(DiagnosticError) as caught:
        checked(*arguments, **named)
    return caught.value.diagnostics


def codes(*arguments, **named):
    """Their codes."""
    return [problem.code for problem in problems(*arguments, **named)]


def value_of(model, name):
    """A named value of a model."""
    return next(value for value in model.values if value.name == name)


def behind(root):
    """All values that a value is computed from, itself included, each once."""
    found, stack = [], [root]
    while stack:
        value = stack.pop()
        if not any(value is other for other in found):
            found.append(value)
            parts = getattr(value, "operands", ()) or getattr(value, "parts", ())
            stack += parts or ([value.x] if hasattr(value, "x") else [])
    return found


def of_kind(model, kind):
    """The values of a kind that the output, the loss and the metrics are computed from."""
    found = []
    for root in (model.output, model.loss, *(metric.value for metric in model.metrics)):
        found += [v for v in behind(root) if isinstance(v, kind) and v not in found]
    return found
