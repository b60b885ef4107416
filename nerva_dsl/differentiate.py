"""Reverse-mode differentiation of the IR.

Before: forward graphs, `step` among them. After: `gradients` gives the loss's gradient by every
trained parameter, and `step` applies the optimizer to them. The loss is the mean over the batch of
the loss of each sample. Every gradient is made, the input's included; dropping those that nobody
needs is a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import (
    Load,
    LogSoftmax,
    Map,
    Operation,
    Product,
    Reduce,
    Softmax,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Dim, Place, Type, Value
from nerva_dsl.scalar import Expr, Number, Var, apply
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import simplify


def differentiate(program: Program) -> Program:
    """The program with its backward graphs."""
    forward = program.graph("step")
    backward = _Backward(forward)
    gradients = backward.run()
    trained = [p for p in program.parameters if p.value.name in gradients]
    operations = (*forward.operations, *backward.operations)
    updates = tuple(
        Update((), backward.origin(p.value), p.value, gradients[p.value.name], p.rule)
        for p in trained
    )
    step = Graph("step", (*operations, *updates), forward.results)
    results = tuple((p.value.name, gradients[p.value.name]) for p in trained)
    others = tuple(graph for graph in program.graphs if graph.name != "step")
    return replace(program, graphs=(*others, Graph("gradients", operations, results), step))


class _Backward:
    """One sweep over a graph, from its loss to its parameters."""

    def __init__(self, forward: Graph) -> None:
        self.forward = forward
        self.operations: list[Operation] = []
        self._names = {v.name for operation in forward.operations for v in operation.results}
        self._parts: dict[str, list[Value]] = {}  # what has flowed into each value so far
        self._origins: dict[str, tuple[Place, ...]] = {}

    def run(self) -> dict[str, Value]:
        """Append the backward operations; the gradient of each parameter by its name."""
        loss = dict(self.forward.results)["loss"]
        mean = apply("div", Number(1.0), Var("count"))
        seed = self._map(mean, (), loss, "mean", self._origin_of(loss))
        self._parts[loss.name] = [seed]
        for operation in reversed(self.forward.operations):
            gradient = self._total(operation.result)
            if gradient is not None:
                for operand, part in self._adjoint(operation, gradient):
                    self._parts.setdefault(operand.name, []).append(part)
                    self._origins.setdefault(operand.name, operation.origin)
        defined = {v.name for operation in self.forward.operations for v in operation.results}
        operands = {v for operation in self.forward.operations for v in operation.operands}
        outer = sorted(operands, key=lambda value: value.name)
        totals = {v.name: self._total(v) for v in outer if v.name not in defined}
        return {name: value for name, value in totals.items() if value is not None}

    def origin(self, parameter: Value) -> tuple[Place, ...]:
        """Where a parameter was first used."""
        return self._origins.get(parameter.name, ())

    def _origin_of(self, value: Value) -> tuple[Place, ...]:
        return next(op.origin for op in self.forward.operations if value in op.results)

    def _total(self, value: Value) -> Value | None:
        """The sum of all that flowed into a value."""
        parts = self._parts.get(value.name, [])
        while len(parts) > 1:
            total = apply("add", Var("a0"), Var("a1"))
            origin = self._origins.get(value.name, ())
            parts[:2] = [self._map(total, (parts[0], parts[1]), value, "total", origin)]
        return parts[0] if parts else None

    def _adjoint(self, operation: Operation, dy: Value) -> Iterator[tuple[Value, Value]]:
        """What flows back into each operand, given the gradient by the result."""
        origin = operation.origin
        match operation:
            case Load():
                return
            case Map():
                yield from self._map_adjoint(operation, dy)
            case Product(weight=weight, x=x):
                dx = self._fresh(x, x.type)
                self.operations.append(TransposedProduct((dx,), origin, weight, dy))
                yield x, dx
                dw = self._fresh(weight, weight.type)
                self.operations.append(WeightGradient((dw,), origin, weight, dy, x))
                yield weight, dw
            case Reduce(kind="sum", x=x):
                yield x, self._map(Var("a0"), (dy,), x, "repeat", origin)
            case Reduce(kind="max", x=x):
                yield x, self._max_adjoint(operation, x, dy)
            case Softmax(x=x):
                weighted = apply("mul", Var("a0"), Var("a1"))
                inner = self._map(weighted, (dy, operation.result), x, "weighted", origin)
                total = self._reduce(inner, "features", origin)
                slope = apply("mul", Var("a1"), apply("sub", Var("a0"), Var("a2")))
                yield x, self._map(slope, (dy, operation.result, total), x, "slope", origin)
            case LogSoftmax(x=x):
                total = self._reduce(dy, "features", origin)
                chances = self._fresh(x, x.type)
                self.operations.append(Softmax((chances,), origin, x))
                slope = apply("sub", Var("a0"), apply("mul", Var("a1"), Var("a2")))
                yield x, self._map(slope, (dy, chances, total), x, "slope", origin)
            case _:
                raise TypeError(f"cannot differentiate {type(operation).__name__}")

    def _map_adjoint(self, operation: Map, dy: Value) -> Iterator[tuple[Value, Value]]:
        for i, operand in enumerate(operation.inputs):
            slope = derivative(operation.expression, f"a{i}")
            if slope == Number(0.0):
                continue
            label = f"{operation.label}_slope"
            flow = dy
            if slope != Number(1.0):
                # The gradient is the last operand, so that the others keep their numbers.
                factor = Var(f"a{len(operation.inputs)}")
                expression = simplify(apply("mul", factor, slope))
                inputs = (*operation.inputs, dy)
                like = Value(operand.name, operation.result.type)
                flow = self._map(expression, inputs, like, label, operation.origin)
            axes: tuple[tuple[Literal["features", "batch"], int], ...]
            axes = (("features", 0), ("batch", 1))
            for axis, index in axes:
                if operand.type.shape[index] == 1 and flow.type.shape[index] != 1:
                    flow = self._reduce(flow, axis, operation.origin, operand.name)
            yield operand, flow

    def _max_adjoint(self, operation: Operation, x: Value, dy: Value) -> Value:
        """Features that tie for the largest share its gradient equally."""
        origin = operation.origin
        is_top = apply("select", apply("eq", Var("a0"), Var("a1")), Number(1.0), Number(0.0))
        top = self._map(is_top, (x, operation.result), x, "is_top", origin)
        ties = self._reduce(top, "features", origin)
        share = apply("div", apply("mul", Var("a0"), Var("a1")), Var("a2"))
        return self._map(share, (top, dy, ties), x, "share", origin)

    def _map(
        self,
        expression: Expr,
        inputs: tuple[Value, ...],
        like: Value,
        label: str,
        origin: tuple[Place, ...],
    ) -> Value:
        expression, used = compact(expression, inputs)
        result = self._fresh(like, like.type)
        self.operations.append(Map((result,), origin, expression, used, label))
        return result

    def _reduce(
        self,
        x: Value,
        axis: Literal["features", "batch"],
        origin: tuple[Place, ...],
        name: str | None = None,
    ) -> Value:
        rows: Dim = 1 if axis == "features" else x.type.shape[0]
        shape: tuple[Dim, Dim] = (rows, "B" if axis == "features" else 1)
        result = self._fresh(Value(name or x.name, x.type), Type(x.type.element, shape))
        self.operations.append(Reduce((result,), origin, "sum", axis, x))
        return result

    def _fresh(self, like: Value, kind: Type) -> Value:
        base = like.name if like.name.endswith(".grad") else f"{like.name}.grad"
        name, number = base, 2
        while name in self._names:
            name, number = f"{base}.{number}", number + 1
        self._names.add(name)
        return Value(name, kind)
