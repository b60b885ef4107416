"""`nervac compile`. Imports nothing heavy: a cached compile should be instant."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from nerva_dsl import driver
from nerva_dsl.cli.check import print_warnings
from nerva_dsl.cli.failures import UsageError
from nerva_dsl.runtime.replacing import replacing

EMITTED = ("ir", "c", "module")


def parse_emit(text: str) -> frozenset[str]:
    """What `--emit` lists.

    Raises:
        UsageError: it lists something else, or nothing.
    """
    kinds = frozenset(part.strip() for part in text.split(","))
    unknown = sorted(kinds.difference(EMITTED))
    if unknown:
        raise UsageError(f"--emit {text}: `{unknown[0]}` is none of {', '.join(EMITTED)}")
    return kinds


def compile_to(
    file: Path,
    folder: Path,
    overrides: Mapping[str, object],
    emit: frozenset[str],
    *,
    backend: str,
    target: str,
) -> None:
    """Compile a file and write what it becomes into a folder, saying what was written.

    Only `module` needs a C compiler. Each file is replaced in one step: a process that imports
    the module at this moment sees the old one or the new one.
    """
    start = time.perf_counter()
    print_warnings(file, overrides)
    files: dict[str, Path | str] = {}
    if "ir" in emit:
        *_, (_, program) = driver.programs(file, overrides, backend=backend, target=target)
        files[f"{file.stem}.ir"] = driver.program_text(program)
    if "module" in emit:
        entry = driver.compile_model(file, overrides, backend=backend, target=target)
        files |= {path.name: path for path in _module_files(entry) if _wanted(path, emit)}
    elif "c" in emit:
        generated = driver.emit_c(file, overrides, backend=backend, target=target)
        files[f"{generated.name}.c"] = generated.c_source

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            if isinstance(content, Path):
                shutil.copyfile(content, temporary)
            else:
                temporary.write_text(content, encoding="utf-8")
    print(f"wrote {', '.join(str(folder / name) for name in files)}")
    print(f"in {time.perf_counter() - start:.2f} s")


def _module_files(entry: Path) -> list[Path]:
    """The module, its C, extension and patterns in a cache entry; not logs or locks."""
    suffixes = (".py", ".c", ".npz", *EXTENSION_SUFFIXES)
    return sorted(path for path in entry.iterdir() if path.name.endswith(suffixes))


def _wanted(path: Path, emit: frozenset[str]) -> bool:
    return path.suffix != ".c" or "c" in emit
