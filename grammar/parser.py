"""The parser: from a source to its syntax, and to everything that is wrong with it.

text → tokens → layout.split → each piece through the LALR tables → builder → syntax
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from functools import cache
from itertools import takewhile
from typing import Any

from nerva_dsl import syntax
from nerva_dsl.errors import Diagnostic, DiagnosticError
from nerva_dsl.grammar import expected, habits
from nerva_dsl.grammar.automaton import Automaton, UnexpectedError
from nerva_dsl.grammar.builder import Builder, Header, word
from nerva_dsl.grammar.layout import MAX_NESTING, Block, Lexeme, Piece, split
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.grammar.tables import tables
from nerva_dsl.source import Source, Span

_DEFINED = ("PARAM", "LET", "INPUT", "TARGET", "METRIC", "FUNCTION", "LOSS", "SCHEDULE")
_DEFINED_IN_BLOCKS = ("OPTIMIZER", "LAYER")


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
                problem = expected.unexpected(piece, error.token, allowed, tables().symbols)
            else:
                problem = expected.at_end(piece, allowed, tables().symbols)
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
    """The terminals that could stand where a token is wrong, or at the end."""
    before = takewhile(lambda token: token is not wrong, piece.tokens)
    return _automaton(piece.start).allowed(token.type for token in before)


def expected_at(start: str, before: Iterable[Lexeme]) -> frozenset[str]:
    """The terminals that can follow some tokens; none if those are wrong already.

    Args:
        start: the start rule.
        before: the tokens, from the beginning of a piece.
    """
    return _automaton(start).allowed(token.type for token in before)


@cache
def _automaton(start: str) -> Automaton:
    """The parser of the pieces of a start rule."""
    return Automaton(tables(), start, Builder())


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
    stack: list[tuple[syntax.Part, int]]
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
