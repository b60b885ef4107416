# ruff: noqa: D102 -- what a method builds is said by its type, and when by the grammar
"""From the rules of the grammar to syntax nodes: one method a rule, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from nerva_dsl import syntax
from nerva_dsl.grammar.layout import Lexeme
from nerva_dsl.record import Record, replace
from nerva_dsl.source import Span

Children = Sequence[Any]
"""What a rule has matched: lexemes and the nodes of its parts, in order."""


class Header(Record):
    """The first line of a block: its word, and for a definition its name and signature."""

    span: Span
    keyword: Lexeme
    name: syntax.Name | None = None
    signature: syntax.Signature | None = None


def word(lexeme: Lexeme) -> Any:
    """The text of a keyword, as the kind of a node."""
    return lexeme.text


def _name(lexeme: Lexeme) -> syntax.Name:
    return syntax.Name(lexeme.span, lexeme.text)


def _span(children: Children) -> Span:
    first: Span = children[0].span
    last: Span = children[-1].span
    return Span(first.source, first.start, last.end)


def _nodes(children: Children) -> tuple[Any, ...]:
    """Without the punctuation."""
    return tuple([child for child in children if not isinstance(child, Lexeme)])


class Builder:
    """Builds the node of each rule from its parts."""

    def model_name(self, children: Children) -> syntax.ModelName:
        return syntax.ModelName(_span(children), _name(children[1]))

    def constant(self, children: Children) -> syntax.Constant:
        keyword, name, _, value = children
        return syntax.Constant(_span(children), word(keyword), _name(name), value)

    def declaration(self, children: Children) -> syntax.Declaration:
        keyword, name, _, kind = children
        return syntax.Declaration(_span(children), word(keyword), _name(name), kind)

    def binding(self, children: Children) -> syntax.Binding:
        name, _, value = children
        return syntax.Binding(_span(children), _name(name), value)

    setting = binding

    def role(self, children: Children) -> syntax.Role:
        keyword, _, value = children
        return syntax.Role(_span(children), word(keyword), keyword.span, value)

    def metric(self, children: Children) -> syntax.Metric:
        return syntax.Metric(_span(children), _name(children[1]), children[3])

    def import_file(self, children: Children) -> syntax.Import:
        return syntax.Import(_span(children), self.text(children[1:]))

    def definition(self, children: Children) -> syntax.Definition:
        keyword, name, signature, _, body = children[:5]
        derivative = children[6] if len(children) > 5 else None
        return syntax.Definition(
            _span(children),
            word(keyword),
            _name(name),
            signature,
            body,
            derivative,
        )

    definition_with_derivative = definition

    def definition_header(self, children: Children) -> Header:
        keyword, name, signature, _ = children
        return Header(_span(children), keyword, _name(name), signature)

    def settings_header(self, children: Children) -> Header:
        return Header(_span(children), children[0])

    def state(self, children: Children) -> syntax.State:
        return syntax.State(_span(children), _name(children[1]), children[3])

    def return_value(self, children: Children) -> syntax.Return:
        return syntax.Return(_span(children), children[1])

    def type(self, children: Children) -> syntax.Type:
        return syntax.Type(_span(children), _name(children[0]), children[2])

    def signature(self, children: Children) -> syntax.Signature:
        inputs, *options = (child for child in children if isinstance(child, tuple))
        return syntax.Signature(_span(children), inputs, options[0] if options else ())

    def inputs(self, children: Children) -> tuple[syntax.Name, ...]:
        return tuple(_name(child) for child in children if child.type == "NAME")

    def options(self, children: Children) -> tuple[syntax.Option, ...]:
        return _nodes(children)

    def option(self, children: Children) -> syntax.Option:
        learn = children[0].span if children[0].type == "LEARN" else None
        name, *default = children[1:] if learn else children
        return syntax.Option(_span(children), _name(name), default[1] if default else None, learn)

    def conditional(self, children: Children) -> syntax.Conditional:
        return syntax.Conditional(_span(children), children[1], children[3], children[5])

    def binary(self, children: Children) -> syntax.Binary:
        left, operator, right = children
        return syntax.Binary(_span(children), operator.text, left, right)

    def unary(self, children: Children) -> syntax.Unary:
        return syntax.Unary(_span(children), children[0].text, children[1])

    def name(self, children: Children) -> syntax.Name:
        return _name(children[0])

    def number(self, children: Children) -> syntax.NumberLiteral:
        return syntax.NumberLiteral(children[0].span, children[0].text)

    def text(self, children: Children) -> syntax.TextLiteral:
        return syntax.TextLiteral(children[0].span, children[0].text[1:-1])

    def truth(self, children: Children) -> syntax.Truth:
        return syntax.Truth(children[0].span, children[0].text == "true")

    def parentheses(self, children: Children) -> syntax.Expression:
        return cast(syntax.Expression, replace(children[1], span=_span(children)))

    def list_literal(self, children: Children) -> syntax.ListLiteral:
        return syntax.ListLiteral(_span(children), _nodes(children))

    def call(self, children: Children) -> syntax.Call:
        return syntax.Call(_span(children), _name(children[0]), _nodes(children))

    def argument(self, children: Children) -> syntax.Argument:
        return syntax.Argument(children[0].span, None, children[0])

    def named_argument(self, children: Children) -> syntax.Argument:
        return syntax.Argument(_span(children), _name(children[0]), children[2])

    def range_argument(self, children: Children) -> syntax.Argument:
        name, _, first, _, last = children
        span = _span(children)
        return syntax.Argument(span, None, syntax.Range(span, _name(name), first, last))
