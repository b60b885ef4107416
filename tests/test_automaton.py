"""The loop over Lark's tables does what Lark's own loop does, on right and wrong pieces."""

from pathlib import Path

import pytest
from lark import Token, UnexpectedToken

from nerva_dsl.grammar.automaton import UnexpectedError
from nerva_dsl.grammar.layout import Block, split
from nerva_dsl.grammar.parser import _automaton, _lark, lexemes
from nerva_dsl.source import Source

ROOT = Path(__file__).parent.parent
FILES = sorted(
    [
        *ROOT.glob("models/*.nerva"),
        *ROOT.glob("tests/errors/*.nerva"),
        *ROOT.glob("grammar/*.nerva"),
    ]
)


def pieces(path):
    text = path.read_bytes().decode("utf-8", "replace")
    for part in split(lexemes(Source(path.name, text))):
        yield from (part.header, *part.lines) if isinstance(part, Block) else (part,)


def by_lark(start, tokens):
    """The node, or the token at which it is wrong: None at the end."""
    state = _lark().parse_interactive(start=start)
    for token in tokens:
        try:
            state.feed_token(token)
        except UnexpectedToken:
            return "wrong", token
    try:
        return "right", state.parser_state.feed_token(Token("$END", ""), True)
    except UnexpectedToken:
        return "wrong", None


def by_automaton(start, tokens):
    try:
        return "right", _automaton(start).parse(tokens)
    except UnexpectedError as error:
        return "wrong", error.token


def same(one, other):
    return one[0] == other[0] and (one[1] is other[1] or one == other)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_same_nodes_and_same_wrong_tokens(path):
    for piece in pieces(path):
        whole = piece.tokens
        for tokens in (whole, whole[:-1], whole[1:], whole[::-1], whole + whole):
            assert same(by_automaton(piece.start, tokens), by_lark(piece.start, tokens)), tokens
