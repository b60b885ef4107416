"""From a scheduled program to the kernel plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate

from nerva_dsl.codegen.bodies import Memory
from nerva_dsl.codegen.c_expression import c_expression, helpers, number, vectorized
from nerva_dsl.codegen.kernel_plan import Call, Piece
from nerva_dsl.codegen.kernels import make_kernel
from nerva_dsl.codegen.library import Library
from nerva_dsl.codegen.making import Context
from nerva_dsl.codegen.names import Names
from nerva_dsl.codegen.plan import Array, Count, Entry, Mask, Plan, Table, Watch
from nerva_dsl.codegen.rates import reads_rates, with_rates
from nerva_dsl.codegen.regrowing import regrow_plan
from nerva_dsl.codegen.schedules import schedule_code
from nerva_dsl.codegen.shuffles import shuffles
from nerva_dsl.codegen.tiles import (
    ACROSS,
    GROUP,
    SAMPLES,
    STRIP,
    UPDATED,
    Cutter,
)
from nerva_dsl.codegen.updates import update_function
from nerva_dsl.codegen.vector_math import functions
from nerva_dsl.costs import costs_of
from nerva_dsl.ir.operations import Group, Map, Product, TransposedProduct, each_operation
from nerva_dsl.ir.patterns import patterns
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.types import Place, Value
from nerva_dsl.ir.verify import lifetimes
from nerva_dsl.kernel_costs import works
from nerva_dsl.machine import Machine
from nerva_dsl.passes.join_sums import ROW_BY_ROW
from nerva_dsl.passes.one_sample import GRAPH as ONE_SAMPLE
from nerva_dsl.scalar import Expr, variables
from nerva_dsl.tiling import DEPTH, GRADIENT_VECTORS, JAM, SUM_REGISTERS, tiling
from nerva_dsl.unread import BLOCK, readers


def make_plan(
    program: Program,
    *,
    machine: Machine,
    source_lines: Mapping[Place, str],
    measured: bool = False,
) -> Plan:
    """The plan of a program that has been through all passes.

    Args:
        program: scheduled, with buffers.
        machine: that runs it.
        source_lines: the line of the source that stands at a place, for comments.
        measured: whether the training step tells how long each kernel takes.
    """
    rates, program = with_rates(program)
    cut = tiling(program.batch, program.precision, machine.vector_bytes)
    names = Names()
    updates = {rule.name: names.fresh(f"update_{rule.name}") for rule in program.rules}
    columns = {c.value.name: names.fresh(c.value.name) for c in program.constants}
    arrays = _arrays(program, names)
    constants = {array.name: array.constant for array in arrays}
    tables = {
        c.value.name: (columns[c.value.name], c.value.type.rows // len(c.numbers))
        for c in program.constants
    }
    cutter = Cutter(costs_of(program, machine))
    library = Library(source_lines, names)
    growing_weights = program.regrow.weights if program.regrow is not None else ()
    sparsely = {graph.name: _sparsely_read(program, graph) for graph in program.graphs}
    found = [pair for pairs in sparsely.values() for pair in pairs]
    entries = []
    for graph in program.graphs:
        offsets = {buffer.value.name: buffer.offset for buffer in graph.buffers}
        context = Context(
            precision=program.precision,
            memory=Memory(
                offsets,
                constants,
                tables,
                results=_gradient_results(program, graph),
                weights={name: weight.name for name, weight in patterns(program, graph).items()},
            ),
            data={v.name: member for v, member in zip(program.inputs, "xt", strict=False)},
            updates=updates,
            rated=frozenset(rule.name for rule in program.rules if reads_rates(rule)),
            states={rule.name: tuple(n for n, _ in rule.states) for rule in program.rules},
            mirrored=frozenset(array.name for array in arrays if array.mirrored),
            cutter=cutter,
            numbers={f"&model->arrays[{array.constant}]": array.numbers for array in arrays},
            by_columns=_by_columns(program, graph),
            growing={growing.weight: i for i, growing in enumerate(growing_weights)},
            sparsely_read=frozenset(gather.head.result.name for gather, _ in sparsely[graph.name]),
        )
        entries.append(_entry(program, graph, context, library))
    kernels = library.named()
    sparse = [k for k in kernels if k.template in ("spmm", "spmm_transposed")]
    expressions = [*_map_expressions(program), *_rule_expressions(program)]
    schedules = [program.schedule]
    if program.regrow is not None:
        schedules.append(program.regrow.amount)
    products, (schedule, *amount) = schedule_code(*schedules)
    in_double = [*schedules, *rates.values()]
    operators = {"float64": vectorized(in_double)}
    operators[program.precision] = vectorized(expressions) | operators.get(
        program.precision, frozenset()
    )
    predict, predict_one = program.graph("predict"), program.graph(ONE_SAMPLE)
    output, one_output = (dict(graph.results)["output"] for graph in (predict, predict_one))
    return Plan(
        name=program.name,
        real="double" if program.precision == "float64" else "float",
        precision=program.precision,
        index="uint16_t" if program.index_bytes == 2 else "int32_t",
        batch=program.batch,
        tiling=cut,
        shuffles=shuffles(cut.lanes),
        turned=tuple(
            dict.fromkeys(
                kernel.input.type
                for kernel in kernels
                if kernel.input is not None
                and kernel.template == "gather"
                and kernel.input.features >= cut.lanes
            )
        ),
        vector_bytes=machine.vector_bytes,
        sparse_tiles=_tile_widths(k.pieces for k in sparse if not k.panels),
        panel_tiles=_tile_widths(k.pieces for k in sparse if k.panels),
        dense_tiles=_tile_widths(piece.parts for k in kernels for piece in k.pieces),
        dots=tuple(
            dict.fromkeys(
                kernel.dots(piece, block=block)
                for kernel in kernels
                if kernel.template in ROW_BY_ROW
                for piece in kernel.pieces
                for block in (False, True)[: 1 + kernel.panels]
            )
        ),
        cuts={
            "jam": JAM,
            "strip": STRIP,
            "panel_strip": cutter.panel_strip(),
            "updated": UPDATED,
            "depth": DEPTH,
            "stripe": GRADIENT_VECTORS,
            "group": GROUP,
            "columns": cutter.gradient_columns(),
            "across": ACROSS,
            "samples": min(cut.width, SAMPLES),
        },
        arena=program.arena,
        state_arrays=max((len(rule.states) for rule in program.rules), default=0),
        arrays=arrays,
        readers=tuple(dict.fromkeys(constants[name] for _, names in found for name in names)),
        read_blocks=max(
            (-(-gather.head.result.type.rows // BLOCK) for gather, _ in found), default=0
        ),
        block=BLOCK,
        tables=tuple(
            Table(columns[c.value.name], tuple(number(n, program.precision) for n in c.numbers))
            for c in program.constants
        ),
        updates=tuple(
            update_function(rule, updates[rule.name], program.precision) for rule in program.rules
        ),
        kernels=kernels,
        entries=tuple(library.resolve(entry) for entry in entries),
        helpers=tuple(
            dict.fromkeys(
                (
                    *helpers(expressions, program.precision),
                    *helpers(in_double, "float64"),
                )
            )
        ),
        functions=functions(operators),
        templates=frozenset(kernel.template for kernel in kernels),
        schedule=schedule,
        schedule_reads_step="step" in variables(program.schedule),
        products=products,
        rates=tuple((name, c_expression(part, "float64")) for name, part in rates.items()),
        regrow=regrow_plan(
            program, constants, "".join(amount), SUM_REGISTERS[machine.vector_bytes]
        ),
        watches=_watches(program),
        queues=1
        + max(
            call.queue
            for entry in entries
            for phase in (*entry.before, *entry.after)
            for call in phase
            if call.queue is not None
        ),
        groups=len(program.graph("step").operations),
        measured=measured,
        output_offset=_offset(predict, output),
        one_output_offset=_offset(predict_one, one_output),
        few=_few(program, machine),
        outputs=output.type.rows,
    )


def _sparsely_read(program: Program, graph: Graph) -> list[tuple[Group, tuple[str, ...]]]:
    """The gathers of a graph that leave out what no weight reads, with the weights."""
    groups = [operation for operation in graph.operations if isinstance(operation, Group)]
    pairs = [(group, readers(program, graph, group)) for group in groups]
    return [(group, weights) for group, weights in pairs if weights]


def _offset(graph: Graph, value: Value) -> int:
    return next(buffer.offset for buffer in graph.buffers if buffer.value == value)


def _few(program: Program, machine: Machine) -> int:
    """How many samples one thread predicts one by one before two would have done a batch."""
    batch, one = (
        sum(work.time(machine) for work in works(program, program.graph(name), machine))
        for name in ("predict", ONE_SAMPLE)
    )
    return max(1, min(program.batch, int(batch / 2 / one)))


def _tile_widths(rows: Iterable[tuple[Piece, ...]]) -> tuple[int, ...]:
    """The widths of the tiles that rows are cut into and that are not cut in turn, each once."""
    return tuple(sorted({tile.vectors for row in rows for tile in row if not tile.parts}))


def _entry(program: Program, graph: Graph, context: Context, library: Library) -> Entry:
    groups = [operation for operation in graph.operations if isinstance(operation, Group)]
    phases: dict[int, list[Call]] = {}
    for place, group in enumerate(groups):
        made = make_kernel(group, context)
        if made is None:
            continue
        kernel, calls = made
        key = library.add(kernel, group.origin)
        phase = phases.setdefault(group.phase, [])
        for call in calls:
            queue = sum(other.queue is not None for other in phase) if kernel.queued else None
            phase.append(replace(call, kernel=key, group=place, queue=queue))
    results = dict(graph.results)
    matrices = dict(program.confusions) if graph.name == "evaluate" else {}
    summing = graph.name in ("step", "evaluate", "growth")
    totals = [
        v.name for name, v in results.items() if summing and v.type.batched and name not in matrices
    ]
    firsts = [0, *accumulate(classes**2 for classes in matrices.values())]
    arena = context.memory.arena
    summed = max((g.phase for g in groups if {v.name for v in g.results} & set(totals)), default=-1)
    last = summed if totals else max(phases)
    ordered = sorted(phases)
    return Entry(
        graph.name,
        before=tuple(tuple(phases[p]) for p in ordered if p <= last),
        after=tuple(tuple(phases[p]) for p in ordered if p > last),
        totals=tuple(arena[name] for name in totals),
        counts=tuple(
            Count(arena[results[name].name], first)
            for name, first in zip(matrices, firsts, strict=False)
        ),
        masks=tuple(
            Mask(arena[value.name], value.type.rows, "")
            if value.type.batched
            else Mask(arena[value.name], 0, context.memory.arrays[name])
            for name, value in graph.results
            if graph.name == "masks"
        ),
    )


def _arrays(program: Program, names: Names) -> tuple[Array, ...]:
    transposed = {
        shaped[part.weight.name].name
        for graph in program.graphs
        for shaped in (patterns(program, graph),)
        for group in graph.operations
        if isinstance(group, Group)
        for part in group.body
        if isinstance(part, TransposedProduct)
    }
    arrays = []
    for parameter in program.parameters:
        value = parameter.value
        sparse = value.type.format == "csr"
        arrays.append(
            Array(
                value.name,
                names.fresh(value.name.upper()),
                value.type.rows,
                value.type.columns,
                parameter.nnz,
                sparse,
                sparse and value.name in transposed,
                len(program.rule(parameter.rule).states),
            )
        )
    return tuple(arrays)


def _by_columns(program: Program, graph: Graph) -> dict[str, int]:
    """Where the numbers by columns of stored sparse weights begin, behind those by rows."""
    read = {
        op.weight.name
        for op in each_operation(graph.operations)
        if isinstance(op, TransposedProduct)
    }
    return {
        buffer.value.name: buffer.size // 2
        for buffer in graph.buffers
        if buffer.value.name in read and buffer.value.type.format == "csr"
    }


def _gradient_results(program: Program, graph: Graph) -> dict[str, int]:
    """Which of the caller's arrays takes a gradient that is not applied at once."""
    if graph.name != "gradients":
        return {}
    position = {parameter.value.name: i for i, parameter in enumerate(program.parameters)}
    return {value.name: position[name] for name, value in graph.results if name in position}


def _watches(program: Program) -> tuple[Watch, ...]:
    """Results of the layers that still lie in the arena when the loss of a step is known."""
    graph = program.graph("step")
    shaped = patterns(program, graph)
    lives = lifetimes(graph)
    losses = {value.name for _, value in graph.results}
    groups = [operation for operation in graph.operations if isinstance(operation, Group)]
    known = max(g.phase for g in groups if {v.name for v in g.results} & losses)
    buffers = {buffer.value.name: buffer for buffer in graph.buffers}
    return tuple(
        Watch(
            program.weights.index(shaped[head.weight.name].name),
            buffers[value.name].offset,
            buffers[value.name].size,
        )
        for group in groups
        if isinstance(head := group.head, Product)
        for value in group.results
        if lives[value.name][1] >= known
    )


def _map_expressions(program: Program) -> list[Expr]:
    return [
        part.expression
        for graph in program.graphs
        for group in graph.operations
        if isinstance(group, Group)
        for part in group.body
        if isinstance(part, Map)
    ]


def _rule_expressions(program: Program) -> list[Expr]:
    return [expression for rule in program.rules for _, expression in rule.assignments]
