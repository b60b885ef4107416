"""Building many models at once: one compiler call each, one link and one shared object for all.

What is compiled is the C text that users get, with the flags that they get and perhaps more. Each
is included in a file that gives its entries names of their own, and a table of them; cffi reads the
tables, so there is no wrapper to compile. The models are the run time's own `Model`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

from nerva_dsl.codegen.generated import Generated
from nerva_dsl.runtime.build import extension_file
from nerva_dsl.runtime.cache import Cache, cache_root, digest
from nerva_dsl.runtime.commands import (
    Commands,
    build_commands,
    compiler_environment,
    run_together,
)
from nerva_dsl.runtime.mkl import find_mkl
from nerva_dsl.runtime.model import Model
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.runtime.toolchain import Compiler, compiler_version, find_compiler_command

ENTRY = re.compile(r"^([\w *]*?\**)(nerva_\w+)\(([^;]*)\);", re.MULTILINE)
SHARED = "together.so"


def build_together(
    models: Mapping[str, Generated], flags: Sequence[str] = ()
) -> dict[str, type[Model]]:
    """Compile models, or find them in the cache.

    Args:
        models: by a key that is an identifier and tells them apart.
        flags: of the compiler, besides those that users get.

    Returns:
        The `Model` class of each.
    """
    commands = {key: _commands(key, generated, flags) for key, generated in models.items()}
    files = {
        f"{key}{suffix}": text
        for key, generated in models.items()
        for suffix, text in (("_kernels.c", generated.c_source), (".c", _included(key, generated)))
    }
    target = resolve_target("native")
    key = digest(
        [
            *(("file", f"{name}\n{text}") for name, text in files.items()),
            *(("commands", part.text()) for part in commands.values()),
            ("compiler", compiler_version(find_compiler_command())),
            ("features", " ".join(target.features)),
        ]
    )
    cache = Cache(cache_root())
    with cache.locked(key):
        place = cache.lookup("together", key, [SHARED])
        if place is None:
            with cache.building("together", key) as directory:
                for name, text in files.items():
                    (directory / name).write_text(text, encoding="utf-8")
                _compile(directory, commands)
                place = cache.install(directory, "together", key, [SHARED])
    return _loaded(place / SHARED, models)


def _commands(key: str, generated: Generated, flags: Sequence[str]) -> Commands:
    command = find_compiler_command()
    compiler = Compiler(command, compiler_version(command))
    mkl = find_mkl() if generated.uses_mkl else None
    target = resolve_target("native")
    return build_commands(key, extension_file(key), compiler, target, mkl=mkl, extra_flags=flags)


def _included(key: str, generated: Generated) -> str:
    """The model's C with its entries renamed, and the table of them."""
    names = [name for _, name, _ in ENTRY.findall(generated.declarations)]
    return "\n".join(
        [
            *(f"#define {name} {key}_{name}" for name in names),
            f'#include "{key}_kernels.c"',
            f"typedef struct {{ {_pointers(generated)} }} entries;",
            '__attribute__((visibility("default")))',
            f"entries table_{key} = {{ {', '.join(names)} }};",
            "",
        ]
    )


def _pointers(generated: Generated) -> str:
    """The entries as pointers to functions: members of a struct."""
    return " ".join(
        f"{result}(*{name})({arguments});"
        for result, name, arguments in ENTRY.findall(generated.declarations)
    )


def _compile(directory: Path, commands: Mapping[str, Commands]) -> None:
    environment = compiler_environment(directory, directory)
    # Under pytest-xdist the workers are what runs side by side.
    width = 1 if os.environ.get("PYTEST_XDIST_WORKER") else os.cpu_count() or 1
    kernels = [part.kernel for part in commands.values()]
    batches = [kernels[i : i + width] for i in range(0, len(kernels), width)]
    for batch in [*batches, [_link(commands)]]:
        failure = run_together(directory, batch, environment)
        assert failure is None, failure.log if failure else ""


def _link(commands: Mapping[str, Commands]) -> tuple[str, ...]:
    """One link of all objects, with what the most demanding of them needs."""
    key, longest = max(commands.items(), key=lambda item: len(item[1].link))
    replaced = {f"{key}.o": [f"{other}.o" for other in commands], f"_{key}.o": []}
    replaced[extension_file(key)] = [SHARED]
    return tuple(new for part in longest.link for new in replaced.get(part, [part]))


def _loaded(path: Path, models: Mapping[str, Generated]) -> dict[str, type[Model]]:
    ffi_of = {text: _reader(text, models) for text in {m.declarations for m in models.values()}}
    classes = {}
    for key, generated in models.items():
        ffi = ffi_of[generated.declarations]
        entries = getattr(ffi.dlopen(str(path)), f"table_{key}")
        members = {
            "_spec": generated.spec,
            "_extension": SimpleNamespace(ffi=ffi, lib=entries),
        }
        classes[key] = type("Model", (Model,), members)
    return classes


def _reader(declarations: str, models: Mapping[str, Generated]) -> object:
    """What reads the tables of all models with these declarations, which differ by precision."""
    ffi = import_module("cffi").FFI()
    keys = [key for key, generated in models.items() if generated.declarations == declarations]
    types = ENTRY.sub("", declarations)
    pointers = _pointers(models[keys[0]])
    tables = " ".join(f"extern entries table_{key};" for key in keys)
    ffi.cdef(f"{types} typedef struct {{ {pointers} }} entries; {tables}")
    return ffi
