"""`pattern = "file.npz"`: the positions of a saved SciPy sparse matrix.

NumPy and SciPy are imported only where there is one: `nervac check` starts in less time than they.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerva_dsl.check.reading import reason
from nerva_dsl.model import Pattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("csr", "csc", "coo", "bsr")
"""The formats of `scipy.sparse.save_npz` that are read; a `dia` matrix stores no positions."""


class PatternError(Exception):
    """A file that gives no pattern.

    Attributes:
        message: what is wrong with it.
        help: what to do about it; may be empty.
    """

    def __init__(self, message: str, help: str = "") -> None:
        self.message, self.help = message, help
        super().__init__(message)


def read_pattern(path: Path, outputs: int, inputs: int) -> Pattern:
    """The positions of a weight `[outputs, inputs]` in a file; nothing is ever unpickled.

    Explicit zeros are positions, and positions that occur twice are one.

    Raises:
        PatternError: the file is not one of `scipy.sparse.save_npz`, or does not fit.
    """
    import numpy as np  # noqa: PLC0415 -- see above
    from scipy import sparse  # noqa: PLC0415

    arrays = _arrays(path)
    try:
        kind = _text(arrays["format"])
        shape = tuple(int(size) for size in arrays["shape"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise _no_matrix(path) from None
    if kind not in FORMATS:
        raise PatternError(
            f"{path} holds a matrix of the format {kind!r}", "save it as csr: `matrix.tocsr()`"
        )
    if shape != (outputs, inputs):
        turned = shape == (inputs, outputs)
        raise PatternError(
            f"{path} has the shape {_shown(shape)}, and the weight is {outputs} × {inputs}",
            "save its transpose: a weight is outputs × inputs" if turned else "",
        )
    try:
        if kind == "coo":
            rows, columns = arrays["row"], arrays["col"]
            _check_indices(rows, columns)
            ones = np.ones(len(rows), dtype=np.int8)
            matrix: Any = sparse.coo_array((ones, (rows, columns)), shape=shape)
        else:
            made = getattr(sparse, f"{kind}_array")
            _check_indices(arrays["indices"], arrays["indptr"])
            ones = np.ones(arrays["data"].shape, dtype=np.int8)
            matrix = made((ones, arrays["indices"], arrays["indptr"]), shape=shape)
            matrix.check_format(full_check=True)
        positions = matrix.tocsr()
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise PatternError(f"{path} is damaged: {error}") from None
    positions.sum_duplicates()
    positions.sort_indices()
    if not positions.nnz:
        raise PatternError(f"{path} has no position", "a layer has at least one non-zero")
    return Pattern(positions.indptr.astype(np.int64), positions.indices.astype(np.int32), path)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file that holds a sparse matrix."""
    import numpy as np  # noqa: PLC0415
    from numpy.lib.npyio import NpzFile  # noqa: PLC0415

    from nerva_dsl.runtime.archives import DamagedError, reading_arrays  # noqa: PLC0415

    wanted = {"format", "shape", "data", "indices", "indptr", "row", "col"}
    try:
        with reading_arrays():
            archive = np.load(path, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise _no_matrix(path)
            with archive:
                return {name: archive[name] for name in archive.files if name in wanted}
    except DamagedError:
        raise _no_matrix(path) from None
    except (OSError, ValueError) as error:
        raise PatternError(f"cannot read {path}: {reason(error)}") from None


def _check_indices(*arrays: NDArray[np.generic]) -> None:
    """Refuse what is no list of integers.

    Raises:
        ValueError: it is something else, such as real numbers, which SciPy would round.
    """
    for array in arrays:
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError("its positions are no integers")


def _text(array: NDArray[Any]) -> str:
    """A string that NumPy has saved, as bytes or as text."""
    value = array.item()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _shown(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape)


def _no_matrix(path: Path) -> PatternError:
    return PatternError(
        f"{path} is not a sparse matrix saved by SciPy",
        "write it with `scipy.sparse.save_npz`; Python objects are never loaded",
    )
