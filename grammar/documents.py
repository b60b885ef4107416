"""Documents: texts that say where they may be broken, and their printer.

A group is printed on one line if it fits there, and otherwise with a break at each of its own
`Line`s; groups in it decide for themselves. Wadler, "A prettier printer", 2003; here as a loop over
a stack, so that documents may be nested to any depth.

A comment is printed at the end of the line on which it is met, or on a line of its own below that,
and every group around it is broken, so that such an end comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nerva_dsl.record import Record

INDENTATION = 4


class Line(Record):
    """Where a group may be broken.

    Attributes:
        flat: what is printed there if it is not.
    """

    flat: str = " "


class Comment(Record):
    """A comment of the source.

    Attributes:
        text: from its `#` on.
        trailing: whether it is to end a line with code, and not to have a line of its own.
    """

    text: str
    trailing: bool


class Concat(Record):
    """Documents one after the other.

    Attributes:
        broken: whether a comment is in it, or a group that is broken whatever its width.
    """

    parts: tuple[Document, ...]
    broken: bool


class Group(Concat):
    """Documents that are broken together or not at all."""


class Indent(Concat):
    """Documents whose lines, but for the one on which they begin, are indented once more."""


Document = str | Line | Comment | Concat


@dataclass(slots=True)
class Printed:
    """A line of the result.

    Attributes:
        code: with its indentation; empty for a comment of its own line.
        comment: after the code, or by itself.
        indentation: in columns.
    """

    code: str
    comment: str = ""
    indentation: int = 0


def concat(*parts: Document) -> Concat:
    """Documents one after the other."""
    return Concat(parts, _broken(parts))


def group(*parts: Document, broken: bool = False) -> Group:
    """Documents that are broken together: if they do not fit, or if `broken` says so."""
    return Group(parts, broken or _broken(parts))


def indent(*parts: Document) -> Indent:
    """Documents whose further lines are indented."""
    return Indent(parts, _broken(parts))


def _broken(parts: Iterable[Document]) -> bool:
    return any(
        isinstance(part, Comment) or (isinstance(part, Concat) and part.broken) for part in parts
    )


@dataclass(slots=True)
class _Todo:
    """A document that is still to be printed, and how."""

    document: Document
    indentation: int
    flat: bool


@dataclass(slots=True)
class _Printer:
    width: int
    lines: list[Printed]
    waiting: list[tuple[Comment, int]] = field(default_factory=list)
    """Comments that the next end of a line takes, and the indentation where they stand."""

    def run(self, document: Document, indentation: int) -> None:
        stack = [_Todo(document, indentation, flat=False)]
        line = self.lines[-1]
        while stack:
            todo = stack.pop()
            match todo.document:
                case str(text):
                    line.code += text
                case Comment() as comment:
                    self.waiting.append((comment, todo.indentation))
                case Line(flat=text):
                    if todo.flat:
                        line.code += text
                    else:
                        line = self._break(todo.indentation)
                case Group(parts=parts, broken=broken):
                    flat = todo.flat or (not broken and self._fits(parts, stack))
                    _push(stack, parts, todo.indentation, flat=flat)
                case Indent(parts=parts):
                    _push(stack, parts, todo.indentation + INDENTATION, flat=todo.flat)
                case Concat(parts=parts):
                    _push(stack, parts, todo.indentation, flat=todo.flat)

    def _break(self, indentation: int) -> Printed:
        """End the line, and begin one."""
        line = self.lines[-1]
        line.code = line.code.rstrip()
        for comment, where in self.waiting:
            if comment.trailing and not self.lines[-1].comment and self.lines[-1] is line:
                line.comment = comment.text
            else:
                own = max(where, indentation)
                self.lines.append(Printed("", comment.text, own))
        self.waiting.clear()
        self.lines.append(Printed(" " * indentation, "", indentation))
        return self.lines[-1]

    def _fits(self, parts: tuple[Document, ...], rest: list[_Todo]) -> bool:
        """Whether the line holds some documents in their flat form, and what follows them."""
        left = self.width - len(self.lines[-1].code)
        stack = [_Todo(part, 0, flat=True) for part in reversed(parts)]
        after = len(rest)
        while left >= 0:
            if not stack:
                if not after:
                    return True
                after -= 1
                stack.append(rest[after])
                continue
            todo = stack.pop()
            match todo.document:
                case str(text):
                    left -= len(text)
                case Line(flat=text):
                    if not todo.flat:
                        return True
                    left -= len(text)
                case Concat(parts=inner, broken=broken):
                    # What follows is broken where that is possible.
                    flat = todo.flat and not broken
                    stack.extend(_Todo(part, 0, flat) for part in reversed(inner))
        return False


def _push(stack: list[_Todo], parts: tuple[Document, ...], indentation: int, *, flat: bool) -> None:
    stack.extend(_Todo(part, indentation, flat) for part in reversed(parts))


def lay_out(document: Document, *, width: int, indentation: int, prefix: str = "") -> list[Printed]:
    """Print a document.

    Args:
        document: what is to be printed.
        width: the columns of a line; what cannot be broken may be longer. Comments do not count.
        indentation: of all lines, in columns.
        prefix: what stands before the document on its first line.
    """
    lines = [Printed(" " * indentation + prefix, "", indentation)]
    printer = _Printer(width, lines)
    printer.run(document, indentation)
    assert not printer.waiting, "a comment stands where no line can end"
    lines[-1].code = lines[-1].code.rstrip()
    return lines
