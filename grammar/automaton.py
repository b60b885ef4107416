"""Parsing with the tables of the grammar.

What is done with a piece depends on the kinds of its tokens only, and most lines of a file are like
others: relu of a linear, a constant. So the parser first finds the reductions for a sequence of
kinds, which it keeps, and then executes them on the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from nerva_dsl.grammar.layout import Lexeme
from nerva_dsl.grammar.tables import END, Rule, Tables

_KEPT = 4096
"""Sequences of kinds of which the reductions are kept: lines differ in fewer ways."""

_Reduction = tuple[int, int, Callable[[list[Any]], Any]]
"""How many of the tokens come before it, how many parts it takes, and what builds its node."""


class UnexpectedError(Exception):
    """A token that cannot stand where it stands; if it is None, the end that comes too early."""

    def __init__(self, token: Lexeme | None) -> None:
        super().__init__(token)
        self.token = token


class _WrongError(Exception):
    """The place of the first token that is wrong."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class Automaton:
    """A parser from one start rule.

    Args:
        tables: of the grammar.
        start: the rule.
        builder: has a method for each node of the grammar, which makes it of its parts.
    """

    def __init__(self, tables: Tables, start: str, builder: object) -> None:
        self._tables = tables
        self._start, self._end = tables.starts[start]
        self._builds = [_build(rule, builder) for rule in tables.rules]
        self._kept = lru_cache(_KEPT)(self._reductions)

    def parse(self, tokens: Sequence[Lexeme]) -> Any:
        """The node of some tokens.

        Raises:
            UnexpectedError: at the first token with which they are wrong.
        """
        try:
            reductions = self._kept(tuple([token.type for token in tokens]))
        except _WrongError as error:
            wrong = tokens[error.place] if error.place < len(tokens) else None
            raise UnexpectedError(wrong) from None
        values: list[Any] = []
        taken = 0
        for place, size, build in reductions:
            if place > taken:
                values += tokens[taken:place]
                taken = place
            values[-size:] = [build(values[-size:])]
        return values[-1]

    def allowed(self, kinds: Iterable[str]) -> frozenset[str]:
        """The terminals that can follow some others, `END` included; none if those are wrong."""
        states = [self._start]
        for kind in kinds:
            if self._advance(states, kind) is None:
                return frozenset()
        row = {*self._tables.shifts[states[-1]], *self._tables.reductions[states[-1]]}
        terminals = [kind for kind in row if kind.isupper()]
        return frozenset(k for k in terminals if self._advance([*states], k) is not None)

    def _reductions(self, kinds: tuple[str, ...]) -> tuple[_Reduction, ...]:
        """All reductions that build something, in order.

        Raises:
            _WrongError: the tokens are no piece.
        """
        states = [self._start]
        found: list[_Reduction] = []
        for place, kind in enumerate((*kinds, END)):
            rules = self._advance(states, kind)
            if rules is None:
                raise _WrongError(place)
            found += [
                (place, self._tables.rules[number].size, self._builds[number])
                for number in rules
                if not self._tables.rules[number].passes
            ]
        return tuple(found)

    def _advance(self, states: list[int], kind: str) -> list[int] | None:
        """Take one more terminal.

        Args:
            states: what was taken before; changes.
            kind: the terminal.

        Returns:
            The alternatives that were completed before it; None if it cannot stand there.
        """
        shifts, reductions, rules = self._tables.shifts, self._tables.reductions, self._tables.rules
        completed: list[int] = []
        while (following := shifts[states[-1]].get(kind)) is None:
            if kind == END and states[-1] == self._end:
                return completed
            number = reductions[states[-1]].get(kind)
            if number is None:
                return None
            completed.append(number)
            rule = rules[number]
            del states[-rule.size :]
            states.append(shifts[states[-1]][rule.origin])
        states.append(following)
        return completed


def _build(rule: Rule, builder: object) -> Callable[[list[Any]], Any]:
    """What makes the node of an alternative, or the list of its parts."""
    if rule.inlined:
        return (lambda parts: _spread(parts, rule.spread)) if rule.spread else list
    if rule.passes:
        return lambda parts: parts[0]
    build: Callable[[list[Any]], Any] = getattr(builder, rule.builds)
    if not rule.spread:
        return build
    return lambda parts: build(_spread(parts, rule.spread))


def _spread(parts: list[Any], places: tuple[int, ...]) -> list[Any]:
    """Parts with the parts of some of them in their places."""
    result: list[Any] = []
    for place, part in enumerate(parts):
        if place in places:
            result += part
        else:
            result.append(part)
    return result
