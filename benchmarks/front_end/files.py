"""Long files, of the kinds that programs write: every line is different, none is hard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

WIDTH = 64

_HEAD = f"""\
model long
input x : float32[{WIDTH}]
target t : class[10]
sparsity = erdos_renyi(0.1)
"""
_TAIL = """\
y = linear({last}, 10)
output = y
loss = softmax_cross_entropy(y, t)
train {{
  batch = 32
  epochs = 1
  optimizer = momentum(0.9)
  learning_rate = constant(0.1)
}}
"""
_LINES_AROUND = _HEAD.count("\n") + _TAIL.count("\n")

Lines = Iterator[tuple[str, str]]
"""Lines of a file, each with the name of the last value so far."""


def residual() -> Lines:
    """A sparse layer a line; every third one adds what came two before."""
    yield f"h0 = relu(linear(x, {WIDTH}))", "h0"
    number = 1
    while True:
        line = f"h{number} = relu(linear(h{number - 1}, {WIDTH}))"
        yield line + (f" + h{number - 2}" if number % 3 == 0 else ""), f"h{number}"
        number += 1


def mixed() -> Lines:
    """Constants, functions, layers, dropout, slices, comments; half of the constants are unused."""
    last, block = "x", 0
    while True:
        block += 1
        yield f"# block {block}: a comment on what comes next, of a usual length", last
        yield "", last
        yield f"let width_{block} = 32 * 2 + {block % 7}  # neurons", last
        yield f"let rate_{block} = min(0.5, 1 / (1 + {block % 5}))", last
        body = "if x > 0 then x else a * (exp(x) - 1)"
        yield f"function act_{block}(x; a = 0.{block % 9 + 1}) = {body}", last
        layer = f"linear({last}, {WIDTH}, density = 0.25)"
        yield f"a{block} = act_{block}({layer}, a = 0.3)", f"a{block}"
        yield f"b{block} = tanh(linear(a{block}, {WIDTH})) * 0.5 + a{block}", f"b{block}"
        yield f"c{block} = dropout(relu(b{block} - 0.1), rate_{block})", f"c{block}"
        last = f"d{block}"
        half = WIDTH // 2
        yield f"{last} = concat(slice(c{block}, 0, {half}), slice(c{block}, {half}, {WIDTH}))", last


def macros() -> Lines:
    """A use of a layer a line, which becomes two sparse layers and a sum."""
    yield f"layer block(x; width = {WIDTH}) {{", "x"
    yield "  h = relu(linear(x, width))", "x"
    yield "  return relu(linear(h, width)) + x", "x"
    yield "}", "x"
    yield "h0 = block(x)", "h0"
    number = 1
    while True:
        option = f", width = {WIDTH}" if number % 3 == 0 else ""
        yield f"h{number} = block(h{number - 1}{option})", f"h{number}"
        number += 1


KINDS: dict[str, Callable[[], Lines]] = {"residual": residual, "mixed": mixed, "macros": macros}


def long_file(kind: str, lines: int) -> str:
    """A file of one of `KINDS` with a number of lines."""
    middle = list(islice(KINDS[kind](), lines - _LINES_AROUND))
    text = "\n".join(line for line, _ in middle)
    return f"{_HEAD}{text}\n{_TAIL.format(last=middle[-1][1])}"


def deep_network(layers: int) -> str:
    """A residual network of some sparse layers, the last one included."""
    return long_file("residual", layers - 1 + _LINES_AROUND)
