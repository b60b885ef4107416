"""What `evaluate` measured, for people and for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A measured value as JSON has it: a number, or lists of rows."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def confusion_table(counts: Any) -> str:
    """A confusion matrix as text: a row for each label, a column for each class taken for it."""
    width = max(len(str(counts.max(initial=0))), len(str(len(counts) - 1))) + 1
    margin = len(str(len(counts) - 1)) + 2
    header = " " * margin + "".join(f"{column:{width}}" for column in range(len(counts)))
    rows = (
        f"  {label:{margin - 2}}" + "".join(f"{count:{width}}" for count in row)
        for label, row in enumerate(counts.tolist())
    )
    return "\n".join([header, *rows])
