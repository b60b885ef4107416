"""Lark's LALR parser as a loop over its tables.

The states and what is done in them are Lark's. Its own loop spends most of its time on reductions
that build nothing: an operand goes through the rules of all operators, from the tightest to the
loosest, before the one that takes it. Here each such run is looked up at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParseConf

from nerva_dsl.grammar.layout import Lexeme

_Reduction = tuple[Callable[[list[Any]], Any], int, str]
"""What builds a rule's node, how many parts it has, and what the rule is of."""


class UnexpectedError(Exception):
    """A token that cannot stand where it stands; if it is None, the end that comes too early."""

    def __init__(self, token: Lexeme | None) -> None:
        super().__init__(token)
        self.token = token


class Automaton:
    """A parser from one start rule.

    Args:
        tables: Lark's, for that rule.
    """

    def __init__(self, tables: ParseConf[int]) -> None:
        self._start, self._end = tables.start_state, tables.end_state
        self._shifts: dict[int, dict[str, int]] = {state: {} for state in tables.states}
        self._reductions: dict[int, dict[str, _Reduction]] = {state: {} for state in tables.states}
        self._passes: dict[int, dict[str, str]] = {state: {} for state in tables.states}
        self._runs: dict[tuple[int, int, str], int] = {}
        for state, row in tables.states.items():
            for symbol, (action, argument) in row.items():
                if action is Shift:
                    self._shifts[state][symbol] = argument
                    continue
                origin, size = argument.origin.name, len(argument.expansion)
                if size == 1 and argument.options.expand1 and argument.alias is None:
                    self._passes[state][symbol] = origin
                else:
                    build = tables.callbacks[argument]
                    self._reductions[state][symbol] = build, size, origin

    def parse(self, tokens: Iterable[Lexeme]) -> Any:
        """The node of some tokens.

        Raises:
            UnexpectedError: at the first token with which they are wrong.
        """
        shifts, reductions, passes, runs = (
            self._shifts, self._reductions, self._passes, self._runs,
        )  # fmt: skip
        state = self._start
        states = [state]
        values: list[Any] = []
        for token in (*tokens, None):
            kind = "$END" if token is None else token.type
            while (following := shifts[state].get(kind)) is None:
                if token is None and state == self._end:
                    return values[-1]
                if kind in passes[state]:
                    place = states[-2], state, kind
                    if place not in runs:
                        runs[place] = self._run(*place)
                    state = states[-1] = runs[place]
                    continue
                reduction = reductions[state].get(kind)
                if reduction is None:
                    raise UnexpectedError(token)
                build, size, origin = reduction
                values[-size:] = [build(values[-size:])]
                del states[-size:]
                state = shifts[states[-1]][origin]
                states.append(state)
            state = following
            states.append(state)
            values.append(token)
        raise AssertionError("the end is never shifted")

    def _run(self, below: int, state: int, kind: str) -> int:
        """The state after all reductions before a token which build nothing.

        Args:
            below: the state before the part that they pass on.
            state: the one after it.
            kind: of the token.
        """
        while state != self._end and (origin := self._passes[state].get(kind)) is not None:
            state = self._shifts[below][origin]
        return state
