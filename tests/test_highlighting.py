"""Highlighting: for Pygments and TextMate, from the same terminals as the grammar."""

import json
import re
from pathlib import Path

import pytest
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, Punctuation, String

from nerva_dsl.editor.lexer import NervaLexer
from nerva_dsl.editor.terminals import Role, role, words
from nerva_dsl.editor.textmate import textmate_grammar
from nerva_dsl.editor.words import KEYWORDS
from nerva_dsl.grammar.lexer import terminals, whole
from nerva_dsl.source import Source

ROOT = Path(__file__).parents[1]
FILES = [*sorted((ROOT / "models").glob("*.nerva")), ROOT / "grammar" / "prelude.nerva"]
TEXTMATE = ROOT / "docs" / "editors" / "vscode" / "syntaxes" / "nerva.tmLanguage.json"

SCOPES = {
    "comment": {Role.COMMENT},
    "string": {Role.STRING},
    "constant.numeric": {Role.NUMBER},
    "constant.language": {Role.TRUTH},
    "keyword.control": {Role.CONTROL},
    "keyword.operator.word": {Role.WORD_OPERATOR},
    "keyword.operator": {Role.OPERATOR},
    "keyword.other": {Role.KEYWORD},
    "storage": {Role.KEYWORD},
    "entity": {Role.NAME},
    "support": {Role.NAME},
    "variable": {Role.NAME},
    "punctuation": {Role.PUNCTUATION},
    "invalid": {Role.ERROR},
    "": {Role.PUNCTUATION, Role.BLANK},
}
"""What terminals a scope of TextMate is for, by its beginning; none: what has no scope."""


def test_every_terminal_has_a_role():
    """A terminal that is forgotten would be taken for a keyword."""
    keywords = {name for name in terminals() if role(name) is Role.KEYWORD}
    assert {terminals()[name] for name in keywords} == set(words(Role.KEYWORD))
    every = words(Role.KEYWORD, Role.CONTROL, Role.WORD_OPERATOR, Role.TRUTH)
    assert set(every) == set(KEYWORDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pygments_has_the_whole_text(path):
    text = path.read_text(encoding="utf-8")
    tokens = list(NervaLexer(stripnl=False).get_tokens(text))
    assert "".join(value for _, value in tokens) == text
    assert Error not in {kind for kind, _ in tokens}


def test_pygments_tokens():
    text = 'function f(x; a = 1.5) = not x  # c\ninput x : uint8[3]\nh = relu("s", b = true) §'
    tokens = [pair for pair in NervaLexer().get_tokens(text) if pair[1].strip()]
    assert tokens == [
        (Keyword.Declaration, "function"), (Name.Function, "f"), (Punctuation, "("),
        (Name.Variable, "x"), (Punctuation, ";"), (Name.Attribute, "a"), (Operator, "="),
        (Number.Float, "1.5"), (Punctuation, ")"), (Operator, "="), (Operator.Word, "not"),
        (Name.Variable, "x"), (Comment.Single, "# c"), (Keyword.Declaration, "input"),
        (Name.Variable, "x"), (Punctuation, ":"), (Keyword.Type, "uint8"), (Punctuation, "["),
        (Number.Integer, "3"), (Punctuation, "]"), (Name.Variable, "h"), (Operator, "="),
        (Name.Builtin, "relu"), (Punctuation, "("), (String, '"s"'), (Punctuation, ","),
        (Name.Attribute, "b"), (Operator, "="), (Keyword.Constant, "true"), (Punctuation, ")"),
        (Error, "§"),
    ]  # fmt: skip


def test_pygments_finds_the_lexer():
    """By its names and its files: what `pygmentize` and mkdocs do."""
    for name in ("nerva", "nerva-fragment", "nerva-as-written"):
        assert get_lexer_by_name(name).name == "Nerva"
    assert get_lexer_for_filename("models/digits.nerva").name == "Nerva"
    shown = highlight("model a\n", get_lexer_by_name("nerva"), HtmlFormatter())
    assert '<span class="kd">model</span>' in shown


def test_the_textmate_grammar_is_up_to_date():
    """`python -m nerva_dsl.editor.textmate FILE` writes it."""
    assert TEXTMATE.read_text(encoding="utf-8") == textmate_grammar()


def scopes(text):
    """The scope of each character, by TextMate's rules: the first match, of the first pattern.

    Its expressions have nothing that is not the same in Python's.
    """
    patterns = [
        (re.compile(pattern["match"]), pattern)
        for pattern in json.loads(TEXTMATE.read_text(encoding="utf-8"))["patterns"]
    ]
    found = []
    for line in text.splitlines(keepends=True):
        of_line = [""] * len(line)
        at = 0
        while at < len(line):
            matches = [(expression.search(line, at), pattern) for expression, pattern in patterns]
            matches = [(match, pattern) for match, pattern in matches if match and match.group()]
            if not matches:
                break
            match, pattern = min(matches, key=lambda pair: pair[0].start())
            groups = (
                {int(group): each["name"] for group, each in pattern["captures"].items()}
                if "captures" in pattern
                else {0: pattern["name"]}
            )
            for group, scope in groups.items():
                start, end = match.span(group)
                of_line[start:end] = [scope] * (end - start)
            at = match.end()
        found += of_line
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_textmate_sees_the_tokens_of_the_compiler(path):
    text = path.read_text(encoding="utf-8")
    by_character = scopes(text)
    for lexeme in whole(Source("f.nerva", text)):
        if role(lexeme.type) is Role.BLANK:
            continue
        mine = set(by_character[lexeme.span.start : lexeme.span.end])
        assert len(mine) == 1, (lexeme, mine)
        (scope,) = mine
        beginning = max((each for each in SCOPES if scope.startswith(each)), key=len)
        assert role(lexeme.type) in SCOPES[beginning], (lexeme, scope)


def test_the_extension_is_whole():
    folder = TEXTMATE.parents[1]
    manifest = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    language = manifest["contributes"]["languages"][0]
    grammar = manifest["contributes"]["grammars"][0]
    for file in (manifest["main"], language["configuration"], grammar["path"]):
        assert (folder / file).is_file()
    assert grammar["scopeName"] == json.loads(TEXTMATE.read_text(encoding="utf-8"))["scopeName"]
    json.loads((folder / language["configuration"]).read_text(encoding="utf-8"))
