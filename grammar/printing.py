# ruff: noqa: D102 -- what a method prints is said by the grammar
"""From the rules of the grammar to documents: how each is laid out, one method a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nerva_dsl.grammar.documents import (
    Comment,
    Document,
    Line,
    concat,
    group,
    indent,
)
from nerva_dsl.grammar.layout import Lexeme
from nerva_dsl.record import Record, replace

_LEVELS = {
    "OR": 1, "AND": 2, "PLUS": 4, "MINUS": 4,
    "STAR": 5, "SLASH": 5, "DOUBLE_SLASH": 5, "PERCENT": 5, "CARET": 6,
}  # fmt: skip
"""How tightly operators bind; comparisons, which do not chain, are at 3."""


class CommentedLexeme(Lexeme):
    """A token behind which a line may end, with the comments that stand there."""

    comments: tuple[Comment, ...]


class Statement(Record):
    """A statement, header or line of a block.

    Attributes:
        kind: statements of one kind that stand below each other have their columns aligned; empty
            if it has no columns.
        columns: what stands in them.
        rest: what stands behind them.
    """

    kind: str
    columns: tuple[str, ...]
    rest: Document


class _Part(Record):
    """What is printed for a rule.

    Attributes:
        document: see there.
        behind: the comments that follow its last token. They belong to what it is a part of, since
            they should not break a part that ends before them.
        bracketed: whether it ends with a bracket that can be broken inside: it need not begin a
            line of its own then.
    """

    document: Document
    behind: tuple[Comment, ...] = ()
    bracketed: bool = False


class _Chain(Record):
    """`left operator right`, where `left` may be a chain of operators that bind as tightly."""

    level: int
    left: Any
    operator: Lexeme
    right: Any


class _Alternatives(Record):
    """`if a then b else`, as often as there are conditions, and what holds otherwise."""

    items: tuple[Any, ...]


Children = Sequence[Any]


class Printer:
    """Makes of each rule what is printed for it, from its parts."""

    # ---------------------------------------------------------------------------- statements

    def model_name(self, children: Children) -> Statement:
        return _plain(_words(*children))

    import_file = model_name
    settings_header = model_name

    def constant(self, children: Children) -> Statement:
        keyword, name, equals, value = children
        return _columns("constant", (keyword, name), _assigned(equals, value))

    def declaration(self, children: Children) -> Statement:
        keyword, name, colon, kind = children
        return _columns("declaration", (keyword, name), _words(colon, kind))

    def binding(self, children: Children) -> Statement:
        name, equals, value = children
        return _columns("binding", (name,), _assigned(equals, value))

    setting = binding

    def role(self, children: Children) -> Statement:
        keyword, equals, value = children
        return _columns("role", (keyword,), _assigned(equals, value))

    def metric(self, children: Children) -> Statement:
        keyword, name, equals, value = children
        return _columns("metric", (keyword, name), _assigned(equals, value))

    def state(self, children: Children) -> Statement:
        keyword, name, equals, value = children
        return _columns("state", (keyword, name), _assigned(equals, value))

    def return_value(self, children: Children) -> Statement:
        keyword, value = children
        return _plain(_joined([keyword, " ", _indented(value)]))

    def definition(self, children: Children) -> Statement:
        keyword, name, signature, equals, *body = children
        # The body begins a line if one is not enough.
        start = [keyword, " ", name, signature, " ", equals]
        return _plain(_grouped([*start, _indented(Line(), _words(*body))]))

    definition_with_derivative = definition

    def definition_header(self, children: Children) -> Statement:
        keyword, name, signature, brace = children
        return _plain(_joined([keyword, " ", name, signature, " ", brace]))

    def type(self, children: Children) -> _Part:
        name, *brackets = children
        return _joined([name, _brackets(brackets)])

    def signature(self, children: Children) -> _Part:
        return _brackets(children)

    def inputs(self, children: Children) -> _Part:
        return _grouped(_separated(children))

    def options(self, children: Children) -> _Part:
        return _joined(_separated(children))

    def option(self, children: Children) -> _Part:
        words = 2 if children[0].type == "LEARN" else 1
        name, default = _words(*children[:words]), children[words:]
        return _joined([name, " ", _assigned(*default)]) if default else name

    # --------------------------------------------------------------------------- expressions

    def conditional(self, children: Children) -> _Alternatives:
        # A line cannot begin with `else`, so that each alternative follows the one before.
        word, condition, then, chosen, otherwise, rest = children
        start = [word, " ", _indented(condition), " ", then]
        choice = _grouped([*start, _indented(Line(), chosen), " ", otherwise])
        further = rest.items if isinstance(rest, _Alternatives) else (rest,)
        return _Alternatives((choice, Line(), *further))

    def binary(self, children: Children) -> _Chain:
        left, operator, right = children
        return _Chain(_LEVELS.get(operator.type, 3), left, operator, right)

    def unary(self, children: Children) -> _Part:
        operator, operand = children
        if isinstance(operator, CommentedLexeme):  # behind a minus a line may end
            return _grouped([operator, _indented(Line(""), operand)])
        return _joined([operator, " " if operator.type == "NOT" else "", operand])

    def name(self, children: Children) -> _Part:
        return _part(children[0])

    number = name
    text = name
    truth = name
    argument = name

    def parentheses(self, children: Children) -> _Part:
        return _brackets(children)

    list_literal = parentheses

    def call(self, children: Children) -> _Part:
        name, *brackets = children
        return replace(_joined([name, _brackets(brackets)]), bracketed=True)

    def named_argument(self, children: Children) -> _Part:
        name, equals, value = children
        return _joined([name, " ", _assigned(equals, value)])

    def range_argument(self, children: Children) -> _Part:
        return _words(*children)


def _plain(part: _Part) -> Statement:
    return Statement("", (), part.document)


def _columns(kind: str, columns: Sequence[Lexeme], rest: _Part) -> Statement:
    return Statement(kind, tuple(map(str, columns)), rest.document)


def _part(item: Any) -> _Part:
    """What is printed for a token, a document or a rule's result."""
    match item:
        case _Part():
            return item
        case CommentedLexeme():
            return _Part(str(item), item.comments)
        case _Chain():
            first, *others = _links(item)
            items: list[Any] = [_operand(first)]
            for operator, operand in others:
                items += [" ", operator, Line(), _operand(operand)]
            return _grouped(items)
        case _Alternatives():
            return _grouped(item.items)
    return _Part(str(item) if isinstance(item, Lexeme) else item)


