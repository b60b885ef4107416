"""Lowering: the checked model becomes graphs of the IR.

Before: a checked model. After: a program with three forward graphs: `predict` gives the output,
`evaluate` the loss (and the accuracy) of each sample, and `step` the same as a training step sees
it; differentiation completes `step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from nerva_dsl import model as checked
from nerva_dsl.ir.operations import (
    Load,
    LogSoftmax,
    Map,
    Operation,
    Product,
    Reduce,
    Softmax,
)
from nerva_dsl.ir.program import Constant, Graph, Parameter, Program, Rule
from nerva_dsl.ir.types import Dim, Element, Place, Type, Value
from nerva_dsl.scalar import Expr, Number, Var, apply
from nerva_dsl.source import Span


def lower(model: checked.CheckedModel) -> Program:
    """The program of a checked model."""
    shared = _Shared(model)
    graphs = []
    for name in ("predict", "evaluate", "step"):
        builder = _Builder(shared)
        builder.load(shared.inputs[0])
        if name == "predict":
            results = [("output", builder.value(model.output))]
        else:
            if model.target is not None:
                builder.load(shared.inputs[1])
            results = [("loss", builder.value(model.loss))]
            if measures_accuracy(model):
                results.append(("accuracy", builder.accuracy()))
        graphs.append(Graph(name, tuple(builder.operations), tuple(results)))
    return Program(
        name=model.name,
        precision=model.precision,
        batch=model.batch,
        inputs=shared.inputs,
        parameters=tuple(
            shared.parameters[name] for name in model.parameters if name in shared.parameters
        ),
        constants=tuple(shared.constants.values()),
        rules=tuple(Rule(rule.label, rule.states, rule.assignments) for rule in model.rules),
        schedule=model.schedule,
        graphs=tuple(graphs),
    )


def measures_accuracy(model: checked.CheckedModel) -> bool:
    """Whether the output can be compared with class labels."""
    target = model.target
    return target is not None and target.kind == "class" and model.output.width == target.size


def place(span: Span) -> Place:
    """A span as the IR keeps it."""
    return Place(span.source.name, span.line, span.column)


class _Shared:
    """What all graphs of a program have in common."""

    def __init__(self, model: checked.CheckedModel) -> None:
        self.model = model
        spec = model.input
        element: Element = "uint8" if spec.element == "uint8" else model.precision
        self.inputs: tuple[Value, ...] = (Value(spec.name, Type(element, ("B", spec.features))),)
        if model.target is not None:
            labels = model.target.kind == "class"
            target = Type(
                "int32" if labels else model.precision, ("B", 1 if labels else model.target.size)
            )
            self.inputs += (Value(model.target.name, target),)
        self.parameters: dict[str, Parameter] = {}
        self.constants: dict[str, Constant] = {}

    def parameter(self, name: str, layer: checked.Layer, *, bias: bool = False) -> Value:
        """The value of a layer's weight or bias."""
        if name not in self.parameters:
            start = layer.initialiser
            shape: tuple[Dim, Dim] = (layer.outputs, 1 if bias else layer.inputs)
            sparse = layer.sparse and not bias
            kind = Type(self.model.precision, shape, "csr" if sparse else "dense")
            self.parameters[name] = Parameter(
                Value(name, kind),
                layer.outputs if bias else layer.nnz,
                self.model.rules[0].label,
                ("uniform", 0.0, 0.0) if bias else (start.distribution, start.first, start.second),
            )
        return self.parameters[name].value

    def constant(self, owner: str, part: str, rows: int, numbers: tuple[float, ...]) -> Value:
        """A column of constants; equal ones of one name are one, in all graphs."""
        unique, number = f"{owner}.{part}", 2
        while True:
            constant = Constant(Value(unique, Type(self.model.precision, (rows, 1))), numbers)
            if self.constants.setdefault(unique, constant) == constant:
                return constant.value
            unique, number = f"{owner}.{number}.{part}", number + 1


