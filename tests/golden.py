"""Expected texts in files: compared as they are, rewritten with --refresh."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "golden"


def compare(folder: str, texts: Mapping[str, str], *, refresh: bool) -> None:
    """Check that a folder holds exactly these texts, by file name."""
    place = FOLDER / folder
    if refresh:
        place.mkdir(parents=True, exist_ok=True)
        for path in place.iterdir():
            if path.name not in texts:
                path.unlink()
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8")
    found = {path.name for path in place.iterdir()} if place.is_dir() else set()
    assert found == set(texts), f"{place} holds other files than expected; try --refresh"
    for name, text in texts.items():
        expected = (place / name).read_text(encoding="utf-8")
        if text != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), text.splitlines(), "expected", "now", lineterm="", n=2
            )
            shown = "\n".join(list(lines)[:60])
            pytest.fail(f"{place / name} differs; read the difference, then --refresh:\n{shown}")
