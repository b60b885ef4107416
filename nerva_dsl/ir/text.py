"""The IR as text; `parse.py` reads it back to an equal program."""

from __future__ import annotations

from collections.abc import Iterator

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
from nerva_dsl.ir.program import Graph, Program, Regrow
from nerva_dsl.ir.types import Value
from nerva_dsl.scalar.text import number_text, to_text


def print_program(program: Program) -> str:
    """The whole program, a line an operation, with the places they came from."""
    return "\n".join(_program(program)) + "\n"


def _program(program: Program) -> Iterator[str]:
    yield f"program {program.name} {program.precision} batch {program.batch} arena {program.arena}"
    yield ""
    for value in program.inputs:
        yield f"input {value}: {value.type}"
    for parameter in program.parameters:
        distribution, first, second = parameter.initial
        yield (
            f"parameter {parameter.value}: {parameter.value.type} nnz {parameter.nnz} "
            f"rule {parameter.rule} "
            f"initial {distribution}({number_text(first)}, {number_text(second)})"
        )
    for constant in program.constants:
        numbers = ", ".join(map(number_text, constant.numbers))
        yield f"constant {constant.value}: {constant.value.type} = [{numbers}]"
    for rule in program.rules:
        yield ""
        yield f"rule {rule.name} {{"
        for name, initial in rule.states:
            yield f"  state {name} = {number_text(initial)}"
        for name, expression in rule.assignments:
            yield f"  {name} = {to_text(expression)}"
        yield "}"
    yield ""
    yield f"schedule {to_text(program.schedule)}"
    if program.clip_norm is not None:
        yield f"clip {number_text(program.clip_norm)}"
    for name, classes in program.confusions:
        yield f"confusion {name} classes {classes}"
    if program.regrow is not None:
        yield from _regrow(program.regrow)
    for graph in program.graphs:
        yield ""
        yield from _graph(graph)


def _regrow(regrow: Regrow) -> Iterator[str]:
    yield (
        f"regrow every {regrow.every} {regrow.unit} until {number_text(regrow.until)} "
        f"prune {regrow.prune} {{ {to_text(regrow.amount)} }} grow {regrow.grow} {{"
    )
    for growing in regrow.weights:
        distribution, first, second = growing.initial
        average = f" average {growing.average}" if growing.average else ""
        yield (
            f"  {growing.weight} initial {distribution}"
            f"({number_text(first)}, {number_text(second)}){average}"
        )
    yield "}"


def _graph(graph: Graph) -> Iterator[str]:
    yield f"graph {graph.name} {{"
    for operation in graph.operations:
        yield from ("  " + line for line in _operation(operation))
    for name, value in graph.results:
        yield f"  result {name} = {value}"
    for buffer in graph.buffers:
        yield f"  buffer {buffer.value} at {buffer.offset} size {buffer.size}"
    yield "}"


def _operation(operation: Operation) -> Iterator[str]:
    origin = "".join(f" @ {place}" for place in operation.origin)
    results = ", ".join(f"{value}: {value.type}" for value in operation.results)
    head = f"{results} = " if results else ""
    if isinstance(operation, Group):
        kernel = f" kernel {operation.kernel}" if operation.kernel else ""
        reason = f' because "{operation.reason}"' if operation.reason else ""
        phase = f" phase {operation.phase}" if operation.phase >= 0 else ""
        yield f"{head}group{kernel}{reason}{phase} {{"
        for part in operation.body:
            yield from ("  " + line for line in _operation(part))
        yield "}" + origin
    else:
        yield head + body_text(operation) + origin


def body_text(operation: Operation) -> str:
    """What an operation that is no group computes, without its results and places."""
    match operation:
        case Load(array=array):
            return f"load({array})"
        case Map(expression=expression, inputs=inputs, label=label):
            return f"map {label}({_names(inputs)}) {{ {to_text(expression)} }}"
        case Product(weight=weight, x=x):
            return f"product({weight}, {x})"
        case TransposedProduct(weight=weight, dz=dz):
            return f"transposed_product({weight}, {dz})"
        case WeightGradient(weight=weight, dz=dz, x=x):
            return f"weight_gradient({weight}, {dz}, {x})"
        case DenseGradient(weight=weight, dz=dz, x=x):
            return f"dense_gradient({weight}, {dz}, {x})"
        case Reduce(kind=kind, axis=axis, x=x):
            return f"reduce {kind} {axis}({x})"
        case RowSquares(x=x):
            return f"row_squares({x})"
        case Standardize(x=x, mean=mean, variance=variance, epsilon=epsilon):
            return f"standardize {number_text(epsilon)}({x}, {mean}, {variance})"
        case Bernoulli(keep=keep, stream=stream, like=like):
            pattern = "" if like is None else str(like)
            return f"bernoulli {number_text(keep)} stream {stream}({pattern})"
        case Concat(parts=parts):
            return f"concat({_names(parts)})"
        case Slice(x=x, begin=begin):
            return f"slice {begin}({x})"
        case Softmax(x=x):
            return f"softmax({x})"
        case LogSoftmax(x=x):
            return f"log_softmax({x})"
        case Update(parameter=parameter, gradient=gradient, rule=rule):
            return f"update {rule}({parameter}, {gradient})"
    raise TypeError(f"no text for {type(operation).__name__}")


def _names(values: tuple[Value, ...]) -> str:
    return ", ".join(map(str, values))
