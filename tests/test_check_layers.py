"""The checker: layers, which are macros of the graph, and the names of what is in them."""

import re

import pytest
from checking import checked, codes, of_kind, problems, value_of

from nerva_dsl import model
from nerva_dsl.check import layers
from nerva_dsl.check.layers import MAX_DEPTH
from nerva_dsl.ir.text import print_program
from nerva_dsl.lower import lower

BLOCK = """\
layer block(x; width, rate = 0) {
    h = relu(batch_norm(linear(dropout(x, rate), width)))
    return h + linear(h, width)
}"""
SWISH = "function beta_swish(x; learn beta = 1) = x * sigmoid(beta * x)"


def names(*arguments, **named):
    """The parameters, without those of `y` and without biases."""
    parameters = checked(*arguments, **named).parameters
    return [n for n in parameters if not n.startswith("y.") and not n.endswith("bias")]


def test_a_use_is_its_lines_with_its_arguments():
    result = checked("h1 = block(x, width = 5, rate = 0.25)\ny = linear(h1, 3)", top=BLOCK)
    h1 = value_of(result, "h1")
    assert (h1.width, h1.label) == (5, "add")
    (dropped,) = of_kind(result, model.Dropout)
    assert (dropped.rate, dropped.width) == (0.25, 8)
    (norm,) = of_kind(result, model.BatchNorm)
    assert norm.x.x is dropped
    assert result.parameters == (
        "h1.h.weight", "h1.h.bias",
        "h1.h.gamma", "h1.h.beta", "h1.h.running_mean", "h1.h.running_var",
        "h1.weight", "h1.bias", "y.weight", "y.bias",
    )  # fmt: skip
    assert [(x.name, x.inputs, x.outputs) for x in result.layers] == [
        ("h1.h", 8, 5), ("h1", 5, 5), ("y", 5, 3),
    ]  # fmt: skip


def test_each_use_has_its_own_parameters():
    values = "a = block(x, 4)\nb = block(a, 4)\ny = linear(b, 3)"
    assert [name for name in names(values, top=BLOCK) if name.endswith("weight")] == [
        "a.h.weight", "a.weight", "b.h.weight", "b.weight",
    ]  # fmt: skip
    result = checked(values, top=BLOCK)
    assert len({id(layer) for layer in result.layers}) == 5
    assert len({layer.span for layer in result.layers}) == 3


def test_several_uses_in_one_binding_are_numbered():
    weights = names("h1 = block(x, 4) + block(x, 4)\ny = linear(h1, 3)", top=BLOCK)
    assert [name for name in weights if name.endswith("weight")] == [
        "h1.1.h.weight", "h1.1.weight", "h1.2.h.weight", "h1.2.weight",
    ]  # fmt: skip


def test_an_inner_use_is_evaluated_first():
    top = "layer one(x; n) {\n g = linear(x, n)\n return g\n}"
    result = checked("h = one(one(x, 4), 5)\ny = linear(h, 3)", top=top)
    assert [(x.name, x.outputs) for x in result.layers] == [("h.1.g", 4), ("h.2.g", 5), ("y", 3)]


def test_what_a_use_returns_is_numbered_with_what_stands_beside_it():
    top = "layer one(x; n) {\n g = linear(x, n)\n return linear(g, n)\n}"
    assert names("h = linear(one(x, 4), 5)\ny = linear(h, 3)", top=top) == [
        "h.g.weight", "h.1.weight", "h.2.weight",
    ]  # fmt: skip


def test_no_two_parameters_have_one_name():
    top = "layer one(x; n) {\n return linear(x, n)\n}"
    values = "h = one(x, 4) + one(x, 4) + linear(x, 4) + linear(x, 4)\ny = linear(h, 3)"
    parameters = checked(values, top=top).parameters
    assert len(set(parameters)) == len(parameters) == 10


def test_layers_in_layers():
    top = (
        "layer dense(x; n) {\n g = linear(x, n)\n return relu(g)\n}\n"
        "layer two(x; n) {\n a = dense(x, n)\n b = dense(a, n)\n return dense(b, n) + a\n}"
    )
    assert names("h = two(x, 4)\ny = linear(h, 3)", top=top) == [
        "h.a.g.weight", "h.b.g.weight", "h.g.weight",
    ]  # fmt: skip


