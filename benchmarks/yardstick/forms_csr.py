"""Training in PyTorch with sparse weights: `torch.sparse.mm` on compressed sparse rows.

Activations are feature-major, `[features, batch]`: that is the layout in which PyTorch's sparse
product, which is MKL's, is fast. The transpose of a weight is kept as a second CSR tensor, its
values refreshed in each step; the first layer needs none. Indices are 32 bits, which MKL takes as
they are. Autograd is not used: it would make the gradient of a sparse weight by a slower way.

The gradient at the pattern is computed in one of the ways of `GRADIENTS`:

    dense      a dense product, then the pattern's entries of it
    sampled    torch.sparse.sampled_addmm
    gathered   rows of both factors for each non-zero, multiplied and summed
    generated  the same written for torch.compile, which fuses it, the optimizer included; the
               transpose of the batch and the loss are compiled as well
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.yardstick.functions import ACTIVATIONS, HEADS
from benchmarks.yardstick.torch_setup import (
    OPTIMIZERS,
    Batches,
    Optimizer,
    compiled,
    make_optimizer,
)
from benchmarks.yardstick.workload import Data, Layer, Network, SparseWeight
from benchmarks.yardstick.workloads import MOMENTUM, Workload

GRADIENTS = ("dense", "sampled", "gathered", "generated")
# `gathered` writes two arrays of nnz × batch numbers; beyond this it is out of the question.
MOST_GATHERED = 150_000


@dataclass(frozen=True)
class CsrForm:
    """A way to write it.

    Attributes:
        gradient: one of `GRADIENTS`.
        optimizer: which of PyTorch's implementations; with `generated` gradients, of what is left.
    """

    gradient: str
    optimizer: Optimizer

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.gradient} gradient, {self.optimizer} optimizer"

    @property
    def compiles(self) -> bool:
        """Whether it needs a C++ compiler at run time."""
        return self.gradient == "generated"

    def fits(self, nnz: int) -> bool:
        """Whether it is worth trying with so many non-zeros."""
        return self.gradient != "gathered" or nnz <= MOST_GATHERED


FORMS = (
    *(CsrForm(gradient, kind) for gradient in ("dense", "sampled") for kind in OPTIMIZERS),
    CsrForm("gathered", "fused"),
    CsrForm("generated", "fused"),
    CsrForm("generated", "foreach"),
)


class _DenseLayer:
    """A layer whose pattern is full."""

    def __init__(self, weight: Tensor) -> None:
        self.trained: Tensor | None = weight

    def forward(self, bias: Tensor, x: Tensor) -> Tensor:
        return torch.addmm(bias, self._weight, x)

    def backward(self, dz: Tensor) -> Tensor:
        return torch.mm(self._weight.t(), dz)

    def gradient(self, dz: Tensor, x: Tensor) -> None:
        self._weight.grad = torch.mm(dz, x.t())

    @property
    def _weight(self) -> Tensor:
        assert self.trained is not None
        return self.trained


class _SparseLayer:
    """A layer of CSR weights.

    Attributes:
        trained: the non-zeros, for the optimizer; None if `gradient` updates them itself.
    """

    def __init__(self, weight: SparseWeight, way: str, rate: float, *, transposed: bool) -> None:
        outputs, inputs = weight.shape
        self._csr, self._values = _csr(
            weight.row_start, weight.columns, weight.values, weight.shape
        )
        self._way, self._rate = way, rate
        self._rows = torch.from_numpy(weight.rows)
        self._columns = torch.from_numpy(weight.columns)
        self.trained = None if way == "generated" else self._values
        if way == "dense":
            self._positions = self._rows * inputs + self._columns
        if way == "generated":
            self._velocity = torch.zeros_like(self._values)
            for tensor in (self._rows, self._columns, self._values, self._velocity):
                torch._dynamo.mark_dynamic(tensor, 0)
        if transposed:
            by_column = np.lexsort((weight.rows, weight.columns))
            starts = np.concatenate(([0], np.cumsum(np.bincount(weight.columns, minlength=inputs))))
            self._transpose, self._transpose_values = _csr(
                starts, weight.rows[by_column], weight.values[by_column], (inputs, outputs)
            )
            self._permutation = torch.from_numpy(by_column)

    def forward(self, bias: Tensor, x: Tensor) -> Tensor:
        return torch.addmm(bias, self._csr, x)

    def backward(self, dz: Tensor) -> Tensor:
        torch.index_select(self._values, 0, self._permutation, out=self._transpose_values)
        product: Tensor = torch.sparse.mm(self._transpose, dz)
        return product

    def gradient(self, dz: Tensor, x: Tensor) -> None:
        if self._way == "generated":
            pattern = self._rows, self._columns
            compiled(_generated)(dz, x, *pattern, self._values, self._velocity, self._rate)
        elif self._way == "dense":
            product = torch.mm(dz, x.t()).view(-1)
            self._values.grad = product.index_select(0, self._positions)
        elif self._way == "sampled":
            self._values.grad = torch.sparse.sampled_addmm(self._csr, dz, x.t(), beta=0.0).values()
        else:
            factors = dz.index_select(0, self._rows), x.index_select(0, self._columns)
            self._values.grad = torch.linalg.vecdot(*factors)


class CsrTrainer:
    """Training with CSR weights; layers whose pattern is full are dense.

    Args:
        workload: the functions of its layers, its batch and its learning rate.
        network: initial weights.
        data: what to train on.
        form: how it is written.
    """

    def __init__(self, workload: Workload, network: Network, data: Data, form: CsrForm) -> None:
        self._batches = Batches(data, workload.batch)
        self._x = torch.empty_like(self._batches.x.t(), memory_format=torch.contiguous_format)
        self._transpose, self._head = _transpose, HEADS[workload.loss]
        if form.compiles:
            self._transpose, self._head = compiled(_transpose), compiled(self._head)
        self._activations = [ACTIVATIONS[name] for name in workload.activations]
        rate = workload.learning_rate
        self._layers = [
            _layer(layer, form.gradient, rate, transposed=number > 0)
            for number, layer in enumerate(network)
        ]
        self._biases = [torch.from_numpy(layer.bias.copy())[:, None] for layer in network]
        trained = [layer.trained for layer in self._layers if layer.trained is not None]
        self._optimizer = make_optimizer([*trained, *self._biases], form.optimizer, rate)

    @torch.no_grad()
    def step(self, index: Tensor) -> Tensor:
        """One update; the mean loss before it."""
        self._batches.gather(index)
        self._transpose(self._batches.x, self._x)
        values, arguments = [self._x], []
        for layer, bias, activation in zip(
            self._layers, self._biases, self._activations, strict=False
        ):
            arguments.append(layer.forward(bias, values[-1]))
            values.append(activation.forward(arguments[-1]))
        outputs = self._layers[-1].forward(self._biases[-1], values[-1])

        loss, dz = self._head(outputs, self._batches.t)
        for number in range(len(self._layers) - 1, -1, -1):
            layer, x = self._layers[number], values[number]
            self._biases[number].grad = dz.sum(1, keepdim=True)
            # Backward first: a gradient that is fused with its update changes the weights.
            dx = layer.backward(dz) if number > 0 else None
            layer.gradient(dz, x)
            if dx is not None:
                dz = self._activations[number - 1].backward(dx, arguments[number - 1], x)
        self._optimizer.step()
        return loss


def _layer(layer: Layer, way: str, rate: float, *, transposed: bool) -> _DenseLayer | _SparseLayer:
    if isinstance(layer.weight, SparseWeight):
        return _SparseLayer(layer.weight, way, rate, transposed=transposed)
    return _DenseLayer(torch.from_numpy(layer.weight.copy()))


def _csr(
    row_start: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """A CSR tensor, and its values as an ordinary tensor in the same memory."""
    own = torch.from_numpy(values.copy())
    csr = torch.sparse_csr_tensor(
        torch.from_numpy(row_start.astype(np.int32)),
        torch.from_numpy(columns.astype(np.int32)),
        own,
        size=shape,
    )
    if csr.values().data_ptr() != own.data_ptr():
        raise RuntimeError("this PyTorch copies the values of a CSR tensor")
    return csr, own


def _transpose(x: Tensor, into: Tensor) -> None:
    """Samples to feature-major."""
    into.copy_(x.t())


def _generated(
    dz: Tensor,
    x: Tensor,
    rows: Tensor,
    columns: Tensor,
    values: Tensor,
    velocity: Tensor,
    rate: float,
) -> None:
    """Gradient at the pattern and Nesterov's momentum, for torch.compile."""
    gradient = (dz[rows] * x[columns]).sum(1)
    velocity.mul_(MOMENTUM).add_(gradient)
    values.sub_(rate * (gradient + MOMENTUM * velocity))
