"""Names that nothing has yet."""

from __future__ import annotations

from collections.abc import Container


def fresh_name(base: str, taken: Container[str], separator: str = ".") -> str:
    """A name that is not taken: `base`, or `base.2`, `base.3`, … with another separator."""
    name, number = base, 2
    while name in taken:
        name, number = f"{base}{separator}{number}", number + 1
    return name
