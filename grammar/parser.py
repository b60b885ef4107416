"""The parser: from a source to its syntax, and to everything that is wrong with it.

text → tokens → layout.split → each piece through Lark's LALR tables → builder → syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from lark import Lark, Transformer, UnexpectedToken

from nerva_dsl import syntax
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.grammar import expected, habits
from nerva_dsl.grammar.automaton import Automaton, UnexpectedError
from nerva_dsl.grammar.builder import Builder, Header, word
from nerva_dsl.grammar.layout import MAX_NESTING, Block, Lexeme, Piece, split
from nerva_dsl.runtime.tables import tables_directory
from nerva_dsl.source import Source, Span

_STARTS = ["statement", "header", "setting", "update", "step", "expression", "stray"]

_DEFINED = ("PARAM", "LET", "INPUT", "TARGET", "METRIC", "FUNCTION", "LOSS", "SCHEDULE")
_DEFINED_IN_BLOCKS = ("OPTIMIZER", "LAYER")

_BUILDER = Builder()


def parse(source: Source) -> syntax.File:
    """Parse a file.

    Raises:
        DiagnosticError: with every syntax error.
    """
    file, diagnostics = parse_all(source)
    if diagnostics:
        raise DiagnosticError(diagnostics)
    return file


def parse_all(source: Source) -> tuple[syntax.File, list[Diagnostic]]:
    """Parse a file as far as possible.

    Returns:
        The syntax, with `Broken` in the place of every statement that has a syntax error, and the
        errors.
    """
    reader = _Parser()
    statements = [
        reader.block(piece) if isinstance(piece, Block) else reader.piece(piece)
        for piece in split(lexemes(source))
    ]
    return syntax.File(source, tuple(statements)), reader.diagnostics


def parse_expression(source: Source) -> syntax.Expression:
    """Parse one expression that is given by itself.

    Raises:
        DiagnosticError: with every syntax error.
    """
    tokens = tuple(token for token in lexemes(source) if token.type != "NEWLINE")
    if not tokens:
        raise DiagnosticError([Diagnostic("N0101", "expected an expression", Span(source, 0, 0))])
    end = Span(source, len(source.text), len(source.text))
    deep = next(iter(tokens[MAX_NESTING:]), None) if _nesting(tokens) > MAX_NESTING else None
    reader = _Parser()
    node = reader.piece(Piece("expression", tokens, end, deep))
    if reader.diagnostics:
        raise DiagnosticError(reader.diagnostics)
    return node  # type: ignore[no-any-return]


def string_spans(source: Source) -> list[Span]:
    """The places of all strings of a file, with their quotes."""
    return [token.span for token in lexemes(source) if token.type == "STRING"]


class _Parser:
    """Parses pieces and collects what is wrong with them."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def piece(self, piece: Piece) -> Any:
        """The node of a piece, or a `Broken`."""
        if piece.too_deep is not None:
            return self._broken(piece, _too_deep(piece.too_deep.span))
        if piece.misplaced is not None:
            return self._broken(piece, expected.misplaced(piece.misplaced))
        try:
            node = _automaton(piece.start).parse(piece.tokens)
        except UnexpectedError as error:
            allowed = _allowed(piece, error.token)
            if error.token is not None:
                problem = expected.unexpected(piece, error.token, allowed, _symbols())
            else:
                problem = expected.at_end(piece, allowed, _symbols())
            return self._broken(piece, problem)
        # Every level takes a token at least.
        deep = _too_nested(node) if len(piece.tokens) > MAX_NESTING else None
        return self._broken(piece, _too_deep(deep)) if deep is not None else node

    def block(self, block: Block) -> syntax.Statement:
        """The node of a block."""
        header = self.piece(block.header)
        if block.header.start == "statement":
            return header  # type: ignore[no-any-return]  # braces where there are none
        lines = tuple(self.piece(line) for line in block.lines)
        brace = block.header.tokens[-1]
        if block.closing is None and brace.type == "LBRACE":
            self.diagnostics.append(
                Diagnostic(
                    "N0105", "`{` is never closed", brace.span, help="put a `}` where it ends"
                )
            )
        if not isinstance(header, Header):
            return header  # type: ignore[no-any-return]
        span = header.span
        if header.name is None or header.signature is None:
            kind = word(header.keyword)
            return syntax.Settings(span, kind, header.keyword.span, lines)
        return syntax.BlockDefinition(
            span,
            word(header.keyword),
            header.name,
            header.signature,
            lines,
        )

    def _broken(self, piece: Piece, problem: Diagnostic) -> syntax.Broken:
        self.diagnostics.append(problem)
        first, *rest = piece.tokens
        foreign = habits.another_word(piece)
        keyword = foreign if first.type == "NAME" else str(first)
        if first.type == "LOSS" and rest and rest[0].type == "NAME":
            keyword = ""  # of the definition of one, not of the model's
        defines = foreign or first.type in _DEFINED or first.type in _DEFINED_IN_BLOCKS
        named = rest[0] if defines and rest else first
        name = syntax.Name(named.span, str(named)) if named.type == "NAME" else None
        return syntax.Broken(piece.span, keyword, name)


def _allowed(piece: Piece, wrong: Lexeme | None) -> Set[str]:
    """The terminals that could stand where a token is wrong, or at the end.

    Lark tries each of them in the state before it.
    """
    state = _lark().parse_interactive(start=piece.start)
    for token in takewhile(lambda token: token is not wrong, piece.tokens):
        state.feed_token(token)
    return state.accepts()  # type: ignore[no-untyped-call, no-any-return]


