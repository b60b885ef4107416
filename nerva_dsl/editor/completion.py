"""What can stand at an offset: words of the language by the grammar's tables, and names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from itertools import pairwise

from nerva_dsl import syntax
from nerva_dsl.check import Attempt
from nerva_dsl.check.bodies import REDUCTIONS, SOFTMAXES
from nerva_dsl.check.constants import FUNCTIONS as CONSTANT_FUNCTIONS
from nerva_dsl.check.environment import Defined
from nerva_dsl.check.expressions import GRAPH_FORMS, PRIMITIVES
from nerva_dsl.check.initialisers import OPTIONS as INITIALISERS
from nerva_dsl.check.metrics import LABELLED
from nerva_dsl.editor import words
from nerva_dsl.editor.context import Context, context_at
from nerva_dsl.editor.lookup import find, local_names
from nerva_dsl.editor.terminals import DEFINING
from nerva_dsl.grammar.layout import kinds
from nerva_dsl.grammar.lexer import terminals
from nerva_dsl.grammar.parser import expected_at
from nerva_dsl.record import Record


class Kind(Enum):
    """What is proposed."""

    KEYWORD = auto()
    VALUE = auto()
    CONSTANT = auto()
    FUNCTION = auto()
    OPTION = auto()
    TYPE = auto()


class Proposal(Record):
    """One of the things that can stand there.

    Attributes:
        text: what is put in.
        kind: see there.
        detail: on the same line.
        documentation: a sentence about it.
    """

    text: str
    kind: Kind
    detail: str = ""
    documentation: str = ""


def proposals(attempt: Attempt, offset: int) -> list[Proposal]:
    """What can stand at an offset, each text once, in the order of their closeness."""
    source = attempt.file.source
    context = context_at(source, offset)
    if _in_comment_or_string(source.text[:offset]):
        return []
    allowed = expected_at(context.start, context.before)
    if context.start == "statement" and not context.before:
        allowed |= expected_at("header", ())
    found = dict[str, Proposal]()
    for proposal in _all(attempt, context, allowed, offset):
        found.setdefault(proposal.text, proposal)
    return list(found.values())


def _in_comment_or_string(before: str) -> bool:
    line = before.rpartition("\n")[2]
    bare = re.sub(r'"[^"]*"', "", line)
    return "#" in bare or '"' in bare


def _all(
    attempt: Attempt, context: Context, allowed: frozenset[str], offset: int
) -> Iterator[Proposal]:
    if "NAME" in allowed:
        yield from _names(attempt, context, offset)
    for terminal, text in terminals().items():
        # Words that are keys or options as well are proposed as such.
        key = context.start == "setting" if not context.before else terminal in _KEYS
        if terminal in allowed and text in words.KEYWORDS and not key:
            yield Proposal(text, Kind.KEYWORD, "", words.KEYWORDS[text])


_KEYS = kinds("OPTIMIZER REGROW")


def _names(attempt: Attempt, context: Context, offset: int) -> Iterator[Proposal]:
    before = context.before
    if not before:
        if context.start == "setting":
            given = _given(attempt, context.block)
            for key, text in words.SETTINGS.get(context.block, {}).items():
                if key not in given:
                    yield Proposal(f"{key} = ", Kind.OPTION, "", text)
        elif context.start == "update":
            yield from _locals(attempt, context)
        return
    if before[-1].type == "COLON":
        for name, text in words.TYPES.get(str(before[0]), {}).items():
            yield Proposal(name, Kind.TYPE, "", text)
        return
    if "EQUALS" not in {token.type for token in before} or before[-1].type == "SEMICOLON":
        return  # the name of something new
    if context.callee and not context.argument:
        yield from _options(attempt, context)
    yield from _expressions(attempt, context, offset)


def _given(attempt: Attempt, block: str) -> set[str]:
    """The keys that a block has already."""
    return {
        line.name.text
        for statement in attempt.file.statements
        if isinstance(statement, syntax.Settings) and statement.kind == block
        for line in statement.lines
        if isinstance(line, syntax.Binding)
    }


def _options(attempt: Attempt, context: Context) -> Iterator[Proposal]:
    """The options of what is called that are not given yet."""
    given = {str(name) for name, equals in pairwise(context.before) if equals.type == "EQUALS"}
    definition = find(attempt, context.callee, context)
    if definition is not None:
        names = [(option.name, option.span.text) for option in definition.options]
    else:
        names = [(name, "") for name in _built_in_options(context.callee)]
    for name, detail in names:
        if name not in given:
            yield Proposal(f"{name} = ", Kind.OPTION, detail, f"an option of `{context.callee}`")


def _built_in_options(callee: str) -> list[str]:
    """The names in a signature but the first: what is worked on is given by position."""
    if callee in INITIALISERS:
        return [*INITIALISERS[callee], "fan_in"]
    signature = words.BUILT_IN.get(callee, ("", ""))[0]
    _, _, inside = signature.partition("(")
    names = [part.split("=")[0].strip(" )") for part in inside.split(",")]
    return [name for name in names[1:] if name.isidentifier()]


def _expressions(attempt: Attempt, context: Context, offset: int) -> Iterator[Proposal]:
    """The names that can begin an operand, the likeliest first."""
    tables = attempt.scope.tables()
    chosen = _choices(context, tables)
    if chosen is not None and context.callee not in {proposal.text for proposal in chosen}:
        yield from chosen
        if context.key not in ("precision", "optimizer"):
            yield from _constants(attempt, offset)
        return
    if chosen is not None or context.start == "setting":
        yield from _constants(attempt, offset)
        return
    place = _place(context)
    yield from _locals(attempt, context)
    if place.losses:
        yield from map(_definition, tables["loss"].values())
    if place.values:
        yield from _values(attempt, offset, target=place.losses)
    yield from _constants(attempt, offset)
    if place.functions:
        yield from map(_definition, tables["function"].values())
    if place.graph:
        yield from map(_definition, tables["layer"].values())
    yield from _built_in({name: words.BUILT_IN[name] for name in place.built_in()})


def _choices(
    context: Context, tables: Mapping[str, Mapping[str, Defined]]
) -> list[Proposal] | None:
    """What stands behind `key =`; None if expressions of any kind do."""
    key = context.key
    setting, option = context.start == "setting", context.callee != ""
    if key in words.CHOICES and (setting or option or key == "sparsity"):
        return list(_built_in(words.CHOICES[key]))
    if key == "precision" and setting:
        return [Proposal(name, Kind.CONSTANT, "", text) for name, text in words.PRECISIONS.items()]
    if key == "optimizer" and (setting or option):
        return list(map(_definition, tables["optimizer"].values()))
    if key == "learning_rate" and setting:
        return list(map(_definition, tables["schedule"].values()))
    return None


class _Place(Record):
    """What expressions may have in them.

    Attributes:
        graph: `linear` and other forms, and layers.
        functions: functions that are defined.
        values: names of values.
        losses: losses and the target.
        more: other names that are built in.
    """

    graph: bool = False
    functions: bool = True
    values: bool = False
    losses: bool = False
    more: frozenset[str] = frozenset()

    def built_in(self) -> Iterator[str]:
        """What is built in and can be used there, in the order of their table."""
        graph = GRAPH_FORMS | SOFTMAXES if self.graph else frozenset()
        common = PRIMITIVES if self.functions else frozenset(CONSTANT_FUNCTIONS)
        return (name for name in words.BUILT_IN if name in graph | common | self.more)


def _place(context: Context) -> _Place:
    first = context.before[0].type
    defines = context.before[1:3]
    if first == "METRIC":
        return _Place(values=True, losses=True, more=frozenset(LABELLED))
    if first == "LOSS" and defines[0].type == "EQUALS":
        return _Place(values=True, losses=True)
    if first in ("PARAM", "LET", "SPARSITY", "INPUT", "TARGET"):
        return _Place(functions=False)
    if first == "LOSS":
        return _Place(more=REDUCTIONS | SOFTMAXES)
    if first == "SCHEDULE":
        return _Place(more=frozenset({"count", "product"}))
    if first == "FUNCTION" or context.block == "optimizer":
        return _Place()
    return _Place(graph=True, values=context.block != "layer")


def _locals(attempt: Attempt, context: Context) -> Iterator[Proposal]:
    """The names of the definition in which it stands."""
    header = context.header or context.before
    for statement in attempt.file.statements:
        if isinstance(statement, syntax.Definition | syntax.BlockDefinition) and (
            statement.span.start == header[0].span.start
        ):
            for name, span in local_names(statement):
                yield Proposal(name, Kind.VALUE, span.text)
            return
    # Of half a definition there are the tokens only.
    if header[0].type in DEFINING and len(header) > 2 and header[2].type == "LPAR":
        for before, token in pairwise(header[2:]):
            if token.type == "RPAR":
                return
            if token.type == "NAME" and before.type in _BEFORE_NAMES:
                yield Proposal(str(token), Kind.VALUE)


_BEFORE_NAMES = ("LPAR", "COMMA", "SEMICOLON", "LEARN")


def _values(attempt: Attempt, offset: int, *, target: bool) -> Iterator[Proposal]:
    kinds = ("value", "input", "target") if target else ("value", "input")
    for name, symbol in attempt.scope.symbols.items():
        if symbol.kind in kinds and symbol.span.start < offset:
            yield Proposal(name, Kind.VALUE, symbol.kind)


def _constants(attempt: Attempt, offset: int) -> Iterator[Proposal]:
    for name, symbol in attempt.scope.symbols.items():
        if symbol.kind in ("param", "let") and symbol.span.start < offset:
            yield Proposal(name, Kind.CONSTANT, symbol.kind)


def _built_in(table: Mapping[str, tuple[str, str]]) -> Iterator[Proposal]:
    for name, (signature, text) in table.items():
        yield Proposal(name, Kind.FUNCTION, signature, text)


def _definition(defined: Defined) -> Proposal:
    inputs = ", ".join(defined.inputs)
    options = ", ".join(option.span.text for option in defined.options)
    supplied = defined.kind in ("optimizer", "schedule")
    signature = options if supplied else inputs + (f"; {options}" if options else "")
    return Proposal(defined.name, Kind.FUNCTION, f"{defined.name}({signature})", defined.kind)
