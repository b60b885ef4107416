"""`-D name=value`."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl.faults import NervaError


def parse_overrides(texts: Sequence[str] | None) -> dict[str, str]:
    """Names and values of the `-D` options, the values still text: the file knows their types.

    Raises:
        NervaError: one has no `=`, no name or no value, or a name is given twice.
    """
    overrides: dict[str, str] = {}
    for text in texts or ():
        name, _, value = (part.strip() for part in text.partition("="))
        if not name.isidentifier() or not value:
            raise NervaError(f"`-D {text}` is not of the form NAME=VALUE, as in `-D density=0.05`")
        if name in overrides:
            raise NervaError(f"`-D {name}=…` is given twice: {overrides[name]} and {value}")
        overrides[name] = value
    return overrides
