"""Finding MKL: the libraries and headers of the wheels `mkl` and `mkl-include`.

Asked of the wheels' own lists of files, so that it does not matter where they are installed or
which number the libraries' names end with; the wheel has no unversioned links.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

INSTALL_MKL = "pip install mkl mkl-include"

# Interface (32-bit indices), threading (none: the threads are our own), computation. In the order
# of linking: each takes symbols from those after it.
_LIBRARIES = ("libmkl_intel_lp64", "libmkl_sequential", "libmkl_core")


@dataclass(frozen=True)
class Mkl:
    """An installed MKL.

    Attributes:
        version: of the libraries; of the headers too where they differ.
        include: directory of `mkl.h`.
        libraries: files to link, in this order.
    """

    version: str
    include: Path
    libraries: tuple[Path, ...]

    @property
    def compile_flags(self) -> tuple[str, ...]:
        """Options to compile with; MKL's headers are not ours to have warnings about."""
        return ("-isystem", str(self.include))

    @property
    def link_flags(self) -> tuple[str, ...]:
        """Options to link with, after the object files.

        `--no-as-needed` keeps all three: the interface calls the others, our code does not. They
        call the mathematical library without naming it.
        """
        directories = tuple(dict.fromkeys(str(library.parent) for library in self.libraries))
        return (
            *(f"-L{directory}" for directory in directories),
            "-Wl,--no-as-needed",
            *(f"-l:{library.name}" for library in self.libraries),
            "-lm",
            "-Wl,--as-needed",
            # Not -Wl,-rpath,DIR, which would split a directory at its commas.
            *(
                word
                for directory in directories
                for word in ("-Xlinker", "-rpath", "-Xlinker", directory)
            ),
        )


def find_mkl() -> Mkl | None:
    """The installed MKL, or None if its libraries or its headers are missing."""
    libraries = find_libraries()
    headers = _files("mkl-include", "mkl.h")
    if not libraries or not headers:
        return None
    version = importlib.metadata.version("mkl")
    of_headers = importlib.metadata.version("mkl-include")
    if of_headers != version:
        version = f"{version}, headers {of_headers}"
    return Mkl(version, headers[0].parent, libraries)


def find_libraries() -> tuple[Path, ...]:
    """MKL's libraries in the order of linking; none unless all are there.

    They are all that a module which is already built needs.
    """
    found = [_files("mkl", f"{name}.so.*") for name in _LIBRARIES]
    return tuple(files[0] for files in found) if all(found) else ()


def _files(wheel: str, pattern: str) -> list[Path]:
    """Files of an installed wheel by their name; none if it is not installed."""
    try:
        listed = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    paths = sorted(Path(str(file.locate())) for file in listed if fnmatch(file.name, pattern))
    return [path.parent.resolve() / path.name for path in paths if path.is_file()]
