"""The one Jinja environment of the templates."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket

from nerva_dsl.runtime.tables import tables_directory


class _CompiledTemplates(FileSystemBytecodeCache):
    """Compiled templates on disk; a disk that fails costs time, not the compile."""

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().dump_bytecode(bucket)


@cache
def environment() -> Environment:
    """The environment; compiled templates are kept in the cache directory, if there is one."""
    compiled = tables_directory()
    return Environment(
        bytecode_cache=None if compiled is None else _CompiledTemplates(str(compiled)),
        loader=PackageLoader("nerva_dsl.codegen", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML
    )
