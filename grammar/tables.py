"""The tables of the grammar: plain data, which Lark makes once for all runs.

Lark takes longer to import than a short file to check, and longer still to make its tables. They
are kept in a file and made again if the grammar has changed, or if the file is damaged.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import DecodeError, msgpack

from nerva_dsl.record import Record
from nerva_dsl.runtime.replacing import replacing
from nerva_dsl.runtime.tables import tables_directory

if TYPE_CHECKING:
    from lark import Lark
    from lark.grammar import Rule as LarkRule

STARTS = ("statement", "header", "setting", "update", "step", "expression")
END = "$END"
"""What follows the last token."""

_STRAY = "stray"  # the rule of what no rule accepts
_CHECKSUM = 4


class Rule(Record):
    """An alternative of a rule.

    Attributes:
        builds: the name of the node that it makes; empty if it passes on its only part, or if its
            parts become parts of what it stands in.
        origin: the rule.
        size: how many parts it has.
        spread: which of them are to be replaced by their own parts.
    """

    builds: str
    origin: str
    size: int
    spread: tuple[int, ...]

    @property
    def passes(self) -> bool:
        """Whether it passes on its only part."""
        return not self.builds and not self.inlined

    @property
    def inlined(self) -> bool:
        """Whether its parts become parts of what it stands in."""
        return self.origin.startswith("_")


class Tables(Record):
    """The terminals, and the LALR(1) automaton of all start rules.

    Attributes:
        grammar: the text that they are made from.
        terminals: the regular expression of each, in the order of the grammar.
        tried: the order in which they are tried.
        symbols: the text of each that has one text only.
        ignored: terminals between tokens.
        rules: all alternatives.
        starts: of each start rule, the first state and the one in which a piece is complete.
        shifts: of each state, the state after each terminal and rule.
        reductions: of each state, the alternative that is complete before each terminal.
    """

    grammar: str
    terminals: dict[str, str]
    tried: tuple[str, ...]
    symbols: dict[str, str]
    ignored: tuple[str, ...]
    rules: tuple[Rule, ...]
    starts: dict[str, tuple[int, int]]
    shifts: tuple[dict[str, int], ...]
    reductions: tuple[dict[str, int], ...]


@cache
def tables() -> Tables:
    """The tables, from their file or from Lark."""
    grammar = grammar_text()
    directory = tables_directory()
    if directory is None:
        return _made(grammar)
    path = directory / "grammar.tables"
    with suppress(OSError, DecodeError):
        content = path.read_bytes()
        data = content[_CHECKSUM:]
        if content[:_CHECKSUM] == _checksum(data):
            kept = msgpack.decode(data, type=Tables)
            if kept.grammar == grammar:
                return kept
    made = _made(grammar)
    data = msgpack.encode(made)
    with suppress(OSError), replacing(path) as file:
        file.write_bytes(_checksum(data) + data)
    return made


def grammar_text() -> str:
    """The grammar, in Lark's notation."""
    return Path(__file__).with_name("nerva.lark").read_text(encoding="utf-8")


def lark_parser(grammar: str, builder: object = None) -> Lark:
    """Lark's own parser; with what makes nodes, if it is to parse."""
    from lark import Lark  # noqa: PLC0415 -- see above

    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        start=[*STARTS, _STRAY],
        transformer=builder,  # any object with a method a rule
        maybe_placeholders=False,
    )


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECKSUM, "big")


def _node(rule: LarkRule) -> str:
    """The name of the node that an alternative makes, if it makes one."""
    if rule.alias is not None:
        return str(rule.alias)
    name = str(rule.origin.name)
    passes = rule.options.expand1 and len(rule.expansion) == 1
    return "" if passes or name.startswith("_") or name == _STRAY else name


def _made(grammar: str) -> Tables:
    """The tables, from Lark's; its names are tokens, which become plain texts."""
    from lark.parsers.lalr_analysis import Shift  # noqa: PLC0415

    lark = lark_parser(grammar)
    automaton = lark.parse_interactive(start=STARTS[0]).parser_state.parse_conf.parse_table
    numbers = {rule: number for number, rule in enumerate(lark.rules)}
    rules = tuple(
        Rule(
            builds=_node(rule),
            origin=str(rule.origin.name),
            size=len(rule.expansion),
            spread=tuple(
                place
                for place, part in enumerate(rule.expansion)
                if not part.is_term and part.name.startswith("_")
            ),
        )
        for rule in lark.rules
    )
    states = [automaton.states[state] for state in range(len(automaton.states))]
    symbols = {str(t.name): t.pattern.value for t in lark.terminals if t.pattern.type == "str"}
    # In Lark's order: by priority, the longest that is possible, the longest as written.
    ordered = sorted(
        lark.terminals,
        key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name),
    )
    return Tables(
        grammar=grammar,
        terminals={str(terminal.name): terminal.pattern.to_regexp() for terminal in lark.terminals},
        tried=tuple(str(terminal.name) for terminal in ordered),
        symbols=symbols,
        ignored=tuple(map(str, lark.lexer_conf.ignore)),
        rules=rules,
        starts={
            start: (automaton.start_states[start], automaton.end_states[start]) for start in STARTS
        },
        shifts=tuple(
            {str(name): to for name, (action, to) in row.items() if action is Shift}
            for row in states
        ),
        reductions=tuple(
            {
                str(name): numbers[rule]
                for name, (action, rule) in row.items()
                if action is not Shift
            }
            for row in states
        ),
    )
