"""Lowering values: each value of the checked model becomes operations, once a graph."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import model as checked
from nerva_dsl.ir.operations import Concat, LogSoftmax, Product, Slice, Softmax
from nerva_dsl.ir.types import Place, Value
from nerva_dsl.lower import training
from nerva_dsl.lower.emitter import Emitter, place
from nerva_dsl.lower.parameters import Parameters
from nerva_dsl.scalar import Expr, Number, Var, apply


class Builder(Emitter):
    """Builds one graph; each value of the checked model is computed once."""

    def __init__(self, parameters: Parameters, *, training: bool = False) -> None:
        super().__init__(parameters, training=training)
        self._done: dict[int, Value] = {}

    def value(self, root: checked.Value) -> Value:
        """The IR value of a checked value; its operands first, without recursion."""
        stack: list[checked.Value] = [root]
        while stack:
            node = stack[-1]
            missing = [part for part in _parts(node) if id(part) not in self._done]
            if missing:
                stack.extend(reversed(missing))
            else:
                if id(node) not in self._done:
                    self._done[id(node)] = self._build(node)
                stack.pop()
        return self._done[id(root)]

    def _build(self, node: checked.Value) -> Value:
        done = self._done
        origin = (place(node.span),)
        match node:
            case checked.Input():
                return self.load(self.parameters.inputs[0])
            case checked.Target():
                return self._target(node, origin)
            case checked.Linear(layer=layer, x=x):
                return self._linear(layer, done[id(x)], node.name, origin)
            case checked.Elementwise(expression=expression, operands=operands, label=label):
                values = tuple(done[id(operand)] for operand in operands)
                name = node.name or label
                return self.map(expression, values, node.width, origin, label, name)
            case checked.Normalize(x=x):
                return self._normalize(node, done[id(x)], origin)
            case checked.Learned(parameter=name, initial=initial):
                return self.parameters.vector(name, 1, initial)
            case checked.BatchNorm(x=x):
                return training.batch_norm(self, node, done[id(x)], origin)
            case checked.Dropout(x=x, rate=rate):
                return training.dropout(self, done[id(x)], rate, node.name or "dropout", origin)
            case checked.Concat(parts=parts):
                result = self.fresh(node.name or "concat", node.width)
                values = tuple(done[id(part)] for part in parts)
                self.operations.append(Concat((result,), origin, values))
                return result
            case checked.Slice(x=x, begin=begin):
                result = self.fresh(node.name or "slice", node.width)
                self.operations.append(Slice((result,), origin, done[id(x)], begin))
                return result
            case checked.Reduce(kind=kind, x=x):
                return self.reduce(kind, done[id(x)], origin, node.name or kind)
            case checked.Softmax(x=x):
                name = node.name or "softmax"
                return self.emit(Softmax, name, node.width, origin, done[id(x)])
            case checked.LogSoftmax(x=x):
                name = node.name or "log_softmax"
                return self.emit(LogSoftmax, name, node.width, origin, done[id(x)])
        raise TypeError(f"cannot lower {type(node).__name__}")

    def _target(self, node: checked.Target, origin: tuple[Place, ...]) -> Value:
        spec = self.parameters.model.target
        loaded = self.load(self.parameters.inputs[1])
        if spec is None or spec.kind != "class":
            return loaded
        is_label = apply("eq", Var("a0"), Var("feature"))
        one_hot = apply("select", is_label, Number(1.0), Number(0.0))
        name = f"{spec.name}.onehot"
        return self.map(one_hot, (loaded,), node.width, origin, "onehot", name)

    def _linear(
        self, layer: checked.Layer, x: Value, name: str | None, origin: tuple[Place, ...]
    ) -> Value:
        weight = self.parameters.weight(layer)
        if self.training and layer.drop_connect:
            weight = training.drop_connect(self, weight, layer, origin)
        last = name or f"{layer.name}.linear"
        product_name = f"{layer.name}.product" if layer.bias else last
        product = self.emit(Product, product_name, layer.outputs, origin, weight, x)
        if not layer.bias:
            return product
        bias = self.parameters.vector(f"{layer.name}.bias", layer.outputs, 0.0, layer.rule)
        added = apply("add", Var("a0"), Var("a1"))
        return self.map(added, (product, bias), layer.outputs, origin, "linear", last)

    def _normalize(self, node: checked.Normalize, x: Value, origin: tuple[Place, ...]) -> Value:
        name = node.name or "normalize"
        operands = [x]
        parts: list[Expr] = []
        for kind, numbers in (("mean", node.mean), ("std", node.std)):
            if len(set(numbers)) == 1:
                parts.append(Number(numbers[0]))
            else:
                parts.append(Var(f"a{len(operands)}"))
                operands.append(self.parameters.constant(name, kind, node.width, numbers))
        expression = apply("div", apply("sub", Var("a0"), parts[0]), parts[1])
        return self.map(expression, tuple(operands), node.width, origin, "normalize", name)


def _parts(node: checked.Value) -> Sequence[checked.Value]:
    match node:
        case checked.Elementwise(operands=operands) | checked.Concat(parts=operands):
            return operands
        case (
            checked.Linear(x=x)
            | checked.Normalize(x=x)
            | checked.BatchNorm(x=x)
            | checked.Dropout(x=x)
            | checked.Slice(x=x)
            | checked.Reduce(x=x)
            | checked.Softmax(x=x)
            | checked.LogSoftmax(x=x)
        ):
            return (x,)
    return ()
