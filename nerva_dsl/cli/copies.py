"""A model's file and all that it reads, as they are kept in a run directory.

What stands elsewhere may move or change. So the copies name each other: where a string names a
file, it names the copy.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nerva_dsl.check import Checked
from nerva_dsl.grammar.parser import string_spans
from nerva_dsl.source import Source

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Copies:
    """What a run directory keeps of a model.

    Attributes:
        model: the text of its file.
        files: the others, by their paths from there.
        overrides: of its params, where they name files, of the copies.
    """

    model: bytes
    files: Mapping[str, bytes]
    overrides: Mapping[str, str]


def copies(checked: Checked, overrides: Mapping[str, str]) -> Copies:
    """The copies of a model's files.

    Args:
        checked: the model.
        overrides: of its params, as text.

    Raises:
        OSError: a pattern cannot be read any more.
    """
    main = checked.model.source
    names = _names("imports", [(source, Path(source.name)) for source in checked.model.imports])
    patterns = _names("patterns", list(checked.patterns.items()))
    strings = {f'"{text}"': f'"{copy}"' for text, copy in patterns.items()}
    folder = {source: name.rpartition("/")[2] for source, name in names.items()}
    imports = {
        use.path.span: names[use.source] if use.path.span.source is main else folder[use.source]
        for use in checked.imports
    }

    def text(source: Source) -> bytes:
        """A file with other names in its strings."""
        parts, done = [], 0
        for span in string_spans(source):
            new = f'"{imports[span]}"' if span in imports else strings.get(span.text, span.text)
            parts += [source.text[done : span.start], new]
            done = span.end
        return "".join([*parts, source.text[done:]]).encode()

    files = {name: text(source) for source, name in names.items()}
    files |= {copy: checked.patterns[name].read_bytes() for name, copy in patterns.items()}
    plain = {text.strip('"'): copy.strip('"') for text, copy in strings.items()}
    renamed = {
        name: plain.get(value.strip().removeprefix('"').removesuffix('"'), value)
        for name, value in overrides.items()
    }
    return Copies(text(main), files, renamed)


def _names(folder: str, files: Sequence[tuple[Key, Path]]) -> dict[Key, str]:
    """A different name in a folder for every file: its own, with a number if that is taken."""
    result: dict[Key, str] = {}
    taken: set[str] = set()
    for key, path in files:
        name, number = path.name, 1
        while name.lower() in taken:
            number += 1
            name = f"{path.stem}_{number}{path.suffix}"
        taken.add(name.lower())
        result[key] = f"{folder}/{name}"
    return result
