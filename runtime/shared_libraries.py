"""What to do about a shared library that a built extension needs and the system does not find.

An extension remembers the folder in which MKL or libiomp5 was when it was built, and is looked for
nowhere else but in $LD_LIBRARY_PATH and the system's own folders. Loading the libraries by hand
from another place is no way out: those of MKL need each other, so that they would have to be
visible to the whole process, PyTorch and its own MKL included.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from nerva_dsl.runtime.mkl import find_libraries

_NOT_FOUND = re.compile(r"(lib[\w+-]+\.so[.\d]*): cannot open shared object file")
_MENDS = {
    "libiomp5": "`pip install intel-openmp`",
    "libgomp": "install it (Debian, Ubuntu: `apt install libgomp1`; Fedora: `dnf install libgomp`)",
    "libomp": "install it (Debian, Ubuntu: `apt install libomp5`; Fedora: `dnf install libomp`)",
}


def not_found(error: Exception) -> str | None:
    """File name of the library that the system did not find, from what it said."""
    found = _NOT_FOUND.search(str(error))
    return found[1] if found else None


def explain(library: str) -> str:
    """A sentence on a library that was not found, and how to get it."""
    stem = library.partition(".")[0]
    mkl = stem.startswith("libmkl")
    name = f"MKL ({library})" if mkl else library
    elsewhere = _installed(stem)
    if elsewhere is None:
        mend = "`pip install mkl`" if mkl else _MENDS.get(stem, "compile the model again here")
        return f"it needs {name}, which is not installed here: {mend}"
    if elsewhere.name != library:
        return f"it needs {name}, and what is installed is {elsewhere}: compile the model again"
    return (
        f"it needs {name}, which is in another place than when it was built: compile the model "
        f"again, or add {elsewhere.parent} to $LD_LIBRARY_PATH"
    )


def _installed(stem: str) -> Path | None:
    """Where the wheels have a library now."""
    paths = [path for path in find_libraries() if path.name.startswith(f"{stem}.")]
    if stem == "libiomp5":
        try:
            files = importlib.metadata.files("intel-openmp") or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        found = (Path(str(file.locate())) for file in files if file.name == "libiomp5.so")
        paths = [path.parent.resolve() / path.name for path in found if path.is_file()]
    return paths[0] if paths else None
