"""Reverse-mode differentiation of the IR.

Before: forward graphs, `step` among them. After: `gradients` gives the loss's gradient by every
trained parameter, and `step` applies the optimizer to them, scaled down first if the program clips
their norm. A program that regrows gets a graph `growth`, see `growth.py`. The loss is the mean over
the batch of the loss of each sample. Every gradient is made, the input's included; dropping those
that nobody needs is a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from nerva_dsl.growth import make_growth
from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
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
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Dim, Place, Type, Value
from nerva_dsl.naming import fresh_name
from nerva_dsl.scalar import Expr, Number, Var, apply
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import simplify


def differentiate(program: Program) -> Program:
    """The program with its backward graphs."""
    forward = program.graph("step")
    running = tuple(op for op in forward.operations if isinstance(op, Update))
    computed = tuple(op for op in forward.operations if not isinstance(op, Update))
    backward = _Backward(replace(forward, operations=computed))
    gradients = backward.run()
    trained = [p for p in program.parameters if p.value.name in gradients]
    operations = (*computed, *backward.operations)
    applied: dict[str, Value] = gradients
    clipping: tuple[Operation, ...] = ()
    if program.clip_norm is not None:
        # Constants, such as the means of `normalize`, have gradients too: they do not count.
        own = {p.value.name: gradients[p.value.name] for p in trained}
        applied, clipping = backward.clip(program.clip_norm, own)
    updates = tuple(
        Update((), backward.origin(p.value), p.value, applied[p.value.name], p.rule)
        for p in trained
    )
    loss = dict(forward.results)["loss"]
    growth = make_growth(program, operations, loss, backward.fresh)
    following = growth.following if growth is not None else ()
    ending = (*clipping, *updates, *following, *running)
    step = Graph("step", (*operations, *ending), forward.results)
    results = tuple((p.value.name, gradients[p.value.name]) for p in trained)
    others = tuple(graph for graph in program.graphs if graph.name != "step")
    graphs = (*others, Graph("gradients", operations, results), step)
    if growth is None:
        return replace(program, graphs=graphs, regrow=None)
    return replace(
        program,
        graphs=(*graphs, growth.graph),
        regrow=growth.regrow,
        parameters=(*program.parameters, *growth.parameters),
        rules=(*program.rules, *growth.rules),
    )


class _Backward:
    """One sweep over a graph, from its loss to its parameters."""

    def __init__(self, forward: Graph) -> None:
        self.forward = forward
        self.operations: list[Operation] = []
        self._names = {
            value.name
            for operation in forward.operations
            for value in (*operation.results, *operation.operands)
        }
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

    def clip(
        self, most: float, gradients: dict[str, Value]
    ) -> tuple[dict[str, Value], tuple[Operation, ...]]:
        """The gradients scaled so that their norm together is at most `most`.

        Returns:
            The scaled gradients by parameter, and the operations that make them: each is multiplied
            by min(1, most / ‖g‖₂). Pascanu et al., ICML 2013.
        """
        before, self.operations = self.operations, []
        origin = self._origin_of(dict(self.forward.results)["loss"])
        number = Type(next(iter(gradients.values())).type.element, (1, 1))
        squares = [self._square(gradient, self.origin(gradient)) for gradient in gradients.values()]
        total: Expr = Number(0.0)
        for place in range(len(squares)):
            total = apply("add", total, Var(f"a{place}"))
        ratio = apply("div", Number(most), apply("sqrt", total))
        scale = self._map(
            apply("min", Number(1.0), ratio), tuple(squares), Value("clip", number), "clip", origin
        )
        product = apply("mul", Var("a0"), Var("a1"))
        scaled = {
            name: self._map(product, (gradient, scale), gradient, "clip", self._origins[name])
            for name, gradient in gradients.items()
        }
        clipping, self.operations = tuple(self.operations), before
        return scaled, clipping

    def _square(self, gradient: Value, origin: tuple[Place, ...]) -> Value:
        """The sum of the squares of a parameter's gradient, `[1, 1]`."""
        kind, base = gradient.type, Value(f"{gradient.name}.squares", gradient.type)
        column = Type(kind.element, (kind.rows, 1))
        if kind.shape[1] == 1 and kind.format == "dense":
            rows = self._map(
                apply("mul", Var("a0"), Var("a0")), (gradient,), base, "square", origin
            )
        else:
            rows = self.fresh(base, column)
            self.operations.append(RowSquares((rows,), origin, gradient))
        return rows if kind.rows == 1 else self._reduce(rows, "features", origin, base.name)

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
            case Load() | Bernoulli():
                return
            case Map():
                yield from self._map_adjoint(operation, dy)
            case Product(weight=weight, x=x):
                dx = self.fresh(x, x.type)
                self.operations.append(TransposedProduct((dx,), origin, weight, dy))
                yield x, dx
                dw = self.fresh(weight, weight.type)
                self.operations.append(WeightGradient((dw,), origin, weight, dy, x))
                yield weight, dw
            case Standardize():
                yield operation.x, self._standardize_adjoint(operation, dy)
            case Concat(parts=parts):
                begin = 0
                for part in parts:
                    flow = self.fresh(part, part.type)
                    self.operations.append(Slice((flow,), origin, dy, begin))
                    begin += part.type.rows
                    yield part, flow
            case Slice(x=x, begin=begin):
                yield x, self._slice_adjoint(x, begin, dy, origin)
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
                chances = self.fresh(x, x.type)
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
            # Over the batch first: a row of it is contiguous, and few numbers are left.
            axes = (("batch", 1), ("features", 0))
            for axis, index in axes:
                if operand.type.shape[index] == 1 and flow.type.shape[index] != 1:
                    flow = self._reduce(flow, axis, operation.origin, operand.name)
            yield operand, flow

    def _standardize_adjoint(self, operation: Standardize, dy: Value) -> Value:
        """With s = √(variance + ε): (dy − mean(dy) − y · mean(dy · y)) / s over each row."""
        origin, y, x = operation.origin, operation.result, operation.x
        weighted = apply("mul", Var("a0"), Var("a1"))
        along = self._map(weighted, (dy, y), x, "weighted", origin)
        sums = [self._reduce(part, "batch", origin, x.name) for part in (dy, along)]
        means = apply("add", Var("a2"), apply("mul", Var("a1"), Var("a3")))
        rest = apply("sub", Var("a0"), apply("div", means, Var("count")))
        deviation = apply("sqrt", apply("add", Var("a4"), Number(operation.epsilon)))
        inputs = (dy, y, *sums, operation.variance)
        return self._map(apply("div", rest, deviation), inputs, x, "standardize_slope", origin)

    def _slice_adjoint(self, x: Value, begin: int, dy: Value, origin: tuple[Place, ...]) -> Value:
        """What flows into x: `dy` in the rows of the slice, and zero in the others."""
        parts = [dy]
        for rows, place in ((begin, 0), (x.type.rows - begin - dy.type.rows, len(parts) + 1)):
            if rows:
                like = Value(x.name, replace(x.type, shape=(rows, "B")))
                parts.insert(place, self._map(Number(0.0), (), like, "zero", origin))
        if len(parts) == 1:
            return dy
        whole = self.fresh(x, x.type)
        self.operations.append(Concat((whole,), origin, tuple(parts)))
        return whole

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
        result = self.fresh(like, like.type)
        self.operations.append(Map((result,), origin, expression, used, label))
        return result

    def _reduce(
        self,
        x: Value,
        axis: Literal["features", "batch"],
        origin: tuple[Place, ...],
        name: str | None = None,
    ) -> Value:
        rows, columns = x.type.shape
        shape: tuple[Dim, Dim] = (1, columns) if axis == "features" else (rows, 1)
        result = self.fresh(Value(name or x.name, x.type), Type(x.type.element, shape))
        self.operations.append(Reduce((result,), origin, "sum", axis, x))
        return result

    def fresh(self, like: Value, kind: Type) -> Value:
        """A value of a type, named as the gradient of another."""
        base = like.name if like.name.endswith(".grad") else f"{like.name}.grad"
        name = fresh_name(base, self._names)
        self._names.add(name)
        return Value(name, kind)
