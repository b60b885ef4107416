"""The checker: forms of the graph, learned options, optimizers of layers, metrics, names."""

import numpy as np
import pytest
from checking import behind, checked, codes, of_kind, value_of

from nerva_dsl import model
from nerva_dsl.check import check_source
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.scalar.evaluate import evaluate
from nerva_dsl.source import Source

SWISH = "function beta_swish(x; learn beta = 1) = x * sigmoid(beta * x)"
SRELU = """\
function hinged(x; learn al = 0, learn tl = 0, learn ar = 0, learn tr = 1) =
    if x <= tl then tl + al * (x - tl) else if x < tr then x else tr + ar * (x - tr)"""

# --------------------------------------------------------------------------------------- forms


def test_batch_norm_has_the_defaults_of_pytorch():
    y = checked("y = batch_norm(linear(x, 3))").output
    assert isinstance(y, model.BatchNorm)
    assert (y.width, y.momentum, y.epsilon, y.prefix) == (3, 0.1, 1e-5, "y")


def test_batch_norm_takes_options_by_position_and_name():
    y = checked("y = batch_norm(linear(x, 3), 0.5, epsilon = 1 / 1024)").output
    assert (y.momentum, y.epsilon) == (0.5, 2.0**-10)


def test_dropout():
    result = checked("h = dropout(x, rate)\ny = linear(h, 3)", top="param rate = 0.25")
    h = value_of(result, "h")
    assert isinstance(h, model.Dropout)
    assert (h.width, h.rate) == (8, 0.25)
    assert h.x is result.output.x.x


def test_dropout_at_rate_0_is_the_identity():
    result = checked("h = dropout(x, 0)\ny = linear(h, 3)")
    assert isinstance(result.output.x, model.Input)
    assert not of_kind(result, model.Dropout)


@pytest.mark.parametrize(
    ("form", "kind"), [("softmax", model.Softmax), ("log_softmax", model.LogSoftmax)]
)
def test_softmax_as_a_value(form, kind):
    y = checked(f"y = {form}(2 * linear(x, 3))").output
    assert isinstance(y, kind)
    assert y.width == 3
    assert isinstance(y.x, model.Elementwise)


def test_concat_keeps_the_order_of_its_parts():
    result = checked("a = linear(x, 2)\nh = concat(a, x, a + 1)\ny = linear(h, 3)")
    h = value_of(result, "h")
    assert h.width == 2 + 8 + 2
    assert [part.width for part in h.parts] == [2, 8, 2]
    assert h.parts[0] is value_of(result, "a")
    assert isinstance(h.parts[1], model.Input)


def test_concat_of_one_part_is_that_part():
    assert isinstance(checked("y = concat(linear(x, 3))").output, model.Linear)


def test_slice():
    result = checked("let half = 4\nh = slice(x, half, half + 3)\ny = linear(h, 3)")
    h = value_of(result, "h")
    assert (h.begin, h.width) == (4, 3)


def test_slice_of_all_features_is_the_value():
    assert isinstance(checked("y = linear(slice(x, from = 0, to = 8), 3)").output.x, model.Input)


def test_options_of_linear():
    y = checked("y = linear(x, 3, drop_connect = 0.5, regrow = false)").output
    assert (y.layer.drop_connect, y.layer.regrow, y.layer.rule) == (0.5, False, "sgd")
    assert checked().output.layer.regrow


def test_any_graph_from_the_input_to_the_loss():
    result = checked(
        "a = relu(linear(x, 5))\nb = batch_norm(a)\n"
        "c = concat(a, slice(b, 0, 2), dropout(b, 0.5))\n"
        "d = c * linear(softmax(a), 1)\ny = linear(d, 3) + linear(x, 3)"
    )
    values = behind(result.loss)
    assert sum(value is value_of(result, "a") for value in values) == 1
    assert result.parameters == (
        "a.weight", "a.bias", "b.gamma", "b.beta", "b.running_mean", "b.running_var",
        "d.weight", "d.bias", "y.1.weight", "y.1.bias", "y.2.weight", "y.2.bias",
    )  # fmt: skip


# ------------------------------------------------------------------------------------- learned


