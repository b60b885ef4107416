"""What the name at an offset means: where it is defined, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from nerva_dsl import syntax
from nerva_dsl.check import Attempt, Checked
from nerva_dsl.check.constants import show
from nerva_dsl.check.environment import Defined
from nerva_dsl.check.terms import Scalar, Symbol, Unknown
from nerva_dsl.editor import words
from nerva_dsl.editor.context import Context, context_at
from nerva_dsl.editor.terminals import DEFINING
from nerva_dsl.grammar.layout import Block, Lexeme, split
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.model import Layer
from nerva_dsl.record import Record
from nerva_dsl.source import Source, Span

CALLED = ("function", "layer", "loss", "schedule", "optimizer")
"""The kinds of definitions, in the order in which a name that is called is looked for."""

PREFERRED = {"optimizer": "optimizer", "learning_rate": "schedule", "loss": "loss"}
"""The kind that is meant behind `key =`, whatever else has the name."""


class Meaning(Record):
    """What stands at an offset.

    Attributes:
        span: of the name.
        text: about it, as Markdown.
        defined: where it is defined, if it is.
    """

    span: Span
    text: str
    defined: Span | None = None


def meaning_at(attempt: Attempt, checked: Checked | None, offset: int) -> Meaning | None:
    """What the token at an offset means; None if there is nothing to say.

    Args:
        attempt: what is known of the file as it is.
        checked: the model of this text or, if it has errors, of the last one without any.
        offset: in the file, at the beginning, in, or at the end of the token.
    """
    source = attempt.file.source
    tokens = lexemes(source)
    at = _token_at(tokens, offset)
    if at is None:
        return None
    token = tokens[at]
    context = context_at(source, token.span.start)
    following = tokens[at + 1].type if at + 1 < len(tokens) else ""
    if token.type == "STRING":
        return _import(attempt, checked, token, context)
    if context.start == "setting" and not context.before:
        return _described(token, words.SETTINGS.get(context.block, {}).get(str(token)))
    if following == "EQUALS" and context.callee and not context.argument:
        return _option(attempt, token, context)
    if token.type != "NAME":
        return _described(token, words.KEYWORDS.get(str(token)))
    if context.before and context.before[-1].type == "COLON":
        return _described(token, words.TYPES.get(str(context.before[0]), {}).get(str(token)))
    local = _local(attempt.file, token)
    if local is not None:
        return Meaning(token.span, f"```nerva\n{local.text}\n```", local)
    defines = bool(context.before) and context.before[-1].type in DEFINING
    if following == "LPAR":
        kind = str(context.before[-1]) if defines else ""
        return _called(attempt, checked, token, context, kind)
    symbol = attempt.scope.symbols.get(str(token))
    if symbol is None:
        return None
    return Meaning(token.span, _about_symbol(token, symbol, checked), symbol.span)


def _token_at(tokens: Sequence[Lexeme], offset: int) -> int | None:
    """The position of the token at an offset; of two that meet there, the name."""
    found = None
    for at, token in enumerate(tokens):
        if token.span.start <= offset <= token.span.end and token.type != "NEWLINE":
            if found is None or token.type == "NAME" or str(token).isalpha():
                found = at
        elif token.span.start > offset:
            break
    return found


def _described(token: Lexeme, text: str | None) -> Meaning | None:
    return None if text is None else Meaning(token.span, f"`{token}`: {text}")


def _import(
    attempt: Attempt, checked: Checked | None, token: Lexeme, context: Context
) -> Meaning | None:
    """The file that an import names."""
    if not context.before or context.before[0].type != "IMPORT":
        return None
    for imported in attempt.imports:
        if imported.path.span == token.span:
            start = Span(imported.source, 0, 0)
            return Meaning(token.span, f"`{imported.source.name}`", start)
    return None


def _option(attempt: Attempt, token: Lexeme, context: Context) -> Meaning | None:
    """An option that is given by name in a call."""
    definition = find(attempt, context.callee, context)
    if definition is None:
        return _described(token, _of_built_in(context, str(token)))
    for option in definition.options:
        if option.name == str(token):
            text = f"```nerva\n{option.span.text}\n```\nan option of `{definition.name}`"
            return Meaning(token.span, text, option.span)
    return None


def _of_built_in(context: Context, option: str) -> str | None:
    known = words.BUILT_IN.get(context.callee)
    return f"an option of `{known[0]}`" if known is not None and option in known[0] else None


def find(attempt: Attempt, name: str, context: Context, kind: str = "") -> Defined | None:
    """The definition that a name has where it is called."""
    tables = attempt.scope.tables()
    preferred = kind or PREFERRED.get(context.key, "")
    for each in (preferred, *CALLED):
        if each and name in tables[each]:
            return tables[each][name]
    return None


def _called(
    attempt: Attempt, checked: Checked | None, token: Lexeme, context: Context, kind: str
) -> Meaning | None:
    choices = words.CHOICES.get(context.key, {})
    if str(token) in choices and (context.key in ("sparsity", "weights") or context.block):
        return _built_in(token, choices[str(token)], "")
    definition = find(attempt, str(token), context, kind)
    if definition is not None:
        return Meaning(token.span, definition_text(definition.span), definition.span)
    known = words.BUILT_IN.get(str(token))
    if known is None:
        return None
    layers = [layer for layer in _layers(checked) if layer.span.start == token.span.start]
    mine = [layer for layer in layers if layer.span.source.name == token.span.source.name]
    return _built_in(token, known, "".join(f"\n\n{about_layer(layer)}" for layer in mine))


def _built_in(token: Lexeme, known: tuple[str, str], more: str) -> Meaning:
    signature, text = known
    return Meaning(token.span, f"```nerva\n{signature}\n```\n{text}{more}")


def definition_text(name: Span) -> str:
    """The text of a definition with the comment above it, as Markdown.

    Args:
        name: the place of its name.
    """
    span = _definitions(name.source).get(name.start, name)
    lines = name.source.text[: span.start].split("\n")[:-1]
    above: list[str] = []
    while lines and lines[-1].lstrip().startswith("#"):
        above.insert(0, lines.pop().lstrip().lstrip("#").strip())
    comment = f"\n{' '.join(above)}" if above else ""
    return f"```nerva\n{span.text}\n```{comment}"


@lru_cache(maxsize=32)
def _definitions(source: Source) -> dict[int, Span]:
    """The extent of each definition of a file, by where its name begins."""
    found: dict[int, Span] = {}
    for part in split(lexemes(source)):
        piece = part.header if isinstance(part, Block) else part
        span = piece.span
        if isinstance(part, Block) and part.closing is not None:
            span = span.to(part.closing.span)
        if len(piece.tokens) > 1 and piece.tokens[0].type in DEFINING:
            found[piece.tokens[1].span.start] = span
    return found


def _local(file: syntax.File, token: Lexeme) -> Span | None:
    """Where a name of a definition's own is defined: an input, an option, a state or a line."""
    for statement in file.statements:
        if isinstance(statement, syntax.Definition):
            spans = [statement.span]
        elif isinstance(statement, syntax.BlockDefinition):
            spans = [statement.span, *(line.span for line in statement.lines)]
        else:
            continue
        if any(span.start <= token.span.start < span.end for span in spans):
            return next((span for name, span in local_names(statement) if name == str(token)), None)
    return None


