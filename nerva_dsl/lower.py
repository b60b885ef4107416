"""Lowering: the checked model becomes graphs of the IR.

Before: a checked model. After: a program with forward graphs: `predict` gives the output,
`evaluate` the loss, the accuracy and the metrics of each sample, and `step` the loss as a training
step sees it, with the running statistics that it changes; differentiation completes `step`. A model
with dropout has a graph `masks`, which gives those of the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from nerva_dsl import model as checked
from nerva_dsl.ir.operations import (
    Bernoulli,
    Concat,
    Load,
    LogSoftmax,
    Map,
    Operation,
    Product,
    Reduce,
    Slice,
    Softmax,
    Standardize,
    Update,
)
from nerva_dsl.ir.program import Constant, Graph, Parameter, Program, Rule
from nerva_dsl.ir.types import Dim, Element, Place, Type, Value
from nerva_dsl.scalar import Expr, Number, Var, apply, substitute, variables
from nerva_dsl.source import Span


def lower(model: checked.CheckedModel) -> Program:
    """The program of a checked model."""
    shared = _Shared(model)
    graphs = [_predict(shared), _evaluate(shared), *_step(shared)]
    return Program(
        name=model.name,
        precision=model.precision,
        batch=model.batch,
        inputs=shared.inputs,
        parameters=tuple(
            shared.parameters[name] for name in model.parameters if name in shared.parameters
        ),
        constants=tuple(shared.constants.values()),
        rules=tuple(shared.rules.values()),
        schedule=model.schedule,
        graphs=tuple(graphs),
        clip_norm=model.clip_norm,
        confusions=tuple(
            (metric.name, metric.value.width)
            for metric in model.metrics
            if metric.kind == "confusion_matrix"
        ),
    )


def _predict(shared: _Shared) -> Graph:
    builder = _Builder(shared)
    builder.load(shared.inputs[0])
    return builder.graph("predict", [("output", builder.value(shared.model.output))])


def _evaluate(shared: _Shared) -> Graph:
    builder, model = _Builder(shared), shared.model
    for array in shared.inputs:
        builder.load(array)
    results = {"loss": builder.value(model.loss)}
    if measures_accuracy(model):
        results["accuracy"] = builder.accuracy()
    results |= {metric.name: builder.metric(metric) for metric in model.metrics}
    return builder.graph("evaluate", list(results.items()))


def _step(shared: _Shared) -> tuple[Graph, ...]:
    builder, model = _Builder(shared, training=True), shared.model
    for array in shared.inputs:
        builder.load(array)
    results = [("loss", builder.value(model.loss))]
    if measures_accuracy(model):
        results.append(("accuracy", builder.accuracy()))
    step = builder.graph("step", results)
    masks = builder.masks
    if not masks:
        return (step,)
    operations = tuple(op for op in step.operations if isinstance(op, Bernoulli))
    return step, Graph("masks", operations, tuple(masks.items()))


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
        self.rules: dict[str, Rule] = {}

    def weight(self, layer: checked.Layer) -> Value:
        """The weight of a layer."""
        start = layer.initialiser
        kind = Type(
            self.model.precision,
            (layer.outputs, layer.inputs),
            "csr" if layer.sparse else "dense",
        )
        rule = self._rule(layer.rule, decay=self.model.weight_decay)
        initial = (start.distribution, start.first, start.second)
        return self._parameter(f"{layer.name}.weight", kind, layer.nnz, rule, initial)

    def vector(self, name: str, rows: int, initial: float, rule: str = "") -> Value:
        """A column of numbers that all begin with the same value."""
        kind = Type(self.model.precision, (rows, 1))
        rule = self._rule(rule) if rule in ("", *self._labels) else rule
        return self._parameter(name, kind, rows, rule, ("uniform", initial, initial))

    def running_average(self, momentum: float) -> str:
        """The rule by which running statistics follow those of the batches."""
        name, number = "running_average", 2
        new, old = apply("mul", Number(momentum), Var("g")), Number(1 - momentum)
        rule = Rule(name, (), (("w", apply("add", apply("mul", old, Var("w")), new)),))
        while self.rules.get(name, rule) != rule or name in self._labels:
            name, number = f"running_average_{number}", number + 1
            rule = Rule(name, (), rule.assignments)
        self.rules[name] = rule
        return name

    @property
    def _labels(self) -> set[str]:
        return {rule.label for rule in self.model.rules}

    def _rule(self, label: str, decay: float = 0.0) -> str:
        """The name of an optimizer's rule, the one with weight decay if there is some."""
        chosen = next(
            (rule for rule in self.model.rules if rule.label == label), self.model.rules[0]
        )
        name, assignments = chosen.label, chosen.assignments
        if decay:
            name, number = f"{chosen.label}_with_decay", 2
            while name in self._labels:
                name, number = f"{chosen.label}_with_decay_{number}", number + 1
            assignments = _decayed(assignments, decay)
        self.rules[name] = Rule(name, chosen.states, assignments)
        return name

    def _parameter(
        self,
        name: str,
        kind: Type,
        nnz: int,
        rule: str,
        initial: tuple[Literal["uniform", "normal"], float, float],
    ) -> Value:
        if name not in self.parameters:
            self.parameters[name] = Parameter(Value(name, kind), nnz, rule, initial)
        return self.parameters[name].value

    def constant(self, owner: str, part: str, rows: int, numbers: tuple[float, ...]) -> Value:
        """A column of constants; equal ones of one name are one, in all graphs."""
        unique, number = f"{owner}.{part}", 2
        while True:
            constant = Constant(Value(unique, Type(self.model.precision, (rows, 1))), numbers)
            if self.constants.setdefault(unique, constant) == constant:
                return constant.value
            unique, number = f"{owner}.{number}.{part}", number + 1


