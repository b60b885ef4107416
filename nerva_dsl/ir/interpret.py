"""The meaning of the IR: an interpreter in NumPy and SciPy, with nothing clever in it.

It executes any program, before and after any pass, and is what passes and generated C are compared
with. Arrays are `[features, B]` as in the IR; sparse weights are SciPy CSR arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
    DenseGradient,
    Group,
    Load,
    LogSoftmax,
    Map,
    Operation,
    Product,
    Reduce,
    RowSquares,
    Slice,
    Softmax,
    Standardize,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.program import Graph, Program, Rule
from nerva_dsl.ir.types import Value
from nerva_dsl.runtime import masks
from nerva_dsl.scalar.evaluate import evaluate

Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """What running a graph gave.

    Attributes:
        results: the graph's results by name; `[n, B]` arrays, CSR arrays for sparse weights.
        parameters: all parameters, updated ones with their new values.
        states: optimizer state of each parameter, by parameter and state name.
    """

    results: dict[str, Any]
    parameters: dict[str, Any]
    states: dict[str, dict[str, Array]]


def run(
    program: Program,
    graph: str,
    *,
    parameters: Mapping[str, Any],
    x: Array,
    t: Array | None = None,
    states: Mapping[str, Mapping[str, Array]] | None = None,
    lr: float = 0.0,
    step: int = 1,
    seed: int = 0,
) -> Outcome:
    """Run one graph on one batch.

    Args:
        program: raw or after any pass.
        graph: name of the graph.
        parameters: by name: CSR `[outputs, inputs]`, dense `[outputs, inputs]` or `[n]`.
        x: input, `[B, features]`.
        t: labels `[B]` or real targets `[B, K]`; None without a target.
        states: optimizer state as `Outcome.states`; the initial one if None.
        lr: learning rate.
        step: number of this step, from 1.
        seed: of the masks of dropout.

    Returns:
        Results and new parameters; nothing given is changed.
    """
    machine = _Machine(program, x, t, parameters, states, lr, step, seed)
    chosen = program.graph(graph)
    for operation in chosen.operations:
        machine.execute(operation)
    return machine.outcome(chosen)


class _Machine:
    """The values computed so far."""

    def __init__(
        self,
        program: Program,
        x: Array,
        t: Array | None,
        parameters: Mapping[str, Any],
        states: Mapping[str, Mapping[str, Array]] | None,
        lr: float,
        step: int,
        seed: int,
    ) -> None:
        self.program = program
        self.dtype: type[np.floating[Any]] = getattr(np, program.precision)
        self.supplied = {"lr": self.dtype(lr), "step": self.dtype(step)}
        self.seed, self.steps_done = seed, step - 1
        self.count = len(x)
        self.values: dict[str, Any] = {}
        for value, array in zip(program.inputs, (x, t), strict=False):
            if array is not None:
                self.values[value.name] = array if array.ndim > 1 else array[:, None]
        self.states: dict[str, dict[str, Array]] = {}
        for parameter in program.parameters:
            name = parameter.value.name
            self.values[name] = self._parameter(parameter.value, parameters[name])
            size = _numbers(self.values[name]).shape
            given = (states or {}).get(name, {})
            self.states[name] = {
                state: np.asarray(given.get(state, np.full(size, initial)), self.dtype)
                for state, initial in program.rule(parameter.rule).states
            }
        for constant in program.constants:
            repeated = np.repeat(
                constant.numbers, constant.value.type.rows // len(constant.numbers)
            )
            self.values[constant.value.name] = repeated.astype(self.dtype)[:, None]

    def _parameter(self, value: Value, given: Any) -> Any:
        if value.type.format == "csr":
            return sp.csr_array(given, dtype=self.dtype)
        return np.asarray(given, self.dtype).reshape(value.type.shape)

    def outcome(self, graph: Graph) -> Outcome:
        parameters = {}
        for parameter in self.program.parameters:
            array = self.values[parameter.value.name]
            parameters[parameter.value.name] = (
                array[:, 0] if self.program.is_vector(parameter) else array
            )
        return Outcome(
            {name: self.values[value.name] for name, value in graph.results},
            parameters,
            self.states,
        )

    def execute(self, operation: Operation) -> None:
        if isinstance(operation, Group):
            for part in operation.body:
                self.execute(part)
        elif isinstance(operation, Update):
            self._update(operation, self.program.rule(operation.rule))
        else:
            self.values[operation.result.name] = self._compute(operation)

    def _compute(self, operation: Operation) -> Any:
        get = self.values
        match operation:
            case Load(array=array):
                return np.ascontiguousarray(get[array.name].T).astype(self.dtype)
            case Map(result=result, expression=expression, inputs=inputs) if (
                result.type.format == "csr"
            ):
                pattern = next(get[v.name] for v in inputs if v.type.format == "csr")
                numbers = [_numbers(get[v.name]) for v in inputs]
                operands = {f"a{i}": n if n.ndim == 1 else n[0, 0] for i, n in enumerate(numbers)}
                return _like(pattern, evaluate(expression, operands, self.dtype))
            case Map(result=result, expression=expression, inputs=inputs):
                shape = tuple(self.count if n == "B" else n for n in result.type.shape)
                operands = {f"a{i}": get[v.name] for i, v in enumerate(inputs)}
                operands["count"] = self.dtype(self.count)
                operands["feature"] = np.arange(shape[0], dtype=self.dtype)[:, None]
                value = evaluate(expression, operands, self.dtype)
                return np.broadcast_to(np.asarray(value, self.dtype), shape)
            case Product(weight=weight, x=x):
                return get[weight.name] @ get[x.name]
            case TransposedProduct(weight=weight, dz=dz):
                return get[weight.name].T @ get[dz.name]
            case WeightGradient(weight=weight, dz=dz, x=x):
                return _weight_gradient(get[weight.name], get[dz.name], get[x.name])
            case DenseGradient(dz=dz, x=x):
                return get[dz.name] @ get[x.name].T
            case RowSquares(x=x):
                matrix = get[x.name]
                squares = matrix.multiply(matrix) if _is_sparse(matrix) else matrix * matrix
                return np.asarray(squares.sum(axis=1)).reshape(-1, 1)
            case Standardize(x=x, mean=mean, variance=variance, epsilon=epsilon):
                deviation = np.sqrt(get[variance.name] + self.dtype(epsilon))
                return (get[x.name] - get[mean.name]) / deviation
            case Bernoulli():
                return self._mask(operation)
            case Concat(parts=parts):
                return np.concatenate([get[part.name] for part in parts])
            case Slice(result=result, x=x, begin=begin):
                return get[x.name][begin : begin + result.type.rows]
            case Reduce(kind=kind, axis=axis, x=x):
                function = np.sum if kind == "sum" else np.max
                return function(get[x.name], axis=0 if axis == "features" else 1, keepdims=True)
            case Softmax(x=x):
                powers = np.exp(get[x.name] - get[x.name].max(axis=0))
                return powers / powers.sum(axis=0)
            case LogSoftmax(x=x):
                shifted = get[x.name] - get[x.name].max(axis=0)
                return shifted - np.log(np.exp(shifted).sum(axis=0))
        raise TypeError(f"cannot interpret {type(operation).__name__}")

    def _mask(self, operation: Bernoulli) -> Any:
        like, one = operation.like, self.dtype(1 / operation.keep)
        source = (operation.keep, self.seed, operation.stream, self.steps_done)
        if like is None:
            kept = masks.activation_mask(*source, operation.result.type.rows, self.count)
            return np.where(kept, one, self.dtype(0))
        weight = self.values[like.name]
        if not _is_sparse(weight):
            kept = masks.weight_mask(*source, np.arange(weight.size)).reshape(weight.shape)
            return np.where(kept, one, self.dtype(0))
        rows = np.repeat(np.arange(weight.shape[0]), np.diff(weight.indptr))
        kept = masks.weight_mask(*source, rows * weight.shape[1] + weight.indices)
        return _like(weight, np.where(kept, one, self.dtype(0)))

    def _update(self, operation: Update, rule: Rule) -> None:
        name = operation.parameter.name
        parameter = self.values[name]
        scope: dict[str, Any] = dict(self.supplied)
        scope |= {"w": _numbers(parameter), "g": _numbers(self.values[operation.gradient.name])}
        scope |= self.states[name]
        for target, expression in rule.assignments:
            scope[target] = evaluate(expression, scope, self.dtype)
        self.states[name] = {state: np.asarray(scope[state]) for state, _ in rule.states}
        if _is_sparse(parameter):
            self.values[name] = _like(parameter, scope["w"])
        else:
            self.values[name] = np.asarray(scope["w"])


def _numbers(parameter: Any) -> Array:
    """The stored numbers of a parameter."""
    numbers: Array = parameter.data if _is_sparse(parameter) else parameter
    return numbers


def _like(pattern: Any, numbers: Array) -> Any:
    """A CSR array with the pattern of another and numbers of its own."""
    return sp.csr_array((numbers, pattern.indices, pattern.indptr), shape=pattern.shape)


def _is_sparse(parameter: Any) -> bool:
    return bool(sp.issparse(parameter))


def _weight_gradient(weight: Any, dz: Array, x: Array) -> Any:
    if not _is_sparse(weight):
        return dz @ x.T
    row = np.repeat(np.arange(weight.shape[0]), np.diff(weight.indptr))
    data = np.einsum("qb,qb->q", dz[row], x[weight.indices])
    return _like(weight, data)
