"""Each pass on small programs: as expected, and with the same meaning before and after.

`passes/PASS/CASE.before.ir` is written by hand, `CASE.after.ir` is what the pass makes of it. Both
are also interpreted on random data: a text can be as expected and wrong.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from nerva_dsl.check import check
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir import interpret
from nerva_dsl.ir.operations import Group, TransposedProduct
from nerva_dsl.ir.parse import parse_program
from nerva_dsl.ir.program import Program
from nerva_dsl.ir.text import print_program
from nerva_dsl.ir.verify import lifetimes, verify, views
from nerva_dsl.machine import Machine
from nerva_dsl.passes import pipeline
from nerva_dsl.passes.choose_kernels import BACKENDS, BackendError, ChooseKernels
from nerva_dsl.passes.expand import Expand
from nerva_dsl.passes.plan_buffers import PlanBuffers
from nerva_dsl.passes.schedule import Schedule
from nerva_dsl.tiling import LINE_BYTES, number_bytes, tiling

FOLDER = Path(__file__).parent / "passes"
PASSES = {step.name: step for step in pipeline(backend="native", machine=Machine(32))}
CASES = sorted(
    str(path.relative_to(FOLDER)).removesuffix(".before.ir") for path in FOLDER.rglob("*.before.ir")
)
IDEMPOTENT = (
    "expand",
    "simplify",
    "drop-dead",
    "layout",
    "kernels",
    "bytes",
    "sums",
    "schedule",
    "buffers",
)


def _read(case: str, side: str) -> Program:
    return parse_program((FOLDER / f"{case}.{side}.ir").read_text(encoding="utf-8"))


def _pass_name(case: str) -> str:
    return case.split("/", maxsplit=1)[0]


def _pass_of(case: str):
    return PASSES[_pass_name(case)]


def _inputs(program: Program, count: int):
    """Random data and parameters of a program."""
    rng = np.random.default_rng(count)
    arrays = []
    for value in program.inputs:
        shape = (count, value.type.columns)
        high = {"uint8": 256, "int32": 3}.get(value.type.element)
        arrays.append(rng.normal(size=shape) if high is None else rng.integers(0, high, shape))
    parameters = {}
    for parameter in program.parameters:
        rows, columns = parameter.value.type.shape
        if parameter.value.type.format == "csr":
            places = np.sort(rng.permutation(rows * columns)[: parameter.nnz])
            numbers = rng.normal(size=len(places))
            parameters[parameter.value.name] = sp.csr_array(
                (numbers, (places // columns, places % columns)), shape=(rows, columns)
            )
        else:
            parameters[parameter.value.name] = rng.normal(size=(rows, columns))
    x, t = (*arrays, None)[:2]
    return {"parameters": parameters, "x": x, "t": t, "lr": 0.1, "step": 3}


def _numbers(outcome: interpret.Outcome):
    """Everything that a run gave, by name."""
    for name, array in outcome.results.items():
        yield f"result {name}", array
    for name, array in outcome.parameters.items():
        yield f"parameter {name}", array
    for name, states in outcome.states.items():
        for state, array in states.items():
            yield f"state {state} of {name}", array


def _assert_same_meaning(before: Program, after: Program) -> None:
    tolerance = 1e-12 if before.precision == "float64" else 1e-5
    names = [graph.name for graph in before.graphs]
    added = [graph.name for graph in after.graphs][len(names) :]
    assert [graph.name for graph in after.graphs] == names + added
    assert added in ([], ["predict_one"])
    for count in (before.batch, 2):
        given = _inputs(before, count)
        for graph in after.graphs:
            original = "predict" if graph.name in added else graph.name
            expected = dict(_numbers(interpret.run(before, original, **given)))
            actual = dict(_numbers(interpret.run(after, graph.name, **given)))
            assert list(actual) == list(expected)
            for name, array in expected.items():
                a, b = (v.toarray() if sp.issparse(v) else v for v in (actual[name], array))
                assert np.isfinite(b).all(), f"{name}: nothing is compared"
                np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_pass(case, request):
    before = verify(_read(case, "before"), "reading")
    after = verify(_pass_of(case)(before), case)
    _assert_same_meaning(before, after)
    path, text = FOLDER / f"{case}.after.ir", print_program(after)
    if request.config.getoption("refresh"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"there is no {path}; try --refresh"
    expected = path.read_text(encoding="utf-8")
    if text != expected:
        lines = difflib.unified_diff(
            expected.splitlines(), text.splitlines(), "expected", "now", lineterm="", n=2
        )
        pytest.fail(f"{path} differs; read the difference, then --refresh:\n" + "\n".join(lines))
    assert parse_program(text) == after


def test_there_are_cases_of_every_pass_and_no_other_files():
    assert {_pass_name(case) for case in CASES} == set(PASSES)
    expected = {FOLDER / f"{case}.{side}.ir" for case in CASES for side in ("before", "after")}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize("case", CASES)
def test_argument_is_left_unchanged(case):
    before = _read(case, "before")
    _pass_of(case)(before)
    assert before == _read(case, "before")


@pytest.mark.parametrize("case", [case for case in CASES if _pass_name(case) in IDEMPOTENT])
def test_a_second_time_changes_nothing(case):
    once = _pass_of(case)(_read(case, "before"))
    assert _pass_of(case)(once) == once


@pytest.mark.parametrize("name", ["digits", "residual", "custom", "autoencoder", "digits_dense"])
def test_a_second_time_changes_nothing_in_shipped_models(name, models):
    model = check(models / f"{name}.nerva", {}).model
    for stage, program in ir_stages(model, backend="native", machine=Machine(32)):
        if stage in IDEMPOTENT:
            assert PASSES[stage](program) == program, stage


@pytest.mark.parametrize("case", CASES)
def test_what_follows_a_pass_keeps_the_meaning(case):
    """From any stage on, the rest of the road gives a verified program that means the same."""
    before = program = _read(case, "before")
    if any(text in print_program(program) for text in ("softmax(", "standardize ")):
        program = Expand()(program)  # fusing wants it done
    for step in list(PASSES.values())[list(PASSES).index(_pass_name(case)) :]:
        program = verify(step(program), step.name)
    _assert_same_meaning(before, program)
    for graph in program.graphs:
        for group in graph.operations:
            assert isinstance(group, Group)
            assert group.kernel
            assert group.reason
            assert group.phase >= 0


# Kernels


@pytest.mark.parametrize("backend", ["cuda", "Native", "MKL", ""])
def test_unknown_backend(backend):
    program = _read("kernels/sparse", "before")
    with pytest.raises(BackendError, match="there is no backend") as caught:
        ChooseKernels(Machine(), backend)(program)
    assert repr(backend) in str(caught.value)
    assert all(name in str(caught.value) for name in BACKENDS)


@pytest.mark.parametrize("case", ["kernels/sparse", "kernels/dense"])
def test_auto_is_native_without_mkl(case):
    program = _read(case, "before")
    machine = Machine(mkl_multiply=0.0)
    assert ChooseKernels(machine, "auto")(program) == ChooseKernels(machine, "native")(program)


def _kernels(case, machine, **options):
    program = ChooseKernels(machine, **options)(_read(case, "before"))
    groups = (group for graph in program.graphs for group in graph.operations)
    return {group.kernel for group in groups if "mm" in group.kernel}


@pytest.mark.parametrize(
    ("mkl_multiply", "kernels"),
    [
        (0.0, {"mkl_gemm", "mkl_gemm_transposed", "mkl_gemm_gradient"}),
        (1.0, {"gemm", "gemm_transposed", "gemm_gradient"}),
    ],
)
def test_auto_takes_the_faster_dense_product(mkl_multiply, kernels):
    machine = Machine(multiply=0.5, mkl_multiply=mkl_multiply, near=0.0)
    assert _kernels("kernels/dense", machine, mkl=True) <= kernels


def test_auto_takes_generated_sparse_products_beside_mkl():
    machine = Machine(mkl_multiply=0.0)
    sparse = _kernels("kernels/sparse", machine, mkl=True)
    assert sparse == _kernels("kernels/sparse", machine, backend="native")


@pytest.mark.parametrize(("non_zero", "blocked"), [(0.0, False), (1000.0, True)])
def test_dense_enough_weights_go_by_blocks(non_zero, blocked):
    found = _kernels("kernels/sparse", Machine(multiply=0.5, non_zero=non_zero, row=0.0))
    assert found
    assert all(kernel.endswith("_blocked") == blocked for kernel in found)


# Layout


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_tilings_hold_the_batch_with_little_padding(precision, vector_bytes):
    size = number_bytes(precision)
    for batch in (*range(1, 300), 1000, 4096, 65536):
        cut = tiling(batch, precision, vector_bytes)
        assert cut.lanes * size == vector_bytes
        assert batch <= cut.width < batch + cut.lanes
        assert cut.width <= cut.stride < cut.width + LINE_BYTES // size
        assert cut.stride * size % LINE_BYTES == 0


# Preconditions


def test_schedule_wants_groups():
    with pytest.raises(TypeError, match="fuse before scheduling"):
        Schedule()(_read("fuse/bias_and_activation", "before"))


def test_buffers_want_layouts():
    program = Schedule()(_read("fuse/bias_and_activation", "after"))
    with pytest.raises(TypeError, match="choose layouts before"):
        PlanBuffers()(program)


# What the pairs above are there for, said once more in code


def _groups(case: str, graph: str):
    return _read(case, "after").graph(graph).operations


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("fuse/")])
def test_fuse_puts_every_operation_in_one_group(case):
    before, after = _read(case, "before"), _read(case, "after")
    for raw, fused in zip(before.graphs, after.graphs, strict=True):
        inside = [part for group in fused.operations for part in group.body]
        assert len(inside) == len(raw.operations)
        assert set(inside) == set(raw.operations)


def test_the_gradient_by_the_input_is_dropped():
    case = "drop-dead/gradient_of_the_input"
    kinds = [type(operation) for operation in _groups(case, "gradients")]
    assert TransposedProduct not in kinds


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("buffers/")])
def test_buffers_of_values_alive_together_are_apart(case):
    program = _read(case, "after")
    for graph in program.graphs:
        lives, shown = lifetimes(graph), views(graph)
        cells: dict[int, dict[int, str]] = {}
        for buffer in graph.buffers:
            assert buffer.offset + buffer.size <= program.arena
            if buffer.value.type.batched:
                assert buffer.size == buffer.value.type.rows * buffer.value.type.layout.stride
            if buffer.value.name in shown:
                continue
            first, last = lives[buffer.value.name]
            for phase in range(first, last + 1):
                for cell in range(buffer.offset, buffer.offset + buffer.size):
                    taken = cells.setdefault(phase, {}).setdefault(cell, buffer.value.name)
                    assert taken == buffer.value.name


def test_dead_memory_is_used_again():
    program = _read("buffers/chain_takes_two_places", "after")
    (graph,) = program.graphs
    assert program.arena == 2 * graph.buffers[0].size < sum(b.size for b in graph.buffers)
