"""Loading built models by their path.

Nothing is found through `sys.modules`: two builds of one model may live in one process, and no
model hides another module of its name.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from os import PathLike
from pathlib import Path
from types import ModuleType

from nerva_dsl.runtime import instruction_sets, shared_libraries

_lock = threading.Lock()
_loads = itertools.count()
# By the file's identity: what is already loaded is used again, what was replaced is loaded anew.
_extensions: dict[tuple[str, int, int, int], ModuleType] = {}


class LoadError(ImportError):
    """A compiled model that cannot be loaded on this machine, or as it is."""


def load_extension(module_file: str | PathLike[str], name: str) -> ModuleType:
    """Load the extension of a compiled model, which lies beside its Python module.

    Args:
        module_file: the Python module's `__file__`.
        name: the extension's name without its suffix, such as `_cifar10`.

    Returns:
        The extension, with `ffi` and `lib`.

    Raises:
        LoadError: it is missing, was built for another Python or another processor, needs a
            library that is not installed, or does not load.
    """
    directory = Path(module_file).absolute().parent
    path = directory / f"{name}{EXTENSION_SUFFIXES[0]}"
    try:
        status = path.stat()
    except OSError:
        raise LoadError(_missing(directory, path, name), name=name, path=str(path)) from None
    identity = (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
    with _lock:
        loaded = _extensions.get(identity)
        if loaded is None:
            loaded = _extensions[identity] = _load(path, name)
    return loaded


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 -- another thread may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def load_module(path: str | PathLike[str]) -> ModuleType:
    """Load a compiled model's Python module.

    Args:
        path: `NAME.py`, or the directory that holds it (an entry of the cache).

    Raises:
        LoadError: there is no compiled model, or its extension does not load.
    """
    file = Path(path).absolute()
    if file.is_dir():
        modules = sorted(file.glob("*.py"))
        if len(modules) != 1:
            found = ", ".join(module.name for module in modules) or "none"
            raise LoadError(f"expected one compiled model in {file}, found {found}")
        file = modules[0]
    if not file.is_file():
        raise LoadError(f"there is no compiled model {file}", path=str(file))
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise LoadError(f"{file} is not a Python module: its name should end in .py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load(path: Path, name: str) -> ModuleType:
    try:
        missing = instruction_sets.missing(path)
        if missing:
            raise LoadError(_other_processor(path, missing), name=name, path=str(path))
        return _import(path, name)
    except LoadError:
        raise
    except (ImportError, OSError) as error:
        library = shared_libraries.not_found(error)
        if library is None:
            reason = f"{error}; compile the model again on this machine"
        else:
            reason = shared_libraries.explain(library)
        raise LoadError(f"{path} does not load: {reason}", name=name, path=str(path)) from error


def _import(path: Path, name: str) -> ModuleType:
    # The interpreter remembers extensions by file name and module name. A prefix of its own for
    # each load makes a file that was built again under the same name load again.
    qualified = f"_nervac_{next(_loads)}.{name}"
    loader = ExtensionFileLoader(qualified, str(path))
    spec = spec_from_file_location(qualified, path, loader=loader)
    if spec is None:
        raise LoadError(f"{path} is not an extension module", name=name, path=str(path))
    entered = (qualified, name, f"{name}.lib")  # the interpreter enters the first, cffi the third
    before = {key: sys.modules[key] for key in entered if key in sys.modules}
    try:
        module = module_from_spec(spec)
        loader.exec_module(module)
    finally:
        for key in entered:
            sys.modules.pop(key, None)
        sys.modules.update(before)
    return module


def _other_processor(path: Path, missing: tuple[str, ...]) -> str:
    level = instruction_sets.level()
    advice = f", or with `--target {level}` for both" if level else ""
    return (
        f"{path} was compiled for another processor: this one does not have {', '.join(missing)}; "
        f"compile the model again on this machine{advice}"
    )


def _missing(directory: Path, path: Path, name: str) -> str:
    others = sorted(file.name for file in directory.glob(f"{name}.*") if file.suffix == ".so")
    if others:
        return (
            f"{path} is missing: the model was built for another Python ({', '.join(others)}); "
            "compile it again with this one"
        )
    return f"{path} is missing: compile the model again, or copy the extension beside its module"
