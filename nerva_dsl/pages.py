"""The page of every message's code: what it means, with a wrong and a right example.

The pages are Markdown, `explanations/CODE.md`. Blocks marked `nerva wrong` and `nerva right` are
the examples, each followed by the files that it imports, `nerva NAME`. They show the lines that
matter; `whole` marks those that are a whole file.
"""

from __future__ import annotations

from pathlib import Path

from nerva_dsl.errors import CODES

_FOLDER = Path(__file__).with_name("explanations")


def known_code(text: str) -> str:
    """The code that is meant: `N0203`, also written `n0203`, `203` or `0203`; empty if none is."""
    digits = text.strip().upper().removeprefix("N")
    code = f"N{digits:0>4}"
    return code if code in CODES else ""


def page(code: str) -> str:
    """The Markdown of a code's page.

    Args:
        code: one of `CODES`.
    """
    return (_FOLDER / f"{code}.md").read_text(encoding="utf-8")