def test_each_use_learns_its_own():
    result = checked("h = hinged(linear(x, 4))\ng = hinged(h, tr = 2)\ny = linear(g, 3)", top=SRELU)
    h, g = value_of(result, "h"), value_of(result, "g")
    learned = [v for v in h.operands if isinstance(v, model.Learned)]
    assert sorted(v.parameter for v in learned) == ["h.al", "h.ar", "h.tl", "h.tr"]
    assert all(v.width == 1 for v in learned)
    initial = {v.parameter: v.initial for v in (*h.operands, *g.operands) if hasattr(v, "initial")}
    assert (initial["h.tr"], initial["g.tr"], initial["g.tl"]) == (1.0, 2.0, 0.0)
    assert result.parameters == (
        "h.weight", "h.bias", "h.al", "h.tl", "h.ar", "h.tr",
        "g.al", "g.tl", "g.ar", "g.tr", "y.weight", "y.bias",
    )  # fmt: skip


@pytest.mark.parametrize("at", [-3.0, -0.5, 0.25, 2.0])
def test_the_expression_reads_the_learned_numbers(at):
    result = checked("h = hinged(linear(x, 4), 0.1, -1, 0.2, 1)\ny = linear(h, 3)", top=SRELU)
    h = value_of(result, "h")
    given = {
        f"a{place}": value.initial if isinstance(value, model.Learned) else at
        for place, value in enumerate(h.operands)
    }
    expected = -1 + 0.1 * (at + 1) if at <= -1 else at if at < 1 else 1 + 0.2 * (at - 1)
    assert evaluate(h.expression, given, np.float64) == pytest.approx(expected)


def test_learned_options_in_any_order():
    """A second use whose options come in another order reads its numbers in the same places."""
    result = checked("h = hinged(x)\ng = hinged(h, tr = 2, al = 0.1)\ny = linear(g, 3)", top=SRELU)
    h, g = value_of(result, "h"), value_of(result, "g")
    assert g.expression == h.expression
    first, second = ([v.parameter[2:] for v in u.operands[1:]] for u in (h, g))
    assert first == second


def test_a_learned_option_without_a_default_is_given():
    top = SWISH.replace("beta = 1", "beta")
    result = checked("h = beta_swish(x, start)\ny = linear(h, 3)", top=f"{top}\nparam start = 2")
    assert [v.initial for v in of_kind(result, model.Learned)] == [2.0]
    assert codes("h = beta_swish(x)\ny = linear(h, 3)", top=top) == ["N0205"]


def test_a_function_passes_on_what_it_learns():
    top = f"{SWISH}\nfunction twice(x; learn slope = 3) = 2 * beta_swish(x, beta = slope)"
    result = checked("h = twice(x)\ny = linear(h, 3)", top=top)
    assert result.parameters[0] == "h.slope"
    assert [v.initial for v in of_kind(result, model.Learned)] == [3.0]


def test_a_definition_has_no_place_for_what_a_function_learns():
    assert codes(top=f"{SWISH}\nfunction twice(x) = 2 * beta_swish(x)") == ["N0410"]
    assert codes(top=f"{SWISH}\nloss l(y, t) = sum(beta_swish(y - t))") == ["N0410"]


def test_what_is_learned_alone_is_enough_to_train():
    result = checked("y = beta_swish(slice(x, 0, 3))", top=SWISH)
    assert result.parameters == ("y.beta",)
    assert result.layers == ()


# --------------------------------------------------------------------------------------- names


def test_each_kind_is_numbered_by_itself():
    result = checked("y = batch_norm(linear(hinged(linear(x, 4)), 3))", top=SRELU)
    assert result.parameters == (
        "y.1.weight", "y.1.bias", "y.al", "y.tl", "y.ar", "y.tr", "y.2.weight", "y.2.bias",
        "y.gamma", "y.beta", "y.running_mean", "y.running_var",
    )  # fmt: skip
    assert [layer.name for layer in result.layers] == ["y.1", "y.2"]


def test_several_of_a_kind_are_numbered_in_order_of_evaluation():
    result = checked("y = linear(beta_swish(batch_norm(beta_swish(batch_norm(x)))), 3)", top=SWISH)
    names = [name for name in result.parameters if name.endswith((".beta", ".gamma"))]
    # What beta_swish learns comes after the names that batch_norm has.
    assert names == ["y.1.gamma", "y.1.beta", "y.3.beta", "y.2.gamma", "y.2.beta", "y.4.beta"]
    assert len(set(result.parameters)) == len(result.parameters) == 2 + 2 * 4 + 2


def test_a_name_that_is_taken_gets_a_number():
    result = checked("y = linear(beta_swish(batch_norm(x)), 3)", top=SWISH)
    assert result.parameters == (
        "y.gamma", "y.beta", "y.running_mean", "y.running_var", "y.1.beta", "y.weight", "y.bias",
    )  # fmt: skip


def test_only_what_is_part_of_the_model_counts():
    result = checked("h = linear(x, 4)\ny = linear(x, 3, bias = false)")
    assert result.parameters == ("y.weight",)