class _Builder:
    """Builds one graph; each value of the checked model is computed once."""

    def __init__(self, shared: _Shared) -> None:
        self.shared = shared
        self.operations: list[Operation] = []
        self._done: dict[int, Value] = {}
        self._names: set[str] = {value.name for value in shared.inputs}
        self._loaded: dict[str, Value] = {}

    def load(self, array: Value) -> Value:
        """This batch's samples of a data array; loaded before anything is computed."""
        if array.name not in self._loaded:
            spec = self.shared.model.input
            target = self.shared.model.target
            if target is not None and array.name == target.name:
                origin = place(target.span)
            else:
                origin = place(spec.span)
            name, rows = f"{array.name}.batch", array.type.columns
            self._loaded[array.name] = self._emit(Load, name, rows, (origin,), array)
        return self._loaded[array.name]

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

    def accuracy(self) -> Value:
        """1 for each sample whose largest output is its label's; ties go to the lowest class."""
        output = self.value(self.shared.model.output)
        labels = self.load(self.shared.inputs[1])
        origin = (place(self.shared.model.output.span),)
        rows = output.type.rows
        top = self._reduce("max", output, origin, "output.top")
        one_if = apply("neg", Var("feature")), Number(-float(rows))
        at_top = apply("select", apply("eq", Var("a0"), Var("a1")), *one_if)
        position = self._map(at_top, (output, top), rows, origin, "position", "output.position")
        first = self._reduce("max", position, origin, "output.first")
        hit = apply("eq", apply("neg", Var("a0")), Var("a1"))
        one = apply("select", hit, Number(1.0), Number(0.0))
        return self._map(one, (first, labels), 1, origin, "hit", "accuracy")

    def _build(self, node: checked.Value) -> Value:
        done = self._done
        origin = (place(node.span),)
        match node:
            case checked.Input():
                return self.load(self.shared.inputs[0])
            case checked.Target():
                return self._target(node, origin)
            case checked.Linear(layer=layer, x=x):
                return self._linear(layer, done[id(x)], node.name, origin)
            case checked.Elementwise(expression=expression, operands=operands, label=label):
                values = tuple(done[id(operand)] for operand in operands)
                name = node.name or label
                return self._map(expression, values, node.width, origin, label, name)
            case checked.Normalize(x=x):
                return self._normalize(node, done[id(x)], origin)
            case checked.Reduce(kind=kind, x=x):
                return self._reduce(kind, done[id(x)], origin, node.name or kind)
            case checked.Softmax(x=x):
                name = node.name or "softmax"
                return self._emit(Softmax, name, node.width, origin, done[id(x)])
            case checked.LogSoftmax(x=x):
                name = node.name or "log_softmax"
                return self._emit(LogSoftmax, name, node.width, origin, done[id(x)])
        raise TypeError(f"cannot lower {type(node).__name__}")

    def _target(self, node: checked.Target, origin: tuple[Place, ...]) -> Value:
        spec = self.shared.model.target
        loaded = self.load(self.shared.inputs[1])
        if spec is None or spec.kind != "class":
            return loaded
        is_label = apply("eq", Var("a0"), Var("feature"))
        one_hot = apply("select", is_label, Number(1.0), Number(0.0))
        name = f"{spec.name}.onehot"
        return self._map(one_hot, (loaded,), node.width, origin, "onehot", name)

    def _linear(
        self, layer: checked.Layer, x: Value, name: str | None, origin: tuple[Place, ...]
    ) -> Value:
        weight = self.shared.parameter(f"{layer.name}.weight", layer)
        last = name or f"{layer.name}.linear"
        product_name = f"{layer.name}.product" if layer.bias else last
        product = self._emit(Product, product_name, layer.outputs, origin, weight, x)
        if not layer.bias:
            return product
        bias = self.shared.parameter(f"{layer.name}.bias", layer, bias=True)
        added = apply("add", Var("a0"), Var("a1"))
        return self._map(added, (product, bias), layer.outputs, origin, "linear", last)

    def _normalize(self, node: checked.Normalize, x: Value, origin: tuple[Place, ...]) -> Value:
        name = node.name or "normalize"
        operands = [x]
        parts: list[Expr] = []
        for kind, numbers in (("mean", node.mean), ("std", node.std)):
            if len(set(numbers)) == 1:
                parts.append(Number(numbers[0]))
            else:
                parts.append(Var(f"a{len(operands)}"))
                operands.append(self.shared.constant(name, kind, node.width, numbers))
        expression = apply("div", apply("sub", Var("a0"), parts[0]), parts[1])
        return self._map(expression, tuple(operands), node.width, origin, "normalize", name)

    def _map(
        self,
        expression: Expr,
        inputs: tuple[Value, ...],
        rows: int,
        origin: tuple[Place, ...],
        label: str,
        name: str,
    ) -> Value:
        result = self._fresh(name, rows)
        self.operations.append(Map((result,), origin, expression, inputs, label))
        return result

    def _reduce(
        self, kind: Literal["sum", "max"], x: Value, origin: tuple[Place, ...], name: str
    ) -> Value:
        result = self._fresh(name, 1)
        self.operations.append(Reduce((result,), origin, kind, "features", x))
        return result

    def _emit(
        self,
        operation: type[Operation],
        name: str,
        rows: int,
        origin: tuple[Place, ...],
        *operands: Value,
    ) -> Value:
        result = self._fresh(name, rows)
        self.operations.append(operation((result,), origin, *operands))
        return result

    def _fresh(self, name: str, rows: int) -> Value:
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}.{number}", number + 1
        self._names.add(unique)
        return Value(unique, Type(self.shared.model.precision, (rows, "B")))


def _parts(node: checked.Value) -> Sequence[checked.Value]:
    match node:
        case checked.Elementwise(operands=operands):
            return operands
        case (
            checked.Linear(x=x)
            | checked.Normalize(x=x)
            | checked.Reduce(x=x)
            | checked.Softmax(x=x)
            | checked.LogSoftmax(x=x)
        ):
            return (x,)
    return ()
