"""Patterns that a model's file gives, kept beside the compiled module as `NAME.patterns.npz`.

    NAME:row_start        where each row of parameter NAME starts
    NAME:column           columns, ascending in each row

The same arrays and types as in a checkpoint.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nerva_dsl.runtime.archives import DamagedError, reading_arrays

Pattern = tuple[Any, Any]
"""Row starts and columns."""


def file_name(model: str) -> str:
    """The file of a model."""
    return f"{model}.patterns.npz"


def to_bytes(patterns: Mapping[str, Pattern]) -> bytes:
    """The content of the file: the same patterns always give the same bytes."""
    import numpy as np  # noqa: PLC0415 -- building from the cache does without

    arrays = {
        f"{name}:{part}": array
        for name, pattern in patterns.items()
        for part, array in zip(("row_start", "column"), pattern, strict=True)
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def load_patterns(module_file: str, name: str) -> dict[str, Pattern]:
    """The patterns beside a module.

    Args:
        module_file: `__file__` of the module.
        name: of the model.

    Raises:
        ImportError: the file is missing or damaged.
    """
    import numpy as np  # noqa: PLC0415 -- see above

    path = Path(module_file).parent / file_name(name)
    try:
        with path.open("rb") as file, reading_arrays(), np.load(file, allow_pickle=False) as saved:
            names = [key.removesuffix(":column") for key in saved.files if key.endswith(":column")]
            return {key: (saved[f"{key}:row_start"], saved[f"{key}:column"]) for key in names}
    except (DamagedError, OSError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged: {error}"
        raise ImportError(f"{path} {reason}; compile the model again", name=name) from error
