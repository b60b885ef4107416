"""The parser over the kept tables does what Lark's own does, on right and wrong pieces."""

from functools import cache
from pathlib import Path

import pytest
from lark import Token, UnexpectedToken

from nerva_dsl.grammar.automaton import UnexpectedError
from nerva_dsl.grammar.builder import Builder
from nerva_dsl.grammar.layout import Block, split
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.grammar.parser import _automaton
from nerva_dsl.grammar.tables import STARTS, grammar_text, lark_parser, tables
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


@cache
def lark():
    return lark_parser(grammar_text(), Builder())


def by_lark(start, tokens):
    """The node, or the token at which it is wrong: None at the end."""
    state = lark().parse_interactive(start=start)
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


@pytest.mark.parametrize("path", FILES[::4], ids=lambda path: path.name)
def test_same_terminals_are_allowed(path):
    for piece in pieces(path):
        state = lark().parse_interactive(start=piece.start)
        kinds = []
        for token in piece.tokens:
            assert _automaton(piece.start).allowed(kinds) == state.accepts(), piece.tokens
            kinds.append(token.type)
            try:
                state.feed_token(token)
            except UnexpectedToken:
                assert not _automaton(piece.start).allowed(kinds)
                break


@pytest.mark.parametrize("start", STARTS)
def test_nothing_follows_what_is_wrong(start):
    assert _automaton(start).allowed([])
    assert not _automaton(start).allowed(["STRANGER"])
    with pytest.raises(UnexpectedError):
        _automaton(start).parse(())


# The file in which the tables are kept


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The file; reading it again makes tables anew, and the ones of other tests stay."""
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    made = tables.__wrapped__()
    (path,) = tmp_path.glob("tables/*/grammar.tables")
    return path, made


def test_kept_tables_are_the_ones_that_were_made(kept, monkeypatch):
    _, made = kept
    monkeypatch.delattr("nerva_dsl.grammar.tables.lark_parser")
    assert tables.__wrapped__() == made


@pytest.mark.parametrize("damage", ["empty", "short", "flipped"])
def test_damaged_tables_are_made_again(kept, damage, monkeypatch):
    path, made = kept
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        del content[900 * (damage == "short") :]
    path.write_bytes(content)
    again = tables.__wrapped__()
    assert (again.rules, again.terminals) == (made.rules, made.terminals)
    monkeypatch.delattr("nerva_dsl.grammar.tables.lark_parser")
    assert tables.__wrapped__() == again


def test_tables_of_another_grammar_are_made_again(kept, monkeypatch):
    path, made = kept
    longer = grammar_text() + "\n// more\n"
    monkeypatch.setattr("nerva_dsl.grammar.tables.grammar_text", lambda: longer)
    assert tables.__wrapped__().grammar == longer
    assert tables.__wrapped__().rules == made.rules
    assert b"// more" in path.read_bytes()
