"""Numbers for people."""

from __future__ import annotations


def models(count: int) -> str:
    """A number of models."""
    return "1 model" if count == 1 else f"{count:,} models"


def size(count: int) -> str:
    """A number of bytes."""
    if count < 1000:
        return "1 byte" if count == 1 else f"{count} bytes"
    amount = count / 1000
    for unit in ("kB", "MB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
