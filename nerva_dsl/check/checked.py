"""What a check gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from nerva_dsl.check.imports import Imported
from nerva_dsl.collection import paused_collection
from nerva_dsl.errors import Diagnostic
from nerva_dsl.model import CheckedModel


class Checked:
    """A model without errors.

    Attributes:
        warnings: about it.
        imports: every `import` in its file, and in those that it imports.
        patterns: the files of its patterns, by the strings that name them.
    """

    def __init__(
        self,
        complete: Callable[[], CheckedModel],
        warnings: tuple[Diagnostic, ...],
        imports: tuple[Imported, ...],
        patterns: Mapping[str, Path],
    ) -> None:
        self._complete = complete
        self.warnings = warnings
        self.imports = imports
        self.patterns = patterns

    @cached_property
    def model(self) -> CheckedModel:
        """The model; made when it is asked for, since to say that a file is right takes none."""
        with paused_collection():
            return self._complete()
