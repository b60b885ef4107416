"""Collecting what is wrong with a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nerva_dsl.check.synonyms import synonym
from nerva_dsl.check.terms import UNKNOWN, Unknown
from nerva_dsl.errors import Diagnostic, Note
from nerva_dsl.record import replace
from nerva_dsl.source import Source, Span

_MOST_NOTES = 5


class Report:
    """Diagnostics, in the order in which they are found."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.error_count = 0
        self._files: dict[Source, int] = {}
        self._adopted: set[tuple[str, str, Span | None]] = set()

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
        self.add(Diagnostic(code, message, span, label, tuple(notes), help))
        return UNKNOWN

    def add(self, diagnostic: Diagnostic) -> None:
        """Add what has been found elsewhere."""
        self.diagnostics.append(diagnostic)
        if diagnostic.span is not None:
            self.file(diagnostic.span.source)
        self.error_count += diagnostic.severity == "error"

    def file(self, source: Source) -> None:
        """Put a file behind those that are known: diagnostics come in the order of files."""
        self._files.setdefault(source, len(self._files))

    def adopt(self, diagnostics: Iterable[Diagnostic], note: Note) -> None:
        """Add diagnostics with one more note; what was said of a place in the same words is not.

        Of many notes the first ones and the last one are kept.
        """
        for diagnostic in diagnostics:
            said = (diagnostic.code, diagnostic.message, diagnostic.span)
            if said not in self._adopted:
                self._adopted.add(said)
                self.add(replace(diagnostic, notes=(*diagnostic.notes[:_MOST_NOTES], note)))

    def warning(
        self, code: str, message: str, span: Span, *, notes: Iterable[Note] = (), help: str = ""
    ) -> None:
        """Add a warning."""
        self.add(Diagnostic(code, message, span, "", tuple(notes), help, severity="warning"))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors, by file and place: those without one first."""
        return self._sorted("error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings, by file and place."""
        return self._sorted("warning")

    def _sorted(self, severity: str) -> tuple[Diagnostic, ...]:
        found = (d for d in self.diagnostics if d.severity == severity)
        return tuple(sorted(found, key=self._place))

    def _place(self, diagnostic: Diagnostic) -> tuple[int, int]:
        span = diagnostic.span
        return (-1, 0) if span is None else (self._files[span.source], span.start)


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another or means the same, or nothing if none does."""
    folded = {other.lower(): other for other in known}
    same = folded.get(name.lower()) or synonym(name, folded.values())
    if same:
        return same
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