def test_what_is_learned_in_a_layer():
    lines = "h = beta_swish(x, beta = start)\n return beta_swish(h)"
    top = f"{SWISH}\nlayer act(x; start = 2) {{\n {lines}\n}}"
    result = checked("h1 = act(x)\ny = linear(h1, 3)", top=top)
    assert result.parameters[:2] == ("h1.h.beta", "h1.beta")
    learned = {value.parameter: value.initial for value in of_kind(result, model.Learned)}
    assert learned == {"h1.h.beta": 2.0, "h1.beta": 1.0}


def test_only_what_is_part_of_the_model_counts():
    top = f"{BLOCK}\nlayer half(x; n) {{\n a = linear(x, n)\n b = linear(x, n)\n return b\n}}"
    with_unused = top.replace("return b", "unused = a\n return b").replace("unused = a\n", "")
    values = "h = half(x, 4)\nunused = half(x, 4)\ny = linear(h, 3)"
    assert names(values, top=with_unused) == ["h.b.weight"]


def test_options_are_constants_of_any_kind():
    top = (
        'layer any(x; n, flag = true, fan = "dense", scale = [1, 2]) {\n'
        "    s = normalize(x, mean = 0, std = scale)\n"
        "    return linear(s, n // 2, bias = flag, weights = he(fan_in = fan), density = 1 / n)\n}"
    )
    result = checked('y = any(x, 2 * len("abc"), flag = 1 > 2, fan = "sparse")', top=top)
    layer = result.output.layer
    assert (layer.outputs, layer.bias, layer.nnz) == (3, False, 4)
    assert result.output.x.std == (1.0, 2.0)


def test_a_layer_sees_the_lets_of_its_file_and_its_own_names_first():
    top = (
        "let n = 4\nlet m = 5\nfunction f(x) = x + m\n"
        "layer own(x; m = 6) {\n f = linear(f(x), n)\n return linear(f, m)\n}"
    )
    result = checked("h = own(x)\ny = linear(h, 3)", top=top)
    assert [layer.outputs for layer in result.layers] == [4, 6, 3]


def test_a_layer_may_return_its_input():
    top = "layer same(x) {\n return x\n}"
    result = checked("a = relu(x)\nb = same(a)\nc = same(same(-a))\ny = linear(b + c, 3)", top=top)
    assert [value.name for value in result.values] == ["x", "a", "c", "y"][1:]


def test_a_value_that_is_used_inside_and_returned_stays_one():
    top = "layer used(x; n) {\n h = linear(x, n)\n g = h * x\n return concat(h, same(g))\n}"
    top = "layer same(x) {\n g = 2 * x\n return concat(g, x)\n}\n" + top
    result = checked("a = used(x, 8)\nb = same(relu(a))\ny = linear(concat(a, b), 3)", top=top)
    a = value_of(result, "a")
    (h, rest) = a.parts
    assert isinstance(h, model.Linear)
    assert h.layer.name == "a.h"
    assert rest.parts[1].operands[0] is h


def test_densities_are_spread_over_the_uses():
    values = "a = block(x, 8)\nb = block(a, 8)\ny = linear(b, 3, density = 1)"
    result = checked(values, top=f"{BLOCK}\nsparsity = uniform(0.25)")
    assert [layer.nnz for layer in result.layers] == [16, 16, 16, 16, 24]


# ------------------------------------------------------------------------------------- mistakes


def test_an_error_in_a_body_is_shown_there_with_its_use():
    top = "layer sum_up(x; n) {\n    h = linear(x, n)\n    return h + x\n}"
    (problem,) = problems("a = sum_up(x, 8)\nb = sum_up(a, 5)\ny = linear(b, 3)", top=top)
    assert (problem.code, problem.span.text) == ("N0203", "h + x")
    assert [note.span.text for note in problem.notes] == ["h", "sum_up(a, 5)"]


def test_an_error_that_every_use_has_is_said_once():
    top = "layer sum_up(x; n) {\n    h = linear(x, n)\n    return h + x\n}"
    values = "\n".join(f"a{n} = sum_up(x, 5)" for n in range(10))
    assert codes(f"{values}\ny = linear(x, 3)", top=top) == ["N0203"]


