"""Kernels that work on each weight: gradients and updates."""

from __future__ import annotations

from collections.abc import Callable

from nerva_dsl.codegen.bodies import Body, results_of
from nerva_dsl.codegen.byte_kernels import conversion, stored
from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.featurewise import featurewise
from nerva_dsl.codegen.kernel_plan import Argument, Features, Piece
from nerva_dsl.codegen.making import (
    ROW_NAMES,
    Context,
    Made,
    applied,
    finish,
    label,
    mirrored,
    rates,
    update_lines,
)
from nerva_dsl.codegen.names import Names
from nerva_dsl.codegen.shuffles import shuffles
from nerva_dsl.ir.operations import (
    Group,
    Map,
    Reduce,
    RowSquares,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.types import Value
from nerva_dsl.passes.choose_kernels import MKL_PREFIX
from nerva_dsl.passes.join_sums import ROW_BY_ROW
from nerva_dsl.record import replace

# The same for what is done with a weight.
_WEIGHT_NAMES = frozenset(
    (
        *("g", "q", "dz", "x", "weight", "lr", "step", "rates", "gradient", "begin", "end"),
        *("panel", "mine", "first", "last", "next", "limit", "here", "i"),
        *("wide", "top", "tall", "turned", "left", "across", "sums", "sample", "stripe", "r", "k"),
        *("place", "found", "feature", "total", "tile", "strip", "part", "ends", "ahead", "span"),
        *("start", "row"),
    )
)


def weights(template: str) -> Callable[[Group, Context], Made]:
    """What is done with each weight: the gradient at it, elementwise operations, the update."""

    def make(group: Group, context: Context) -> Made:
        head = group.head
        names = Names(ROW_NAMES | _WEIGHT_NAMES)
        body = Body(context.memory, Statements(context.precision, names), "q")
        given: list[tuple[Argument, str]] = []
        each, rows = _by_weight_and_row(group)
        features: Features | None = None
        pieces: tuple[Piece, ...] = ()
        panels = False
        match head:
            case WeightGradient(weight=weight, dz=dz, x=x):
                x = stored(group, x)
                given.append((Argument("Array *", "weight"), context.memory.array(weight)))
                given += [context.memory.operand(dz, "dz"), context.memory.operand(x, "x")]
                if template in ROW_BY_ROW:
                    panel = _panel(weight, x, context)
                    pieces, panels = context.cutter.sparse(), panel < weight.type.columns
                    if panels:
                        given.append((Argument("int64_t", "panel"), str(panel)))
                elif not template.startswith(MKL_PREFIX):
                    wide = context.cutter.wide(weight.type.rows, weight.type.columns)
                    given.append((Argument("int64_t", "wide"), str(wide)))
                body.define(head.result, "g")
            case Map(result=result):
                given.append((Argument("Array *", "weight"), context.memory.array(result)))
            case Update(parameter=parameter):
                given.append((Argument("Array *", "weight"), context.memory.array(parameter)))
        rules = [operation.rule for operation in each.body if isinstance(operation, Update)]
        states = range(max((len(context.states[rule]) for rule in rules), default=0))
        lines, moves = _weight_lines(each, body, context)
        if rows is not None and isinstance(head, WeightGradient):
            sums = Body(context.memory, Statements(context.precision, names), "column", start="")
            sums.keep(head.dz, "here[column]")
            features = featurewise(rows, sums, update_lines(context))
            given += zip(sums.arguments, sums.actual, strict=True)
        return finish(
            template,
            group,
            [*given, *rates(group, context)],
            body,
            declarations=tuple(body.row_lines),
            features=features,
            lines=lines,
            moves=moves,
            touched=(
                *["value"] * bool(rules),
                *(f"state[{state}]" for state in states),
                *["position"] * bool(moves),
            ),
            label=label(group),
            pieces=pieces,
            panels=panels,
            conversion=conversion(group, context),
        )

    return make


def _by_weight_and_row(group: Group) -> tuple[Group, Group | None]:
    """What a group does with each weight, and what with the rows of dz: the sums that joined it."""
    first = next((i for i, part in enumerate(group.body) if isinstance(part, Reduce)), None)
    if first is None:
        return group, None
    each, rows = (
        replace(
            group,
            results=tuple(v for part in body for v in part.results if v in group.results),
            body=body,
        )
        for body in (group.body[:first], group.body[first:])
    )
    return each, rows


def _panel(weight: Value, x: Value, context: Context) -> int:
    """How many columns a weight gradient goes through at once."""
    nnz = context.numbers[context.memory.array(weight)]
    block = shuffles(context.cutter.tiling.lanes).block
    bytes_ = x.type.element == "uint8"
    return context.cutter.gradient_panel(weight.type.rows, nnz, weight.type.columns, block, bytes_)


def _weight_lines(
    group: Group, body: Body, context: Context
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is done with a weight at `q`: what stays at its place, and what goes elsewhere."""
    stored = results_of(group)
    tail: list[str] = []
    moves: list[str] = []
    for part in group.elementwise:
        body.compute(part)
    for operation in group.body:
        if isinstance(operation, Update):
            gradient = body.read(operation.gradient)
            tail += applied(context, operation, "weight", "q", gradient)
            moves += mirrored(context, operation, "weight", "q")
        for value in operation.results:
            if value.name in stored:
                target = body.target(value, "gradient" if operation is group.head else "result")
                tail.append(f"{target}[q] = {body.read(value)};")
                if value.name in context.by_columns:
                    place = f"{context.by_columns[value.name]} + weight->position[q]"
                    moves.append(f"{target}[{place}] = {target}[q];")
    return (*body.statements.lines(), *tail), tuple(moves)


def row_squares(group: Group, context: Context) -> Made:
    """The squares of the gradients in each row of a weight, summed up."""
    head = group.body[0]
    if not isinstance(head, RowSquares):
        raise TypeError("row_squares begins with squares")
    given = [
        (Argument("const Array *", "weight"), context.memory.array(head.x)),
        (Argument("const real *restrict", "x"), context.memory.address(head.x)),
        (Argument("real *restrict", "squares"), context.memory.address(head.result)),
    ]
    return finish("row_squares", group, given)
