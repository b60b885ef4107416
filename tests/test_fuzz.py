"""Random and mutated files: a diagnostic or success, never another exception, and soon.

`--fuzz 100000` checks that many random strings, and every shipped model with each of its tokens
deleted, doubled or swapped with the next one; by default a sample of both.
"""

import random
import time
from pathlib import Path

import pytest

from nerva_dsl.check import check, check_source
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.grammar.tables import tables
from nerva_dsl.source import Source

MODELS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[1] / "models").glob("*.nerva"))
}
GROUPS = 4
EVERYTHING = 10_000
SECONDS = 1.0

_NAMES = """
x y t h w g lr v epoch step epochs density width linear relu srelu sigmoid softmax log_softmax sum
mean max min exp sqrt count product batch_norm dropout concat slice normalize len uniform he xavier
erdos_renyi sgd adam nesterov momentum multistep cosine warmup squared_error softmax_cross_entropy
accuracy top_k magnitude set random gradient batch precision float32 uint8 class every prune grow
"""
_LITERALS = """
0 1 2 3 10 64 0.5 0.1 1e-5 1e300 9223372036854775807 9223372036854775808 1.5.2 3x .. "sparse" "" "a
"mask.npz" "no.nerva" # é × − & ? . ! \\ $
"""
WORDS = [*_NAMES.split(), *_LITERALS.split()]
SEPARATORS = ["\n", "\n", ";", " ", "\t", "\r\n", "\0", "\ufeff"]
SMALL = """\
model m
input x : float32[4]
target t : class[3]
param p = 2
let k = 0.5
function f(x; a = 1) = if x > 0 then a * x else k
h = f(linear(x, 8, density = 0.5), a = p)
y = linear(h, 3)
output = y
loss = softmax_cross_entropy(y, t)
train { batch = 4 ; learning_rate = multistep(0.1, [2, 3]) }
"""


def tokens(generator, most):
    """Tokens of the language in any order, with separators between some."""
    words = [*tables().symbols.values(), *WORDS, *SEPARATORS]
    parts = []
    for _ in range(generator.randrange(most)):
        parts += [generator.choice(words), generator.choice(["", " ", " ", " "])]
    return "".join(parts)


def random_file(seed):
    """One random file, as bytes."""
    generator = random.Random(seed)
    match generator.randrange(5):
        case 0:
            return generator.randbytes(generator.randrange(120))
        case 1:
            return tokens(generator, 60).encode()
        case 2:  # a model with a statement that makes no sense
            lines = SMALL.split("\n")
            lines[generator.randrange(len(lines))] = tokens(generator, 12)
        case 3:  # lines of models in any order
            every = [line for text in (*MODELS.values(), SMALL) for line in text.split("\n")]
            lines = [generator.choice(every) for _ in range(generator.randrange(40))]
        case _:  # a model in which some tokens are others
            parts = [token.span.text for token in lexemes(Source("m", SMALL))]
            for _ in range(generator.randrange(1, 6)):
                parts[generator.randrange(len(parts))] = tokens(generator, 3)
            lines = [" ".join(parts)]
    return "\n".join(lines).encode()


def mutations(text):
    """A text with each token deleted, doubled and swapped with the next one."""
    spans = [token.span for token in lexemes(Source("m", text))]
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        before, token, after = text[: span.start], span.text, text[span.end :]
        yield before + after
        yield f"{before}{token} {token}{after}"
        if following is not None:
            between = text[span.end : following.start]
            yield before + following.text + between + token + text[following.end :]


def assert_answered(run, what):
    """A diagnostic with a place in its file, or none; within the time."""
    start = time.process_time()
    try:
        diagnostics = run().warnings
    except DiagnosticError as error:
        diagnostics = error.diagnostics
        assert diagnostics, what
    for problem in diagnostics:
        assert problem.message and problem.code in problem.render(), what
        for place in [problem.span, *(note.span for note in problem.notes)]:
            if place is not None:
                assert 0 <= place.start <= place.end <= len(place.source.text), what
    taken = time.process_time() - start
    assert taken < SECONDS, f"{taken:.1f} s: {what!r}"


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_files(group, request, tmp_path):
    path = tmp_path / "random.nerva"
    for seed in range(group, request.config.getoption("fuzz"), GROUPS):
        content = random_file(seed)
        path.write_bytes(content)
        assert_answered(lambda: check(path, {}), (seed, content))


@pytest.mark.parametrize("name", MODELS)
def test_mutated_models(name, request, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1] / "models")  # what is imported is found from there
    texts = list(mutations(MODELS[name]))
    fuzz = request.config.getoption("fuzz")
    if fuzz < EVERYTHING:
        texts = random.Random(name).sample(texts, min(len(texts), fuzz // 40))
    for text in texts:
        assert_answered(lambda text=text: check_source(Source("mutated.nerva", text)), text)
