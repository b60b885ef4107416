"""Collecting what is wrong with a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nerva_dsl.check.terms import UNKNOWN, Unknown
from nerva_dsl.errors import Diagnostic, Note
from nerva_dsl.source import Span


class Report:
    """The diagnostics of one file, in the order in which they are found."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def error(
        self,
        code: str,
        message: str,
        span: Span | None,
        *,
        label: str = "",
        notes: Iterable[Note] = (),
        help: str = "",
    ) -> Unknown:
        """Add an error; the result is `UNKNOWN`, so that callers can return it at once."""
        self.diagnostics.append(Diagnostic(code, message, span, label, tuple(notes), help))
        return UNKNOWN

    def warning(self, code: str, message: str, span: Span, *, help: str = "") -> None:
        """Add a warning."""
        self.diagnostics.append(Diagnostic(code, message, span, help=help, severity="warning"))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors, by place: those without one first."""
        return tuple(sorted((d for d in self.diagnostics if d.severity == "error"), key=_place))

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings, by place."""
        return tuple(sorted((d for d in self.diagnostics if d.severity == "warning"), key=_place))


def _place(diagnostic: Diagnostic) -> int:
    return -1 if diagnostic.span is None else diagnostic.span.start


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another, or nothing if none is."""
    folded = {other.lower(): other for other in known}
    prefixes = [other for other in folded if len(other) > 2 and name.lower().startswith(other)]
    if prefixes:
        return folded[max(prefixes, key=len)]
    matches = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else ""


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A help line with the closest known name; or, if there is none, another text."""
    match = closest(name, known)
    return f"did you mean `{match}`?" if match else otherwise


def listing(names: Iterable[str]) -> str:
    """Names for a message: `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return ", ".join(quoted[:-1]) + " and " + quoted[-1]
