"""Hidden values: one function for each form that a generated value takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from generate.program import Env, Term
from generate.writer import Writer, batch_norm, dropout, linear

Form = Callable[[Writer, str, int], None]

FEWEST = 3  # features of a layer macro: with fewer, a sparse layer might have no weight


def hidden(writer: Writer, name: str, width: int) -> None:
    """A value of some form."""
    writer.current = name
    form = writer.random.choice(NORMALIZING if writer.gentle else FORMS)
    form(writer, name, width)


def _plain(writer: Writer, name: str, width: int) -> None:
    writer.bind(name, writer.activation(writer.linear(width)))


def _residual(writer: Writer, name: str, width: int) -> None:
    skip = writer.value()
    term = writer.activation(writer.linear(skip.width))
    sign = writer.random.choice([1, -1])
    text = f"{skip.text} {'+' if sign > 0 else '-'} {term.text}"
    writer.bind(name, Term(text, skip.width, lambda env: skip.twin(env) + sign * term.twin(env)))


def _two(writer: Writer, name: str, width: int) -> None:
    first, second = writer.linear(width), writer.activation(writer.linear(width))
    text = f"{first.text} + {second.text}"
    writer.bind(name, Term(text, width, lambda env: first.twin(env) + second.twin(env)))


def _gate(writer: Writer, name: str, width: int) -> None:
    first, second = writer.linear(width), writer.linear(width)

    def twin(env: Env) -> torch.Tensor:
        return first.twin(env) * second.twin(env).sigmoid()

    writer.bind(name, Term(f"gate({first.text}, {second.text})", width, twin))


def _product(writer: Writer, name: str, width: int) -> None:
    first, second = writer.linear(width), writer.activation(writer.linear(width))

    def twin(env: Env) -> torch.Tensor:
        return first.twin(env) * second.twin(env) / 2

    writer.bind(name, Term(f"{first.text} * {second.text} / 2", width, twin))


def _scaled(writer: Writer, name: str, width: int) -> None:
    term = writer.activation(writer.linear(width))
    text = f"0.5 * {term.text} - 0.1"
    writer.bind(name, Term(text, width, lambda env: 0.5 * term.twin(env) - 0.1))


def _quotient(writer: Writer, name: str, width: int) -> None:
    term = writer.linear(width)
    text = f"1 / (1.5 + sigmoid({term.text}))"
    writer.bind(name, Term(text, width, lambda env: 1 / (1.5 + term.twin(env).sigmoid())))


def _concat(writer: Writer, name: str, width: int) -> None:
    parts = [writer.value(), writer.activation(writer.linear(width))]
    if writer.random.random() < 0.4:
        parts.append(writer.value())  # perhaps one that is there already
    writer.random.shuffle(parts)

    def twin(env: Env) -> torch.Tensor:
        return torch.cat([part.twin(env) for part in parts], 1)

    text = ", ".join(part.text for part in parts)
    writer.bind(name, Term(f"concat({text})", sum(part.width for part in parts), twin))


def _slice(writer: Writer, name: str, width: int) -> None:
    writer.current = f"{name}_whole"
    whole = writer.bind(writer.current, writer.activation(writer.linear(width + 3)))
    writer.current = name
    begin = writer.random.randint(0, whole.width - 1)
    end = writer.random.randint(begin + 1, whole.width)
    cut = Term(
        f"slice({whole.text}, {begin}, {end})",
        end - begin,
        lambda env: whole.twin(env)[:, begin:end],
    )
    writer.bind(name, writer.random.choice([lambda term: term, writer.activation])(cut))


def _branches(writer: Writer, name: str, width: int) -> None:
    """Halves of a value go separate ways and meet again."""
    writer.current = f"{name}_source"
    source = writer.bind(writer.current, writer.activation(writer.linear(2 * width)))
    halves = [
        Term(f"slice({source.text}, 0, {width})", width, lambda env: source.twin(env)[:, :width]),
        Term(
            f"slice({source.text}, {width}, {2 * width})",
            width,
            lambda env: source.twin(env)[:, width:],
        ),
    ]
    writer.current = name
    ways = [writer.activation(writer.linear(width, half)) for half in halves]
    text = f"concat({ways[0].text}, {ways[1].text})"
    writer.bind(
        name, Term(text, 2 * width, lambda env: torch.cat([way.twin(env) for way in ways], 1))
    )


def _softmax(writer: Writer, name: str, width: int) -> None:
    term = writer.linear(width)
    if writer.random.random() < 0.5:
        writer.bind(
            name, Term(f"softmax({term.text})", width, lambda env: term.twin(env).softmax(1))
        )
    else:
        text = f"log_softmax({term.text}) + 1"
        writer.bind(name, Term(text, width, lambda env: F.log_softmax(term.twin(env), 1) + 1))


def _dropout(writer: Writer, name: str, width: int) -> None:
    term = writer.random.choice([writer.value, lambda: writer.activation(writer.linear(width))])()
    rate = writer.random.choice([0.1, 0.5, 0.8])
    writer.bind(
        name,
        Term(
            f"dropout({term.text}, {rate})",
            term.width,
            lambda env: dropout(env, name, term.twin(env)),
        ),
    )


def _normalized(writer: Writer, name: str, width: int) -> None:
    """Batch norm after a layer, as most use it; or of any value."""
    if writer.random.random() < 0.7:
        bias = writer.random.random() < 0.3
        term = writer.activation(writer.batch_norm(writer.linear(width, bias=bias)))
    else:
        term = writer.batch_norm(writer.value())
    writer.bind(name, term)


def _block(writer: Writer, name: str, width: int) -> None:
    source, width = writer.value(), max(width, FEWEST)
    text = f"block({source.text}, width = {width})"
    writer.bind(name, Term(text, width, lambda env: block(env, name, source.twin(env), 0.5)))


def _blocks(writer: Writer, name: str, width: int) -> None:
    """Two uses in one binding, each with parameters of its own."""
    source, width = writer.value(), max(width, FEWEST)
    text = f"block({source.text}, {width}) + block({source.text}, {width}, scale = 2)"

    def twin(env: Env) -> torch.Tensor:
        x = source.twin(env)
        return block(env, f"{name}.1", x, 0.5) + block(env, f"{name}.2", x, 2)

    writer.bind(name, Term(text, width, twin))


def _twice(writer: Writer, name: str, width: int) -> None:
    source, width = writer.value(), max(width, FEWEST)

    def twin(env: Env) -> torch.Tensor:
        first = block(env, f"{name}.first", source.twin(env), 0.5)
        return block(env, name, first, 0.25) + first

    writer.bind(name, Term(f"twice({source.text}, width = {width})", width, twin))


def _normed(writer: Writer, name: str, width: int) -> None:
    source, width = writer.value(), max(width, FEWEST)
    writer.normalizes = True

    def twin(env: Env) -> torch.Tensor:
        product = linear(env, f"{name}.h", source.twin(env))
        return F.silu(batch_norm(env, f"{name}.h", product, 0.1, 0.01))

    writer.bind(name, Term(f"normed({source.text}, {width})", width, twin))


def block(env: Env, prefix: str, x: torch.Tensor, scale: float) -> torch.Tensor:
    """The layer `block` of the definitions."""
    z = linear(env, f"{prefix}.h", x)
    env.kink(z, 0)
    h = F.relu(z)
    return scale * h + torch.tanh(linear(env, prefix, h))


FORMS: list[Form] = [
    *(_plain, _plain, _plain, _plain, _residual, _two, _gate, _product, _scaled, _quotient),
    *(_concat, _slice, _branches, _softmax, _dropout, _dropout, _block, _blocks, _twice),
]
NORMALIZING: list[Form] = [*FORMS, _normalized, _normalized, _normalized, _normed]
