"""`-D name=value`: other values for the `param`s."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping

from nerva_dsl import syntax
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.constants import MAX_INTEGER, show
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.terms import Constant, Unknown, describe
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.grammar.parser import parse_expression
from nerva_dsl.source import Source


class Overrides:
    """The values given for `param`s, and which of them were used."""

    def __init__(self, report: Report, given: Mapping[str, object]) -> None:
        self.report = report
        self.given = given
        self.used: set[str] = set()

    def apply(self, node: syntax.Constant, default: Constant | Unknown) -> Constant | Unknown:
        """The value of a `param`: the one given, if it fits, or the file's."""
        name = node.name.text
        if name not in self.given:
            return default
        self.used.add(name)
        if isinstance(default, Unknown):
            return default
        value = self._value(name, self.given[name], default)
        if isinstance(value, Unknown):
            return default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not type(default):
            self.report.error(
                "N0311",
                f"-D {name}: {show(value)} is {describe(value)}, not {describe(default)}",
                node.name.span,
                label=f"{show(default)} is {describe(default)}",
                help="a param keeps the type that the file gives it",
            )
            return default
        return value

    def check_all_used(self, params: Mapping[str, object], scope: Scope) -> None:
        """Report the names that are no `param` of the file."""
        for name in self.given:
            if name in self.used or name in params or name in scope.poisoned:
                continue
            otherwise = f"its params are {listing(params)}" if params else "it has no params"
            help_ = suggest(name, params, otherwise)
            symbol = scope.symbols.get(name)
            if symbol is not None and symbol.kind == "let":
                help_ = f"`{name}` is a `let`; a `param` can be overridden"
            self.report.error("N0310", f"-D {name}: the file has no such param", None, help=help_)

    def _value(self, name: str, given: object, default: Constant) -> Constant | Unknown:
        if isinstance(given, bool | float):
            value: Constant = given
            if not math.isfinite(given):
                return self.report.error(
                    "N0301", f"-D {name}: {given} is not a finite number", None
                )
            return value
        if isinstance(given, str):
            return self._text(name, given, default)
        try:
            integer = operator.index(given)  # type: ignore[arg-type]  # NumPy's integers too
        except TypeError:
            try:
                return self._value(name, float(given), default)  # type: ignore[arg-type]
            except (TypeError, ValueError, OverflowError):
                kind = type(given).__name__
                return self.report.error(
                    "N0311", f"-D {name}: a {kind} is not a constant of the language", None
                )
        if not -MAX_INTEGER - 1 <= integer <= MAX_INTEGER:
            return self.report.error(
                "N0301", f"-D {name}: the integer needs more than 64 bits", None
            )
        return integer

    def _text(self, name: str, text: str, default: Constant) -> Constant | Unknown:
        """A text as a constant of the language; the quotes of a string may be missing."""
        if isinstance(default, str) and not text.startswith('"'):
            return text
        source = Source(f"-D {name}", text.replace("\r", " ").replace("\n", " "))
        try:
            node = parse_expression(source)
        except DiagnosticError as error:
            for problem in error.diagnostics:
                self.report.error(
                    problem.code,
                    problem.message,
                    problem.span,
                    notes=problem.notes,
                    help=problem.help,
                )
            return Unknown.UNKNOWN
        return ConstantEvaluator(self.report, Scope()).constant(node)
