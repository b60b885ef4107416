"""Reading the IR's text form back."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token, Tree, UnexpectedInput

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
from nerva_dsl.ir.program import (
    Buffer,
    Constant,
    Graph,
    Growing,
    Parameter,
    Program,
    Regrow,
    Rule,
)
from nerva_dsl.ir.types import Dim, Layout, Place, Type, Value
from nerva_dsl.scalar import Expr, Number, Var, apply

_SIMPLE: dict[str, type[Operation]] = {
    "load": Load,
    "product": Product,
    "transposed_product": TransposedProduct,
    "weight_gradient": WeightGradient,
    "dense_gradient": DenseGradient,
    "row_squares": RowSquares,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}
_BINARY = {"add", "sub", "mul", "div", "pow", "and", "or"}
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}


@cache
def _grammar() -> Lark:
    return Lark(
        (Path(__file__).parent / "ir.lark").read_text(encoding="utf-8"),
        parser="lalr",
        start="program",
    )


def parse_program(text: str) -> Program:
    """The program that `print_program` wrote.

    Raises:
        ValueError: the text is no program.
    """
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        raise ValueError(f"not the text of a program: {error}") from None
    return _Reader().program(tree)


class _Reader:
    """Builds the nodes; knows the values declared so far by name."""

    def __init__(self) -> None:
        self._outer: dict[str, Value] = {}
        self._values: dict[str, Value] = {}

    def program(self, tree: Tree[Token]) -> Program:
        name, precision, batch, arena, *rest = tree.children
        inputs: list[Value] = []
        parameters: list[Parameter] = []
        constants: list[Constant] = []
        rules: list[Rule] = []
        graphs: list[Graph] = []
        schedule: Expr = Number(0.0)
        clip_norm: float | None = None
        confusions: list[tuple[str, int]] = []
        regrow: Regrow | None = None
        for item in cast("list[Tree[Token]]", rest):
            match item.data:
                case "input":
                    inputs.append(self._declare(item.children[0], self._outer))
                case "parameter":
                    parameters.append(self._parameter(item))
                case "constant":
                    declared, *numbers = item.children
                    value = self._declare(declared, self._outer)
                    constants.append(Constant(value, tuple(map(_number, numbers))))
                case "rule":
                    rules.append(_rule(item))
                case "schedule":
                    schedule = _expression(item.children[0])
                case "clip":
                    clip_norm = _number(item.children[0])
                case "confusion":
                    label, classes = item.children
                    confusions.append((str(label), int(str(classes))))
                case "regrow":
                    regrow = _regrow(item)
                case "graph":
                    graphs.append(self._graph(item))
        return Program(
            name=str(name),
            precision=cast("Any", str(precision)),
            batch=int(str(batch)),
            inputs=tuple(inputs),
            parameters=tuple(parameters),
            constants=tuple(constants),
            rules=tuple(rules),
            schedule=schedule,
            graphs=tuple(graphs),
            clip_norm=clip_norm,
            confusions=tuple(confusions),
            regrow=regrow,
            arena=int(str(arena)),
        )

    def _declare(self, tree: Any, scope: dict[str, Value]) -> Value:
        name, declared_type = tree.children
        value = Value(str(name)[1:], _type(declared_type))
        scope[value.name] = value
        return value

    def _value(self, token: Any) -> Value:
        name = str(token)[1:]
        value = self._values.get(name) or self._outer.get(name)
        if value is None:
            raise ValueError(f"not the text of a program: %{name} is used before it is defined")
        return value

    def _parameter(self, tree: Tree[Token]) -> Parameter:
        declared, nnz, rule, distribution, first, second = tree.children
        return Parameter(
            self._declare(declared, self._outer),
            int(str(nnz)),
            str(rule),
            (cast("Any", str(distribution)), _number(first), _number(second)),
        )

    def _graph(self, tree: Tree[Token]) -> Graph:
        self._values = {}
        name, *rest = tree.children
        operations: list[Operation] = []
        results: list[tuple[str, Value]] = []
        buffers: list[Buffer] = []
        for item in cast("list[Tree[Token]]", rest):
            match item.data:
                case "result":
                    results.append((str(item.children[0]), self._value(item.children[1])))
                case "buffer":
                    token, offset, size = item.children
                    buffers.append(Buffer(self._value(token), int(str(offset)), int(str(size))))
                case _:
                    operations.append(self._operation(item))
        return Graph(str(name), tuple(operations), tuple(results), tuple(buffers))

    def _operation(self, tree: Tree[Token]) -> Operation:
        parts = [cast("Tree[Token]", child) for child in tree.children if child is not None]
        origin = tuple(_place(part) for part in parts if part.data == "place")
        parts = [part for part in parts if part.data != "place"]
        results: tuple[Value, ...] = ()
        if parts[0].data == "results":
            results = tuple(self._declare(item, self._values) for item in parts.pop(0).children)
        if tree.data == "group":
            options = {str(p.data): p.children[0] for p in parts if p.data in _GROUP_OPTIONS}
            body = tuple(self._operation(p) for p in parts if p.data in ("operation", "group"))
            return Group(
                results,
                origin,
                body,
                kernel=str(options.get("kernel", "")),
                reason=str(options.get("reason", "")).strip('"'),
                phase=int(str(options.get("phase", -1))),
            )
        (body_tree,) = parts
        return self._body(str(body_tree.data), body_tree.children, results, origin)

    def _body(
        self, kind: str, parts: list[Any], results: tuple[Value, ...], origin: tuple[Place, ...]
    ) -> Operation:
        match kind:
            case "map":
                label, *inputs, expression = parts
                values = tuple(map(self._value, inputs))
                return Map(results, origin, _expression(expression), values, str(label))
            case "reduce":
                reduction, axis, x = parts
                kinds = cast("tuple[Any, Any]", (str(reduction), str(axis)))
                return Reduce(results, origin, *kinds, self._value(x))
            case "standardize":
                epsilon, *inputs = parts
                x, mean, variance = map(self._value, inputs)
                return Standardize(results, origin, x, mean, variance, _number(epsilon))
            case "bernoulli":
                keep, stream, *like = parts
                pattern = self._value(like[0]) if like and like[0] is not None else None
                return Bernoulli(results, origin, _number(keep), int(str(stream)), pattern)
            case "concat":
                return Concat(results, origin, tuple(map(self._value, parts)))
            case "slice":
                begin, x = parts
                return Slice(results, origin, self._value(x), int(str(begin)))
            case "update":
                rule, parameter, gradient = parts
                return Update(
                    results, origin, self._value(parameter), self._value(gradient), str(rule)
                )
        return _SIMPLE[kind](results, origin, *map(self._value, parts))


_GROUP_OPTIONS = ("kernel", "reason", "phase")


def _place(tree: Tree[Token]) -> Place:
    file, line, column = str(tree.children[0]).rsplit(":", 2)
    return Place(file, int(line), int(column))


def _type(tree: Tree[Token]) -> Type:
    element, rows, columns, *rest = tree.children
    format_: Any = "dense"
    layout = None
    for item in rest:
        if isinstance(item, Tree):
            order, stride = item.children
            layout = Layout(cast("Any", str(order)), int(str(stride)))
        elif item is not None:
            format_ = str(item)
    return Type(cast("Any", str(element)), (_dim(rows), _dim(columns)), format_, layout)


def _dim(token: object) -> Dim:
    return "B" if str(token) == "B" else int(str(token))


def _number(tree: Any) -> float:
    *sign, digits = (str(child) for child in tree.children if child is not None)
    return -float(digits) if sign else float(digits)


def _rule(tree: Tree[Token]) -> Rule:
    name, *rest = tree.children
    items = cast("list[Tree[Token]]", rest)
    states = tuple((str(i.children[0]), _number(i.children[1])) for i in items if i.data == "state")
    assignments = tuple(
        (str(i.children[0]), _expression(i.children[1])) for i in items if i.data == "assignment"
    )
    return Rule(str(name), states, assignments)


def _regrow(tree: Tree[Token]) -> Regrow:
    every, unit, until, prune, amount, grow, *weights = tree.children
    return Regrow(
        every=int(str(every)),
        unit=cast("Any", str(unit)),
        prune=cast("Any", str(prune)),
        amount=_expression(amount),
        grow=cast("Any", str(grow)),
        until=_number(until),
        weights=tuple(map(_growing, weights)),
    )


def _growing(tree: Any) -> Growing:
    weight, distribution, first, second, average = tree.children
    initial = (cast("Any", str(distribution)), _number(first), _number(second))
    return Growing(str(weight), initial, "" if average is None else str(average))


def _expression(tree: Any) -> Expr:
    parts = tree.children
    match str(tree.data):
        case "literal":
            return Number(float(parts[0]))
        case "variable":
            return Var(str(parts[0]))
        case "enclosed":
            return _expression(parts[0])
        case "neg" if parts[1].data == "literal":
            return Number(-float(parts[1].children[0]))
        case "neg":
            return apply("neg", _expression(parts[1]))
        case "not":
            return apply("not", _expression(parts[0]))
        case "select":
            return apply("select", *map(_expression, parts))
        case "sub":
            return apply("sub", _expression(parts[0]), _expression(parts[2]))
        case "compare":
            left, symbol, right = parts
            return apply(_COMPARISONS[str(symbol)], _expression(left), _expression(right))
        case "call":
            name, *arguments = parts
            return apply(str(name), *map(_expression, arguments))
        case operator if operator in _BINARY:
            return apply(operator, *map(_expression, parts))
    raise ValueError(f"not the text of a program: {tree.data}")