def _decayed(
    assignments: tuple[tuple[str, Expr], ...], decay: float
) -> tuple[tuple[str, Expr], ...]:
    """An optimizer's assignments with `decay * w` added to the gradient: PyTorch's SGD."""
    taken = {name for target, value in assignments for name in (target, *variables(value))}
    name, number = "decayed", 2
    while name in taken:
        name, number = f"decayed_{number}", number + 1
    gradient = apply("add", Var("g"), apply("mul", Number(decay), Var("w")))
    rest = tuple((to, substitute(value, {"g": Var(name)})) for to, value in assignments)
    return ((name, gradient), *rest)


class _Builder:
    """Builds one graph; each value of the checked model is computed once.

    Attributes:
        training: whether the graph is of a training step: batch normalisation then takes the
            statistics of the batch, and dropout drops.
        masks: of dropout, by the names under which they are exported.
    """

    def __init__(self, shared: _Shared, *, training: bool = False) -> None:
        self.shared = shared
        self.training = training
        self.operations: list[Operation] = []
        self.masks: dict[str, Value] = {}
        self._masked: list[Operation] = []  # before all others, since masks depend on nothing
        self._running: list[Operation] = []  # after all others
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

    def graph(self, name: str, results: list[tuple[str, Value]]) -> Graph:
        """The graph with these results."""
        operations = (*self._masked, *self.operations, *self._running)
        return Graph(name, operations, tuple(results))

    def metric(self, metric: checked.Metric) -> Value:
        """What is measured of each sample."""
        value = self.value(metric.value)
        match metric.kind:
            case "top_k":
                return self._top(value, metric)
            case "confusion_matrix":
                return self._cell(value, metric)
        return value

    def accuracy(self) -> Value:
        """1 for each sample whose largest output is its label's; ties go to the lowest class."""
        output = self.value(self.shared.model.output)
        labels = self.load(self.shared.inputs[1])
        origin = (place(self.shared.model.output.span),)
        first = self._first(output, origin, "output")
        hit = apply("eq", apply("neg", Var("a0")), Var("a1"))
        one = apply("select", hit, Number(1.0), Number(0.0))
        return self._map(one, (first, labels), 1, origin, "hit", "accuracy")

    def _first(self, value: Value, origin: tuple[Place, ...], name: str) -> Value:
        """Minus the position of the largest feature, the lowest of equal ones."""
        rows = value.type.rows
        top = self._reduce("max", value, origin, f"{name}.top")
        one_if = apply("neg", Var("feature")), Number(-float(rows))
        at_top = apply("select", apply("eq", Var("a0"), Var("a1")), *one_if)
        position = self._map(at_top, (value, top), rows, origin, "position", f"{name}.position")
        return self._reduce("max", position, origin, f"{name}.first")

    def _top(self, value: Value, metric: checked.Metric) -> Value:
        """1 for each sample with fewer than k features before its label's."""
        labels = self.load(self.shared.inputs[1])
        origin, rows = (place(metric.span),), value.type.rows
        is_label = apply("eq", Var("a1"), Var("feature"))
        own = apply("select", is_label, Var("a0"), Number(0.0))
        chosen = self._map(own, (value, labels), rows, origin, "own", f"{metric.name}.own")
        score = self._reduce("sum", chosen, origin, f"{metric.name}.score")
        tie = apply(
            "and", apply("eq", Var("a0"), Var("a2")), apply("lt", Var("feature"), Var("a1"))
        )
        ahead = apply("or", apply("gt", Var("a0"), Var("a2")), tie)
        one = apply("select", ahead, Number(1.0), Number(0.0))
        operands = (value, labels, score)
        before = self._map(one, operands, rows, origin, "ahead", f"{metric.name}.ahead")
        rank = self._reduce("sum", before, origin, f"{metric.name}.rank")
        among = apply("lt", Var("a0"), Number(float(metric.k)))
        hit = apply("select", among, Number(1.0), Number(0.0))
        return self._map(hit, (rank,), 1, origin, "hit", metric.name)

    def _cell(self, value: Value, metric: checked.Metric) -> Value:
        """The cell of the confusion matrix that each sample counts in: label · K + class."""
        labels = self.load(self.shared.inputs[1])
        origin = (place(metric.span),)
        first = self._first(value, origin, metric.name)
        row = apply("mul", Var("a0"), Number(float(value.type.rows)))
        cell = apply("sub", row, Var("a1"))
        return self._map(cell, (labels, first), 1, origin, "cell", metric.name)

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
            case checked.Learned(parameter=name, initial=initial):
                return self.shared.vector(name, 1, initial)
            case checked.BatchNorm(x=x):
                return self._batch_norm(node, done[id(x)], origin)
            case checked.Dropout(x=x, rate=rate):
                return self._dropout(done[id(x)], rate, node.name or "dropout", origin)
            case checked.Concat(parts=parts):
                result = self._fresh(node.name or "concat", node.width)
                values = tuple(done[id(part)] for part in parts)
                self.operations.append(Concat((result,), origin, values))
                return result
            case checked.Slice(x=x, begin=begin):
                result = self._fresh(node.name or "slice", node.width)
                self.operations.append(Slice((result,), origin, done[id(x)], begin))
                return result
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
        weight = self.shared.weight(layer)
        if self.training and layer.drop_connect:
            weight = self._drop_connect(weight, layer, origin)
        last = name or f"{layer.name}.linear"
        product_name = f"{layer.name}.product" if layer.bias else last
        product = self._emit(Product, product_name, layer.outputs, origin, weight, x)
        if not layer.bias:
            return product
        bias = self.shared.vector(f"{layer.name}.bias", layer.outputs, 0.0, layer.rule)
        added = apply("add", Var("a0"), Var("a1"))
        return self._map(added, (product, bias), layer.outputs, origin, "linear", last)

    def _batch_norm(self, node: checked.BatchNorm, x: Value, origin: tuple[Place, ...]) -> Value:
        """Ioffe & Szegedy 2015, with PyTorch's running statistics."""
        rows, name = node.width, node.name or f"{node.prefix}.norm"
        rule = self.shared.running_average(node.momentum)
        gamma = self.shared.vector(f"{node.prefix}.gamma", rows, 1.0)
        beta = self.shared.vector(f"{node.prefix}.beta", rows, 0.0)
        running = [
            self.shared.vector(f"{node.prefix}.running_{part}", rows, initial, rule)
            for part, initial in (("mean", 0.0), ("var", 1.0))
        ]
        a, b, c = (Var(f"a{i}") for i in range(3))
        if not self.training:
            variance = apply("add", c, Number(node.epsilon))
            standard = apply("div", apply("sub", a, b), apply("sqrt", variance))
            operands = (x, *running)
            normal = self._map(standard, operands, rows, origin, "standardize", f"{name}.standard")
        else:
            mean, variance_of = self._statistics(x, node.prefix, running, origin)
            normal = self._fresh(f"{name}.standard", rows)
            self.operations.append(
                Standardize((normal,), origin, x, mean, variance_of, node.epsilon)
            )
        scaled = apply("add", apply("mul", a, b), c)
        return self._map(scaled, (normal, gamma, beta), rows, origin, "batch_norm", name)

    def _statistics(
        self, x: Value, prefix: str, running: list[Value], origin: tuple[Place, ...]
    ) -> tuple[Value, Value]:
        """Mean and variance over the batch; the running ones follow, the variance unbiased."""
        rows, count = x.type.rows, Var("count")
        column: tuple[Dim, Dim] = (rows, 1)
        total = self._reduce("sum", x, origin, f"{prefix}.sum", axis="batch")
        mean = self._map(
            apply("div", Var("a0"), count), (total,), column, origin, "mean", f"{prefix}.mean"
        )
        distance = apply("sub", Var("a0"), Var("a1"))
        square = apply("mul", distance, distance)
        squares = self._map(square, (x, mean), rows, origin, "square", f"{prefix}.squares")
        spread = self._reduce("sum", squares, origin, f"{prefix}.spread", axis="batch")
        variances = []
        for divisor, label in ((count, "var"), (apply("sub", count, Number(1.0)), "unbiased")):
            divided = apply("div", Var("a0"), divisor)
            name = f"{prefix}.{label}"
            variances.append(self._map(divided, (spread,), column, origin, label, name))
        for parameter, value in zip(running, (mean, variances[1]), strict=True):
            rule = self.shared.parameters[parameter.name].rule
            self._running.append(Update((), origin, parameter, value, rule))
        return mean, variances[0]

    def _dropout(self, x: Value, rate: float, name: str, origin: tuple[Place, ...]) -> Value:
        if not (self.training and rate):
            return x
        mask = self._bernoulli(self._fresh(f"{name}.mask", x.type.rows), rate, None, origin)
        kept = apply("mul", Var("a0"), Var("a1"))
        result = self._map(kept, (x, mask), x.type.rows, origin, "dropout", name)
        self.masks[result.name] = mask
        return result

    def _drop_connect(
        self, weight: Value, layer: checked.Layer, origin: tuple[Place, ...]
    ) -> Value:
        mask, dropped = (Value(f"{layer.name}.{part}", weight.type) for part in ("mask", "dropped"))
        self._bernoulli(mask, layer.drop_connect, weight, origin)
        self.masks[weight.name] = mask
        kept = apply("mul", Var("a0"), Var("a1"))
        self.operations.append(Map((dropped,), origin, kept, (weight, mask), "drop_connect"))
        return dropped

    def _bernoulli(
        self, mask: Value, rate: float, like: Value | None, origin: tuple[Place, ...]
    ) -> Value:
        self._masked.append(Bernoulli((mask,), origin, 1 - rate, len(self._masked), like))
        return mask

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
        shape: int | tuple[Dim, Dim],
        origin: tuple[Place, ...],
        label: str,
        name: str,
    ) -> Value:
        result = self._fresh(name, shape)
        self.operations.append(Map((result,), origin, expression, inputs, label))
        return result

    def _reduce(
        self,
        kind: Literal["sum", "max"],
        x: Value,
        origin: tuple[Place, ...],
        name: str,
        axis: Literal["features", "batch"] = "features",
    ) -> Value:
        result = self._fresh(name, 1 if axis == "features" else (x.type.rows, 1))
        self.operations.append(Reduce((result,), origin, kind, axis, x))
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

    def _fresh(self, name: str, shape: int | tuple[Dim, Dim]) -> Value:
        """A value of a name of its own; a number of rows stands for `[rows, B]`."""
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}.{number}", number + 1
        self._names.add(unique)
        shape = (shape, "B") if isinstance(shape, int) else shape
        return Value(unique, Type(self.shared.model.precision, shape))


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