def _operand(item: Any) -> _Part:
    """An operand. A product that is broken inside a sum should not look like terms of the sum."""
    return _indented(item) if isinstance(item, _Chain) else _part(item)


def _links(chain: _Chain) -> list[Any]:
    """The first operand of a chain, and the others with the operators before them."""
    links: list[Any] = []
    node: Any = chain
    while isinstance(node, _Chain) and node.level == chain.level:
        links.append((node.operator, node.right))
        node = node.left
    return [node, *reversed(links)]


def _sequence(items: Iterable[Any]) -> tuple[list[Document], tuple[Comment, ...]]:
    """The documents of items, with comments between them, and the comments behind the last."""
    documents: list[Document] = []
    behind: tuple[Comment, ...] = ()
    for item in items:
        part = _part(item)
        documents += [*behind, part.document]
        behind = part.behind
    return documents, behind


def _joined(items: Iterable[Any]) -> _Part:
    documents, behind = _sequence(items)
    return _Part(concat(*documents), behind)


def _grouped(items: Iterable[Any]) -> _Part:
    documents, behind = _sequence(items)
    return _Part(group(*documents), behind)


def _indented(*items: Any) -> _Part:
    documents, behind = _sequence(items)
    return _Part(indent(*documents), behind)


def _words(*items: Any) -> _Part:
    """Items with blanks between them."""
    first, *others = items
    return _joined([first, *(part for item in others for part in (" ", item))])


def _assigned(equals: Lexeme, value: Any) -> _Part:
    """`= value`. What ends with a bracket is broken there, other values begin a line."""
    part = _part(value)
    if part.bracketed and not isinstance(equals, CommentedLexeme):
        return _joined([equals, " ", part])
    return _grouped([equals, _indented(Line(), part)])


def _brackets(children: Children) -> _Part:
    """Items in brackets; a comma behind the last one asks for a line for each of them."""
    opening, *inside, closing = children
    asked = bool(inside) and isinstance(inside[-1], Lexeme) and inside[-1].type == "COMMA"
    start = _part(opening)
    documents, last = _sequence(_separated(inside))
    items = indent(*start.behind, Line(""), *documents, *last)
    end = _part(closing)
    whole = group(start.document, items, Line(""), end.document, broken=asked)
    return _Part(whole, end.behind, bracketed=True)


def _separated(children: Children) -> Iterator[Any]:
    """Items with commas and semicolons between them."""
    for number, child in enumerate(children, 1):
        yield child
        separates = isinstance(child, Lexeme) and child.type in ("COMMA", "SEMICOLON")
        if separates and number < len(children):
            yield Line()