def expected_at(start: str, before: Iterable[Lexeme]) -> frozenset[str]:
    """The terminals that can follow some tokens; none if those are wrong already.

    Args:
        start: the start rule.
        before: the tokens, from the beginning of a piece.
    """
    state = _lark().parse_interactive(start=start)
    try:
        for token in before:
            state.feed_token(token)
    except UnexpectedToken:
        return frozenset()
    return frozenset(state.accepts())  # type: ignore[no-untyped-call]


def automaton(start: str, builder: Transformer[Lexeme, Any]) -> Automaton:
    """A parser from one start rule of the grammar.

    Args:
        start: the rule.
        builder: makes a result of each rule from those of its parts.
    """
    return Automaton(_lark(builder).parse_interactive(start=start).parser_state.parse_conf)


@cache
def _lark(builder: Transformer[Lexeme, Any] = _BUILDER) -> Lark:
    """Lark's parser of the grammar.

    Its tables take longer to make than a whole compile from the cache; Lark keeps them in a file,
    under a hash of the grammar and of its own version, and makes them again if that is damaged.
    """
    grammar = Path(__file__).with_name("nerva.lark").read_text(encoding="utf-8")
    directory = tables_directory()
    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        start=_STARTS,
        transformer=builder,
        maybe_placeholders=False,
        cache=False if directory is None else str(directory / "grammar.lark-tables"),
    )


@cache
def _automaton(start: str) -> Automaton:
    """The parser of the pieces of a start rule."""
    return automaton(start, _BUILDER)


@cache
def _symbols() -> dict[str, str]:
    """The text of every terminal that has one text only."""
    return {
        terminal.name: terminal.pattern.value
        for terminal in _lark().terminals
        if terminal.pattern.type == "str"
    }


def lexemes(source: Source) -> list[Lexeme]:
    """The tokens of a source; there is a terminal for every character, so this cannot fail.

    They are those of Lark's own lexer, which takes three times as long: it counts lines, and makes
    a token that does not know its source.
    """
    scanner, words, ignored = _scanner()
    of = Lexeme.of
    return [
        of(words.get(text, "NAME") if kind == "NAME" else kind, text, Span(source, *match.span()))
        for match in scanner.finditer(source.text)
        if (kind := str(match.lastgroup)) not in ignored and (text := match.group())
    ]


def comments(source: Source) -> list[Lexeme]:
    """The comments of a source, which `lexemes` leaves out."""
    scanner, _, _ = _scanner()
    return [
        Lexeme.of("COMMENT", match.group(), Span(source, *match.span()))
        for match in scanner.finditer(source.text)
        if match.lastgroup == "COMMENT"
    ]


def whole(source: Source) -> Iterator[Lexeme]:
    """The tokens of a source with blanks and comments: all of its text."""
    scanner, words, _ = _scanner()
    for match in scanner.finditer(source.text):
        kind, text = str(match.lastgroup), match.group()
        kind = words.get(text, kind) if kind == "NAME" else kind
        yield Lexeme.of(kind, text, Span(source, *match.span()))


def terminals() -> dict[str, str]:
    """The regular expression of every terminal of the grammar."""
    return {terminal.name: terminal.pattern.to_regexp() for terminal in _lark().terminals}


@cache
def _scanner() -> tuple[re.Pattern[str], dict[str, str], frozenset[str]]:
    """One expression of all terminals, the words that are no names, and what is left out.

    Terminals are tried in Lark's order: by priority, the longest that is possible, the longest as
    written.
    """
    words = {text: name for name, text in _symbols().items() if text.isidentifier()}
    terminals = sorted(
        (terminal for terminal in _lark().terminals if terminal.name not in words.values()),
        key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name),
    )
    groups = (f"(?P<{terminal.name}>{terminal.pattern.to_regexp()})" for terminal in terminals)
    return re.compile("|".join(groups)), words, frozenset(_lark().lexer_conf.ignore)


def _nesting(tokens: tuple[Lexeme, ...]) -> int:
    deepest = depth = 0
    for token in tokens:
        depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
        deepest = max(deepest, depth)
    return deepest


def _too_nested(node: object) -> Span | None:
    """The place of an expression inside too many others, if there is one.

    Sums and products may be of any length: their left operands do not count as nested.
    """
    stack: list[tuple[syntax.Expression | syntax.Range | syntax.Argument, int]]
    stack = [(root, 0) for root in _expressions(node)]
    while stack:
        part, depth = stack.pop()
        if depth > MAX_NESTING:
            return part.span
        for child in syntax.children(part):
            same = isinstance(child, syntax.Argument) or (
                isinstance(part, syntax.Binary) and child is part.left
            )
            stack.append((child, depth if same else depth + 1))
    return None


def _expressions(node: object) -> Iterator[syntax.Expression]:
    """The outermost expressions of a node."""
    match node:
        case syntax.Definition():
            yield node.body
            if node.derivative is not None:
                yield node.derivative
            yield from _expressions(node.signature)
        case Header() if node.signature is not None:
            yield from _expressions(node.signature)
        case syntax.Signature():
            yield from (option.default for option in node.options if option.default is not None)
        case syntax.Declaration():
            yield node.type.size
        case syntax.Truth():
            return
        case syntax.Constant() | syntax.Binding() | syntax.Role() | syntax.Metric():
            yield node.value
        case syntax.State() | syntax.Return():
            yield node.value
        case syntax.Call() | syntax.Binary() | syntax.Unary() | syntax.Conditional():
            yield node
        case syntax.ListLiteral():
            yield node


def _too_deep(span: Span) -> Diagnostic:
    return Diagnostic(
        "N0107",
        f"this is nested more than {MAX_NESTING} deep",
        span,
        help="give a part of it a name of its own",
    )
