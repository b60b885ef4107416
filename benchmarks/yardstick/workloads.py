"""The networks that can be measured: sizes, batch, precision, activations and loss.

Imports the standard library only, so that a command line can be checked before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PARTS = ("step", "predict", "regrow", "memory", "compile")
MOMENTUM = 0.9
SEED = 1
DENSITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001)

Loss = Literal["softmax_cross_entropy", "squared_error"]
Precision = Literal["float32", "float64"]


@dataclass(frozen=True)
class Workload:
    """A network and how it is trained; always with Nesterov's momentum.

    Attributes:
        name: for the command line and the tables.
        file: of the model, in this directory.
        sizes: features of the input and of each layer.
        layers: their names in the file.
        activations: of the hidden layers, as the file writes them.
        loss: as the file names it; of it follows what a target is.
        batch: samples in a step.
        precision: of samples and weights, and of all that is computed.
        bytes_: whether the samples are bytes, which the file normalises; PyTorch is given the
            normalised numbers.
        learning_rate: as in the file.
        params: of the file, but for `density`.
        parts: of `PARTS`, those that can be measured.
        share: of what is wanted of the reference network, how much is wanted of this one.
    """

    name: str
    file: str
    sizes: tuple[int, ...]
    layers: tuple[str, ...]
    activations: tuple[str, ...]
    loss: Loss = "softmax_cross_entropy"
    batch: int = 100
    precision: Precision = "float32"
    bytes_: bool = False
    learning_rate: float = 0.01
    params: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[str, ...] = ("step",)
    share: float = 0.75

    @property
    def model_file(self) -> Path:
        """Where the model's file is."""
        return Path(__file__).with_name(self.file)

    @property
    def features(self) -> int:
        """Of the input."""
        return self.sizes[0]

    @property
    def outputs(self) -> int:
        """Features of the output: classes, or numbers of a target."""
        return self.sizes[-1]

    def whole_batches(self, samples: int) -> int:
        """As many samples as fill batches: one of another size is another piece of work."""
        return samples // self.batch * self.batch

    def describe(self) -> str:
        """In a few words."""
        return (
            f"{'-'.join(map(str, self.sizes))}, {', '.join(dict.fromkeys(self.activations))}, "
            f"{self.loss.replace('_', ' ')}, Nesterov's momentum {MOMENTUM:g}, "
            f"batches of {self.batch}, {self.precision}"
            + (", samples of bytes" if self.bytes_ else "")
        )


REFERENCE = Workload(
    name="reference",
    file="reference.nerva",
    sizes=(3072, 1024, 512, 10),
    layers=("h1", "h2", "y"),
    activations=("relu", "relu"),
    parts=PARTS,
    share=1,
)

_OTHERS = (
    Workload(
        name="bytes",
        file="bytes.nerva",
        sizes=REFERENCE.sizes,
        layers=REFERENCE.layers,
        activations=REFERENCE.activations,
        bytes_=True,
        share=1,
    ),
    Workload(
        name="wide",
        file="wide.nerva",
        sizes=(784, 2000, 2000, 10),
        layers=("h1", "h2", "y"),
        activations=("all_relu(0.6)", "all_relu(-0.6)"),
        batch=128,
        learning_rate=0.002,
    ),
    Workload(
        name="autoencoder",
        file="autoencoder.nerva",
        sizes=(500, 4000, 500),
        layers=("h", "y"),
        activations=("sigmoid",),
        loss="squared_error",
        learning_rate=0.0002,
    ),
    Workload(
        name="odd",
        file="reference.nerva",
        sizes=REFERENCE.sizes,
        layers=REFERENCE.layers,
        activations=REFERENCE.activations,
        batch=37,
        params={"batch_size": 37},
    ),
    Workload(
        name="double",
        file="double.nerva",
        sizes=REFERENCE.sizes,
        layers=REFERENCE.layers,
        activations=REFERENCE.activations,
        precision="float64",
        share=0.5,
    ),
)

WORKLOADS = {workload.name: workload for workload in (REFERENCE, *_OTHERS)}