def test_a_broken_layer_is_reported_once_and_its_uses_not():
    top = "layer broken(x; n) {\n return linear(z, n)\n}"
    assert codes("a = broken(x, 3)\ny = broken(a, 3)", top=top) == ["N0201"]


def test_a_layer_without_a_non_zero_names_its_use():
    top = "layer thin(x; d) {\n return linear(x, 3, density = d)\n}"
    (problem,) = problems("y = thin(x, d = 0.001)", top=top)
    assert problem.code == "N0210"
    assert problem.notes[-1].span.text == "thin(x, d = 0.001)"


def chain(count, body):
    lines = ["layer l0(x) {\n return relu(x)\n}"]
    lines += [f"layer l{n}(x) {{\n{body.format(n - 1)}\n}}" for n in range(1, count)]
    return "\n".join(lines)


@pytest.mark.parametrize("first", ["return relu(x)", "return x"])
def test_layers_that_expand_without_end_are_refused(first, monkeypatch):
    monkeypatch.setattr(layers, "MAX_EXPANDED", 1000)
    top = chain(60, " h = l{0}(x)\n return l{0}(h)").replace("return relu(x)", first)
    assert codes("y = linear(l59(x), 3)", top=top) == ["N0412"]


def test_layers_in_layers_have_a_limit():
    assert codes("y = linear(l90(x), 3)", top=chain(91, " return l{0}(x)")) == ["N0412"]
    deepest = MAX_DEPTH - 1
    deep = "relu(" * 200 + "l{0}(x)" + ")" * 200
    assert checked(f"y = linear(l{deepest}(x), 3)", top=chain(deepest + 1, f" return {deep}"))


# Uses that are alike are made from the first of them.

PAIR = """\
layer inner{n}(x; rate = 0.5) {{
    return beta_swish(dropout(x, rate)) + x
}}
layer pair{n}(a, b; rate = 0.5, density = 0.5, narrow = false) {{
    h = linear(a, 8, density = density, bias = narrow) * b
    k = inner{n}(a - h, rate = rate) + inner{n}(h)
    c = concat(a, b, k)
    return if narrow then slice(batch_norm(c), 8, 16) else a * softmax(slice(c, 8, 16)) + k
}}"""
PAIRS = ["(x, x)", "(x, v0)", "(v1, x)", "(v2, v2, 0.25)", "(x, v3, rate = 0)", "(v4, v1)",
         "(v5, v4, narrow = true)", "(v6, v6, density = 1)", "(v7, v5, narrow = true)"]  # fmt: skip


def test_uses_of_one_layer_are_those_of_a_layer_each():
    numbers = range(len(PAIRS))
    texts = []
    for own in (False, True):
        of = list(numbers) if own else [0] * len(PAIRS)
        layers_ = [PAIR.format(n=n) for n in sorted(set(of))]
        values = [f"v{n} = pair{of[n]}{PAIRS[n]}" for n in numbers]
        y = f"y = linear(v{len(PAIRS) - 1}, 3)"
        result = checked("\n".join([*values, y]), top="\n".join([SWISH, *layers_]))
        program = print_program(lower(result))
        texts.append(re.sub(r" @ [^ \n]+", "", program))
    assert texts[0] == texts[1]
    assert texts[0].count(" dropout") + texts[0].count("bernoulli") > len(PAIRS)


def test_an_error_in_a_later_use_is_of_that_use():
    top = "layer half(x; n) {\n    return slice(linear(x, n), 0, 4) + x\n}"
    values = "a = slice(x, 0, 4)\nb = half(a, 5)\nc = half(b, 5)\nd = half(c, 3)\ny = half(x, 5)"
    first, second = problems(values, top=top)
    assert (first.code, second.code) == ("N0208", "N0203")
    assert [note.span.text for note in (first.notes[-1], second.notes[-1])] == [
        "half(c, 3)", "half(x, 5)",
    ]  # fmt: skip


def test_uses_that_are_alike_count(monkeypatch):
    monkeypatch.setattr(layers, "MAX_EXPANDED", 30)
    top = "layer two(x) {\n    h = relu(x)\n    return relu(h)\n}"
    lines = ["h0 = two(x)", *(f"h{n} = two(h{n - 1})" for n in range(1, 12))]
    (problem,) = problems("\n".join([*lines, "y = linear(h0, 3)"]), top=top)
    assert (problem.code, problem.span.text) == ("N0412", "two(h9)")