def local_names(
    statement: syntax.Definition | syntax.BlockDefinition,
) -> Iterator[tuple[str, Span]]:
    """The names that a definition has for itself, and where they are defined."""
    for name in statement.signature.inputs:
        yield name.text, name.span
    for option in statement.signature.options:
        yield option.name.text, option.span
    if isinstance(statement, syntax.BlockDefinition):
        for line in statement.lines:
            if isinstance(line, syntax.Binding | syntax.State):
                yield line.name.text, line.span


def _about_symbol(token: Lexeme, symbol: Symbol, checked: Checked | None) -> str:
    name = str(token)
    match symbol.term:
        case Scalar(width=int(width)):
            features = f"{width:,} feature{'s' * (width != 1)}"
            kind = {"input": "the input", "target": "the target"}.get(symbol.kind, "a value")
            about = [f"`{name}`: {kind} of {features}"]
            about += [about_layer(layer) for layer in _layers(checked) if _owner(layer) == name]
            return "\n\n".join(about)
        case Unknown() | Scalar():
            return f"`{name}`: a {symbol.kind}"
        case constant:
            return f"```nerva\n{symbol.kind} {name} = {show(constant)}\n```"


def _layers(checked: Checked | None) -> tuple[Layer, ...]:
    return () if checked is None else checked.model.layers


def _owner(layer: Layer) -> str:
    return layer.name.split(".", 1)[0]


def about_layer(layer: Layer) -> str:
    """A line on the size of a layer's weight."""
    kind = "sparse" if layer.sparse else "dense"
    return (
        f"`{layer.name}.weight`: {layer.outputs:,} × {layer.inputs:,}, {kind}, "
        f"density {layer.density:.3g}, {layer.nnz:,} non-zeros"
    )
