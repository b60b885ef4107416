"""Source files and places in them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from nerva_dsl.record import Record


@dataclass(frozen=True, eq=False)
class Source:
    r"""A source file's text.

    Attributes:
        name: as it is shown in messages: a path as the user gave it, or `prelude.nerva`.
        text: with newlines for line ends.
    """

    name: str
    text: str = field(repr=False)
    _starts: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lengths = (len(line) + 1 for line in self.text.split("\n"))
        object.__setattr__(self, "_starts", list(accumulate(lengths, initial=0)))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of an offset into the text."""
        line = bisect_right(self._starts, offset, 0, len(self._starts) - 1)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, without its end; lines count from 1."""
        return self.text[self._starts[number - 1] : self._starts[number] - 1]


class Span(Record):
    """A range of a source's text, from offset `start` up to `end`."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        """What stands there."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The range from the start of this one to the end of another."""
        return Span(self.source, self.start, other.end)