def test_layers_and_parameters_of_metrics_are_part_of_the_model():
    result = checked(more="metric near = top_k(linear(x, 3), t, k = 2)")
    assert result.parameters == ("y.weight", "y.bias", "near.weight", "near.bias")


# --------------------------------------------------------------------------------------- rules


def test_the_optimizers_in_use():
    result = checked(
        "a = linear(x, 4, optimizer = sgd())\n"
        "b = linear(a, 4, optimizer = momentum(momentum = 0.8))\n"
        "c = linear(b, 4, optimizer = momentum(0.7))\n"
        "d = linear(c, 4, optimizer = momentum(0.8))\n"
        "y = linear(d, 3)",
        train="optimizer = nesterov()",
    )
    assert [rule.label for rule in result.rules] == ["nesterov", "sgd", "momentum", "momentum_2"]
    labels = [layer.rule for layer in result.layers]
    assert labels == ["sgd", "momentum", "momentum_2", "momentum", "nesterov"]


def test_an_optimizer_equal_to_the_default_is_the_default():
    result = checked("y = linear(x, 3, optimizer = sgd())")
    assert [rule.label for rule in result.rules] == ["sgd"]


def test_labels_are_unique_whatever_optimizers_are_called():
    top = "optimizer momentum_2(w, g, lr) { w = w - lr * g / 2 }"
    result = checked(
        "a = linear(x, 4, optimizer = momentum(0.8))\n"
        "b = linear(a, 4, optimizer = momentum_2())\n"
        "y = linear(b, 3, optimizer = momentum(0.7))",
        top=top,
    )
    labels = [rule.label for rule in result.rules]
    assert labels == ["sgd", "momentum", "momentum_2", "momentum_3"]


def test_decay_and_clipping():
    result = checked(train="weight_decay = 1e-4\nclip_norm = 2")
    assert (result.weight_decay, result.clip_norm) == (1e-4, 2.0)
    result = checked(train="weight_decay = 0")
    assert (result.weight_decay, result.clip_norm) == (0.0, None)


# ------------------------------------------------------------------------------------- metrics


def test_metrics():
    result = checked(
        more="metric top2 = top_k(y, t, k = 2)\nmetric hits = accuracy(softmax(y), t)\n"
        "metric confusion = confusion_matrix(y, t)\nmetric error = squared_error(y, t) / 3"
    )
    assert [(m.name, m.kind, m.k) for m in result.metrics] == [
        ("top2", "top_k", 2),
        ("hits", "top_k", 1),
        ("confusion", "confusion_matrix", 1),
        ("error", "mean", 0),
    ]
    top2, hits, confusion, error = (metric.value for metric in result.metrics)
    assert top2 is confusion is result.output
    assert isinstance(hits, model.Softmax)
    assert (error.width, error.name) == (1, "error")


def test_a_value_for_a_metric_is_used():
    result = checked("h = 2 * x\ny = linear(x, 3)", more="metric m = squared_error(h, x)")
    assert value_of(result, "h").width == 8


def test_batch_norm_needs_two_samples():
    assert codes("y = batch_norm(linear(x, 3))", train="batch = 1") == ["N0503"]
    assert checked("h = batch_norm(x)\ny = linear(x, 3)", train="batch = 1").batch == 1


def test_accuracy_of_the_output_may_be_asked_for():
    result = checked(more="metric accuracy = accuracy(y, t)")
    assert result.metrics[0].value is result.output
    assert codes(more="metric accuracy = accuracy(softmax(y), t)") == ["N0202"]
    assert codes(more="metric accuracy = top_k(y, t, k = 2)") == ["N0202"]
    # Where `evaluate` has no accuracy of its own, the name is free.
    free = "metric accuracy = squared_error(y, x)"
    result = checked("y = linear(x, 8)", loss="squared_error(y, x)", more=free)
    assert result.metrics[0].kind == "mean"


def test_metrics_have_limits():
    lines = [f"metric m{n} = top_k(y, t, k = 1)" for n in range(31)]
    assert len(checked(more="\n".join(lines[:30])).metrics) == 30
    assert codes(more="\n".join(lines)) == ["N0218"]
    large = """model large
input x : float32[8]
target t : class[4097]
y = linear(x, 4097)
output = y
loss = softmax_cross_entropy(y, t)
metric confusion = confusion_matrix(y, t)
"""
    with pytest.raises(DiagnosticError) as caught:
        check_source(Source("large.nerva", large))
    assert [problem.code for problem in caught.value.diagnostics] == ["N0218"]
    assert check_source(Source("large.nerva", large.replace("4097", "4096"))).model.metrics
