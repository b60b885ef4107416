"""IDX files: MNIST's format, which Fashion-MNIST, KMNIST and others share.

An IDX file is a header and numbers: two zero bytes, a byte for the type of the numbers, one for how
many dimensions there are, each dimension as a big-endian 32-bit integer, then the numbers, big-
endian, the last dimension varying fastest. Source: Y. LeCun, C. Cortes & C. Burges, "The MNIST
database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from nerva_dsl.runtime.data.arrays import Array, Arrays, DataError

__all__ = ["read_idx", "read_idx_file"]

# By the third byte of a file.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PARTS = {"train": ("train",), "test": ("t10k", "test")}
MOST_DIMENSIONS = 32  # what NumPy 1 can hold
BYTES_AT_ONCE = 1 << 24  # a header that lies about the size costs no more memory than this


def read_idx(folder: str) -> Arrays:
    """The images and labels of a folder with MNIST's names, each gzipped or not.

    Those are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and, of the test part, which may
    be missing, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.

    Raises:
        DataError: a file is missing or damaged, or there are not as many labels as images.
    """
    directory = Path(folder)
    if not directory.is_dir():
        raise DataError(
            f"`idx:{folder}`: there is no folder {folder}; `nervac data fashion-mnist -o {folder}` "
            "or `nervac data mnist` makes one"
        )
    train, test = (_part(directory, stems) for stems in PARTS.values())
    if train is None:
        raise DataError(
            f"{folder} has no train-images-idx3-ubyte and no train-images-idx3-ubyte.gz; "
            "`nervac data fashion-mnist` or `nervac data mnist` makes such a folder"
        )
    X_test, t_test = (None, None) if test is None else test
    source = f"idx:{directory.resolve()}"
    return Arrays(*train, X_test, t_test, source, f"idx:{directory.resolve().name}")


def _part(directory: Path, stems: tuple[str, ...]) -> tuple[Array, Array] | None:
    """Images and labels of the training or the test part; None if it has no images."""
    images = _find(directory, stems, "images")
    if images is None:
        return None
    labels = _find(directory, stems, "labels")
    if labels is None:
        raise DataError(f"{directory} has {images.name}, and no labels to it")
    X, t = read_idx_file(images), read_idx_file(labels)
    if X.ndim < 2:
        raise DataError(f"{images} has one number a sample: it holds labels, not images")
    if t.ndim != 1:
        raise DataError(f"{labels} has shape {list(t.shape)}: labels have one dimension")
    if len(X) != len(t):
        raise DataError(f"{images} has {len(X):,} images and {labels.name} {len(t):,} labels")
    return X, t


def _find(directory: Path, stems: tuple[str, ...], kind: str) -> Path | None:
    """The file of a part, by whichever of its names it has; rather one that is not compressed."""
    names = re.compile(rf"({'|'.join(stems)})-{kind}[-.]idx[0-9]-ubyte(\.gz)?")
    found = [path for path in directory.iterdir() if names.fullmatch(path.name)]
    return min(found, key=lambda path: (path.suffix == ".gz", path.name), default=None)


def read_idx_file(path: Path) -> Array:
    """The array of one IDX file, in the machine's byte order.

    Raises:
        DataError: it is cut short, longer than its header says, or no IDX file.
    """
    try:
        with path.open("rb") as file:
            if path.suffix != ".gz":
                return _read(file, path)
            with gzip.open(file) as unpacked:
                return _read(cast("IO[bytes]", unpacked), path)
    except EOFError:
        raise DataError(f"{path} is cut short: its gzip stream does not end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no gzip file, or a damaged one: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _read(file: IO[bytes], path: Path) -> Array:
    magic = file.read(4)
    if len(magic) < 4:
        raise DataError(f"{path} is cut short: {len(magic)} bytes")
    dtype, dimensions = TYPES.get(magic[2]), magic[3]
    if magic[:2] != b"\0\0" or dtype is None or not 1 <= dimensions <= MOST_DIMENSIONS:
        compressed = "; it is gzipped: give its name the ending .gz"
        raise DataError(
            f"{path} is no IDX file: it begins with {magic.hex(' ')}, and images of bytes begin "
            f"with 00 00 08 03, labels with 00 00 08 01{compressed if magic[:2] == GZIP else ''}"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path} is cut short: its header is not whole")
    shape = struct.unpack(f">{dimensions}I", header)
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    content = _exactly(file, expected)
    if len(content) < expected:
        raise DataError(
            f"{path} is cut short: its {_product(shape)} numbers take {expected:,} bytes, "
            f"and there are {len(content):,}"
        )
    if file.read(1):
        raise DataError(f"{path} is longer than the {_product(shape)} numbers of its header")
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


GZIP = b"\x1f\x8b"


def _exactly(file: IO[bytes], count: int) -> bytes:
    """As many bytes as there are, at most `count`."""
    content = bytearray()
    while len(content) < count:
        piece = file.read(min(count - len(content), BYTES_AT_ONCE))
        if not piece:
            break
        content += piece
    return bytes(content)


def _product(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
