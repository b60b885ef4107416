"""CIFAR-10: from a folder or an archive, in its binary or its Python form.

Both have five batches to train on and one to test on, each of 10,000 images of 32 × 32 pixels, a
plane of reds, one of greens and one of blues. A binary batch is a record an image: a byte for the
class, and 3072 for the pixels. A Python batch is a pickled dictionary with `data`, `[n, 3072]`, and
`labels`. Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from nerva_dsl.runtime.data.arrays import Array, Arrays, DataError
from nerva_dsl.runtime.data.pickles import PickleError, load_byte_arrays

__all__ = ["read_cifar10"]

SHAPE = (3, 32, 32)
FEATURES = 3 * 32 * 32
CLASSES = 10
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
LARGEST_BATCH = 1 << 28  # bytes; a batch has 31 million: an archive cannot fill the memory

Batch = tuple[Array, Array]  # images [n, 3072] and labels [n]


def read_cifar10(path: str) -> Arrays:
    """CIFAR-10 from its archive, from a folder with the archive, or from its unpacked batches.

    Raises:
        DataError: there is none, a batch is missing or damaged, or it is something else.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(
            f"`cifar10:{path}`: there is no {path}; `nervac data cifar10 -o {path}` makes it"
        )
    try:
        files = _unpacked(place) if place.is_dir() else _archived(place)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    batches = [_batch(name, files, path) for name in BATCHES]
    images, labels = (np.concatenate([b[part] for b in batches[:-1]]) for part in (0, 1))
    test_images, test_labels = batches[-1]
    return Arrays(
        images.reshape(-1, *SHAPE),
        labels,
        test_images.reshape(-1, *SHAPE),
        test_labels,
        f"cifar10:{place.resolve()}",
        "cifar10",
    )


def _unpacked(folder: Path) -> Mapping[str, bytes]:
    """The batches of a folder by name; or those of an archive, or of a folder, in it."""
    named = [name + ending for ending in (".bin", "") for name in BATCHES]
    found = {name: folder / name for name in named if (folder / name).is_file()}
    if found:
        return {name: path.read_bytes() for name, path in found.items()}
    for inner in FOLDERS:
        if (folder / inner).is_dir():
            return _unpacked(folder / inner)
    for archive in ARCHIVES:
        if (folder / archive).is_file():
            return _archived(folder / archive)
    raise DataError(
        f"{folder} has no data_batch_1.bin, no data_batch_1, and none of {', '.join(ARCHIVES)}; "
        f"`nervac data cifar10 -o {folder}` fetches CIFAR-10"
    )


def _archived(path: Path) -> Mapping[str, bytes]:
    """The batches of an archive by name; nothing is unpacked to disk."""
    wanted = {name + ending for ending in (".bin", "") for name in BATCHES}
    files: dict[str, bytes] = {}
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with tarfile.open(path, "r:gz" if packed else "r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in wanted and member.isfile() and member.size <= LARGEST_BATCH:
                    content = archive.extractfile(member)
                    assert content is not None  # of a file there always is one
                    files[name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is no archive of CIFAR-10, or is cut short; it should be one of "
            f"{', '.join(ARCHIVES)}"
        ) from error
    return files


def _batch(name: str, files: Mapping[str, bytes], path: str) -> Batch:
    """One batch, from the file that has it."""
    readers: Mapping[str, Callable[[bytes], Batch]] = {f"{name}.bin": _records, name: _pickled}
    for file, reader in readers.items():
        if file in files:
            try:
                images, labels = reader(files[file])
            except ValueError as error:
                raise DataError(f"{path}: {file} is no batch of CIFAR-10: {error}") from error
            if labels.max() >= CLASSES:
                raise DataError(
                    f"{path}: {file} is no batch of CIFAR-10: it has a label {labels.max()}, and "
                    f"the classes are 0 … {CLASSES - 1}"
                )
            return images, labels
    has = ", ".join(sorted(files)) or "no batch"
    raise DataError(f"{path} has no batch {name}; it has {has}")


def _records(content: bytes) -> Batch:
    """A batch in binary form."""
    size = 1 + FEATURES
    if not content or len(content) % size:
        raise ValueError(f"its {len(content):,} bytes are not a whole number of {size} each")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return records[:, 1:], records[:, 0]


def _pickled(content: bytes) -> Batch:
    """A batch in Python form; nothing of the pickle is executed."""
    try:
        entries = load_byte_arrays(content)
    except PickleError as error:
        raise ValueError(str(error)) from error
    images, labels = entries.get("data"), entries.get("labels")
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != FEATURES:
        raise ValueError(f"it has no `data`, bytes [n, {FEATURES}]")
    if not isinstance(labels, list) or len(labels) != len(images) or not labels:
        raise ValueError(f"it has no list `labels` for its {len(images):,} images")
    if not all(type(label) is int and 0 <= label <= 255 for label in labels):
        raise ValueError("its `labels` are not all whole numbers")
    return images, np.array(labels, np.uint8)
