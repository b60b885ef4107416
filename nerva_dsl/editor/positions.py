"""Places in an editor: a line from 0, and in it units of an encoding, UTF-16 unless agreed else.

Language Server Protocol 3.17, "Position".
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from nerva_dsl.record import Record
from nerva_dsl.source import Source


class Place(NamedTuple):
    """A line from 0, and how many units come before the place in it."""

    line: int
    character: int


class Positions(Record):
    """Translates between places and the offsets of a source.

    Attributes:
        source: see there.
        encoding: `utf-8`, `utf-16` or `utf-32`.
    """

    source: Source
    encoding: str = "utf-16"

    def place(self, offset: int) -> Place:
        """The place of an offset."""
        line, column = self.source.position(offset)
        before = self.source.line(line)[: column - 1]
        return Place(line - 1, sum(map(self._units, before)))

    def offset(self, place: Place) -> int:
        """The offset of a place; behind the end of a line, that end."""
        lines = self.source.text.split("\n")
        if place.line >= len(lines):
            return len(self.source.text)
        start = sum(len(line) + 1 for line in lines[: place.line])
        ends, units = [0], 0
        for character in lines[place.line]:
            units += self._units(character)
            ends.append(units)
        return start + bisect_right(ends, place.character) - 1

    def _units(self, character: str) -> int:
        match self.encoding:
            case "utf-8":
                return len(character.encode("utf-8", "surrogatepass"))
            case "utf-16":
                return 2 if character > "\uffff" else 1
        return 1
