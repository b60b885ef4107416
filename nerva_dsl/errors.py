"""What can go wrong: diagnostics about a `.nerva` file, and faults of the toolchain or machine."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nerva_dsl.source import Span

CODES: Mapping[str, str] = {
    # Files and syntax.
    "N0101": "a statement is not written as the language asks",
    "N0102": "a character or a name that the language does not have",
    "N0103": "a number that is not written as one",
    "N0104": "a string without its closing quote",
    "N0105": "a bracket or brace that is never closed",
    "N0106": "a word of the language as a name",
    "N0107": "expressions nested too deeply",
    "N0110": "the file cannot be read",
    "N0111": "the file is not UTF-8",
    "N0112": "the file is empty",
    "N0113": "a file that imports itself",
    # Names, types and shapes.
    "N0201": "an unknown name",
    "N0202": "a name defined twice",
    "N0203": "widths that differ",
    "N0204": "something of the wrong type",
    "N0205": "too many or missing arguments",
    "N0206": "an unknown option",
    "N0207": "an argument given twice",
    "N0208": "a size out of range",
    "N0209": "a density outside (0, 1]",
    "N0210": "a layer without a non-zero",
    "N0211": "a part that every model needs is missing",
    "N0212": "a part that a model has once is given twice",
    "N0213": "the target outside loss and metrics",
    "N0214": "nothing to learn",
    "N0215": "constants of `normalize` that do not fit",
    "N0216": "a model name that cannot be a Python module",
    "N0217": "a loss, or what should be one, in the wrong place",
    "N0218": "a metric that does not fit the model",
    "N0219": "a rate, momentum or epsilon out of range",
    "N0220": "a file that gives no pattern, or one that does not fit",
    "N0250": "a value that is not used",
    "N0251": "a stated derivative that is not that of the function",
    "N0252": "a definition, `param` or `let` that is not used",
    "N0253": "neurons that no input can reach",
    "N0254": "a softmax of a softmax",
    "N0255": "labels for a loss of real numbers",
    "N0256": "a milestone that the training does not reach",
    # Constants.
    "N0301": "a constant out of range",
    "N0302": "division by zero",
    "N0303": "a result that is not a real number",
    "N0304": "a constant operation on the wrong types",
    "N0305": "something that is not a constant where one is needed",
    "N0310": "-D of a name that is no `param`",
    "N0311": "-D of the wrong type",
    # Definitions.
    "N0401": "something that this kind of definition cannot use",
    "N0402": "a `param` in a definition",
    "N0403": "the wrong inputs of a definition",
    "N0404": "an optimizer that never changes the weight",
    "N0405": "an assignment to what cannot be assigned",
    "N0406": "a truth value as a number, or the reverse",
    "N0407": "a loss that is not one number a sample",
    "N0408": "an expression too large once functions are expanded",
    "N0409": "`count` or a list where it cannot be",
    "N0410": "the use of a function that learns where nothing is learned",
    "N0411": "a layer that does not end with its only `return`",
    "N0412": "layers that expand to too much",
    # Settings.
    "N0501": "an unknown setting",
    "N0502": "a setting out of range or of the wrong type",
    "N0503": "a setting that does not go with the model",
    "N0504": "a setting that is missing",
}
"""Every code, with what it is about. A code never changes its meaning."""


class NervaError(Exception):
    """Base of every error that a user can cause; its text is for the user.

    Attributes:
        exit_status: of the command line: 1, the input is wrong; 2, the command line is; 3, the
            toolchain or machine fails.
    """

    exit_status = 1


class ToolchainError(NervaError):
    """No compiler, a compiler that fails, no space for the cache."""

    exit_status = 3


@dataclass(frozen=True)
class Note:
    """A second place that a diagnostic points at."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One message about a file.

    Attributes:
        code: stable, such as `N0203`.
        message: one line, without the place.
        span: the place; None if there is none (a missing file, an empty one).
        label: what is shown beside the carets; may be empty.
        notes: second places.
        help: what to do about it; may be empty.
        severity: errors stop the compiler, warnings do not.
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    notes: tuple[Note, ...] = ()
    help: str = ""
    severity: Literal["error", "warning"] = "error"

    def render(self) -> str:
        """The message with its place, source lines, carets and help.

        Second places in the same file are shown in one snippet, in the order of their lines; those
        in another file follow in snippets of their own.
        """
        lines = [f"{self.severity}[{self.code}]: {self.message}"]
        marks = [] if self.span is None else [_Mark(self.span, "^", self.label)]
        marks += [_Mark(note.span, "-", note.text) for note in self.notes]
        gutter = max((len(str(mark.span.line)) for mark in marks), default=0)
        sources = list(dict.fromkeys(mark.span.source for mark in marks))
        for source in sources:
            lines += _snippet([mark for mark in marks if mark.span.source is source], gutter)
        if self.help:
            lines.append(
                f"{' ' * (gutter + 1)}= help: {self.help}" if marks else f"  = help: {self.help}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Mark:
    """A range to be underlined."""

    span: Span
    stroke: str
    text: str


def _snippet(marks: list[_Mark], gutter: int) -> list[str]:
    """Source lines with the marks below them; the first mark's place is the one named."""
    place = marks[0].span
    margin = " " * (gutter + 1) + "|"
    lines = [
        f"{' ' * gutter}--> {place.source.name}:{place.line}:{place.column}",
        margin,
    ]
    rows: dict[int, list[_Mark]] = {}
    for mark in sorted(marks, key=lambda mark: mark.span.line):
        rows.setdefault(mark.span.line, []).append(mark)
    for number, row in rows.items():
        text = place.source.line(number)
        columns = [mark.span.column - 1 for mark in row]
        first, last = _window(text, columns)
        lines.append(f"{number:{gutter}} | {_clipped(text, first, last)}".rstrip())
        for mark, column in zip(row, columns, strict=True):
            start = min(max(column, first), last)
            end = min(max(column + mark.span.end - mark.span.start, start), last)
            indent = _cells(_clipped(text, first, start, last))
            width = _cells(_clipped(text, first, end, last)) - indent
            stroke = " " * indent + mark.stroke * max(width, 1)
            lines.append(f"{margin} {stroke} {mark.text}".rstrip())
    return lines


def _window(text: str, columns: list[int]) -> tuple[int, int]:
    """The part of a line that is shown: all of it, unless it is far too long."""
    if len(text) <= _WIDEST:
        return 0, len(text)
    first = max(min(columns) - _WIDEST // 3, 0)
    return first, min(first + _WIDEST, len(text))


def _clipped(text: str, first: int, last: int, limit: int | None = None) -> str:
    """A line from `first` to `last` as it is shown, with an ellipsis where text is left out.

    With a `limit`, the part is the beginning of what is shown up to there.
    """
    before = "…" if first else ""
    after = "…" if limit is None and last < len(text) else ""
    return before + _printable(text[first:last]) + after


def _printable(text: str) -> str:
    """A line as it is shown: tabs expanded, other control characters replaced."""
    text = text.expandtabs(_TAB)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


_TAB = 4
_WIDEST = 160


class DiagnosticError(NervaError):
    """The errors of a file; all that were found."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(diagnostic.render() for diagnostic in self.diagnostics))
