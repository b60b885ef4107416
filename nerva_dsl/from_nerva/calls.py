"""What the values of `mlp`'s options are written in: lists, numbers, and names with arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nerva_dsl.check.report import listing, suggest
from nerva_dsl.errors import NervaError

T = TypeVar("T")

_NUMBER = re.compile(r"\+?(-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_CALL = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:\((.*)\))?\s*")


class MlpError(NervaError):
    """An option of `mlp` that is unknown, contradicts another, or is not written as it asks."""

    exit_status = 2


@dataclass(frozen=True)
class Call:
    """`Name` or `Name(argument, …)`.

    Attributes:
        option: that it was given for, such as `--layers`.
        name: as it is written.
        arguments: without blanks around them.
    """

    option: str
    name: str
    arguments: tuple[str, ...]

    def bind(self, parameters: Mapping[str, str | None], *, listed: str = "") -> dict[str, str]:
        """The value of each parameter: all are named, or none is.

        Args:
            parameters: their names in order, with their defaults; None if there is none.
            listed: the one that takes several values, which are joined by commas.

        Raises:
            MlpError: too many, unknown, doubled or missing arguments.
        """
        if any("=" in argument for argument in self.arguments):
            given = self._named(parameters, listed)
        else:
            given = self._in_order(tuple(parameters), listed)
        values = {name: given.get(name, default) for name, default in parameters.items()}
        missing = [name for name, value in values.items() if not value]
        if missing:
            wanted = ", ".join(parameters)
            raise MlpError(f"{self.option}: `{self.name}({wanted})` is given no `{missing[0]}`")
        return {name: value for name, value in values.items() if value is not None}

    def _named(self, parameters: Mapping[str, str | None], listed: str) -> dict[str, str]:
        given: dict[str, str] = {}
        name = ""
        for argument in self.arguments:
            key, equals, value = (part.strip() for part in argument.partition("="))
            if not equals:
                if not name or name != listed:
                    raise MlpError(
                        f"{self.option}: `{argument}` has no name, as the other arguments of "
                        f"`{self.name}` have"
                    )
                given[name] += f",{value or key}"
                continue
            name = _SYNONYMS.get(key, key)
            if name not in parameters:
                hint = suggest(name, parameters, f"it has {listing(parameters) or 'none'}")
                raise MlpError(f"{self.option}: `{self.name}` has no parameter `{key}`: {hint}")
            if name in given:
                raise MlpError(f"{self.option}: `{self.name}` is given `{name}` twice")
            given[name] = value
        return given

    def _in_order(self, names: Sequence[str], listed: str) -> dict[str, str]:
        arguments = list(self.arguments)
        if listed in names and len(arguments) > len(names):
            first = names.index(listed)
            last = first + 1 + len(arguments) - len(names)
            arguments[first:last] = [",".join(arguments[first:last])]
        if len(arguments) > len(names):
            takes = f"takes {listing(names)}" if names else "takes no arguments"
            raise MlpError(f"{self.option}: `{self.name}` {takes}, not {len(arguments)} arguments")
        return dict(zip(names, arguments, strict=False))


_SYNONYMS = {"mu": "momentum"}


def call(option: str, text: str) -> Call:
    """Read a name with its arguments, which `,` or `;` separates.

    Raises:
        MlpError: it is not of that form.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise MlpError(f"{option}: `{text}` is not of the form `Name` or `Name(argument, …)`")
    inner = match[2] or ""
    separators = ";" if ";" in inner else ","
    arguments = tuple(pieces(inner, separators)) if inner.strip() else ()
    return Call(option, match[1], arguments)


def items(option: str, text: str) -> list[str]:
    """The items of a list, which `;` or `,` separates; not those in brackets.

    Raises:
        MlpError: one of them is empty.
    """
    found = pieces(text, ";,")
    if "" in found:
        raise MlpError(f"{option}: the list `{text}` has an empty item")
    return found


def pieces(text: str, separators: str) -> list[str]:
    """Split a text where it is not in brackets."""
    found, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character in separators and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [piece.strip() for piece in found]


def spread(option: str, given: list[str], count: int, of: str) -> list[str]:
    """One item for each of `count` layers; a single one is for all.

    Raises:
        MlpError: there are not as many.
    """
    if len(given) == 1:
        return given * count
    if len(given) != count:
        raise MlpError(f"{option}: {len(given)} for {count} {of}; give one, or one for all")
    return given


def choose(option: str, kind: str, name: str, known: Mapping[str, T]) -> T:
    """What a name stands for, whatever its capitals, `-` and `_`.

    Raises:
        MlpError: `mlp` does not know the name.
    """
    folded = {fold(other): value for other, value in known.items()}
    if fold(name) not in folded:
        hint = suggest(name, known, f"it has {listing(known)}")
        raise MlpError(f"{option}: mlp has no {kind} `{name}`: {hint}")
    return folded[fold(name)]


def fold(name: str) -> str:
    """A name without what differed between versions of the tool."""
    return name.lower().replace("_", "").replace("-", "")


def number(option: str, text: str) -> str:
    """A number as the language writes it.

    Raises:
        MlpError: it is not one, or not a finite one.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or abs(float(match[1])) == float("inf"):
        raise MlpError(f"{option}: `{text}` is not a number")
    return match[1]


def natural(option: str, text: str) -> int:
    """A whole number from 0 on.

    Raises:
        MlpError: it is not one.
    """
    if not re.fullmatch(r"\d{1,19}", text.strip(), re.ASCII):
        raise MlpError(f"{option}: `{text}` is not a whole number")
    return int(text)
