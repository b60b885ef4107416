"""The cost model: counts against counts made otherwise, and times of all shipped models."""

import math
from dataclasses import astuple, fields

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import SHIPPED
from hypothesis import given, settings
from hypothesis import strategies as st

from nerva_dsl.check import check
from nerva_dsl.costs import UNITS, Costs, Work
from nerva_dsl.driver import explain, optimize
from nerva_dsl.explain import LIMITS
from nerva_dsl.ir.operations import Group
from nerva_dsl.kernel_costs import works
from nerva_dsl.machine import CONSTANTS, Machine
from nerva_dsl.tiling import LINE_BYTES, tiling


def costs(batch=32, precision="float32", machine=None):
    machine = machine or Machine()
    size = {"float32": 4, "float64": 8}[precision]
    return Costs(tiling(batch, precision, machine.vector_bytes), machine, size, 4)


# Counts


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_a_sparse_product_reads_the_lines_of_its_operands(precision, vector_bytes, tiles):
    """Each non-zero reads the part of a row of activations that is in the tile: lines are counted
    from the addresses of its numbers."""
    weight = sp.random_array((7, 11), density=0.4, format="csr", rng=np.random.default_rng(1))
    part = {16: 12, 32: 12, 64: 28}[vector_bytes] * vector_bytes // (8 if "64" in precision else 4)
    batch = tiles * part
    model = costs(batch, precision, Machine(vector_bytes))
    size = model.number_bytes
    assert model.sparse_tiles == tiles
    lines = 0
    for column in weight.indices:
        for first in range(0, batch, part):
            place = (column * model.tiling.stride + np.arange(first, first + part)) * size
            lines += len(np.unique(place // LINE_BYTES))
    streamed = tiles * (weight.data.size * size + weight.indices.size * 4) / LINE_BYTES
    work = model.spmm(7, weight.nnz, 11)
    assert work.near == pytest.approx(lines + streamed)
    assert (work.non_zero, work.row) == (tiles * weight.nnz, tiles * 7)
    assert work.far == work.memory == work.multiply == 0


@pytest.mark.parametrize("name", ["gemm", "mkl_gemm", "gemm_gradient", "mkl_gemm_gradient"])
def test_a_dense_product_multiplies_a_vector_for_each_number(name):
    work = getattr(costs(batch=100), name)(48, 40)
    vectors = math.ceil(100 / 8)
    counted = sum(1 for _ in np.ndindex(48, 40, vectors))
    by_mkl = name.startswith("mkl_")
    assert (work.multiply, work.mkl_multiply) == ((0, counted) if by_mkl else (counted, 0))


def test_blocks_are_multiplied_with_their_zeros():
    model = costs(batch=32)
    product, gradient = model.spmm_blocked(6, 30, 10), model.sddmm_blocked(6, 30, 10)
    assert product.multiply == 8 * 10 * 4  # four rows are multiplied together
    assert gradient.multiply == 16 * 10 * 32 / 8  # sixteen rows by each number
    assert product.near == gradient.near == 30 * (4 + 4) / LINE_BYTES
    # A non-zero is put to its place; of a gradient it is taken from there, and updated.
    assert gradient.pick - product.pick == 30


def test_a_gradient_at_a_pattern_reads_a_row_for_each_non_zero():
    model = costs(batch=33)  # five vectors, which are three lines
    assert model.sddmm(40).near == 40 * 3 + 40 * (4 + 4) / LINE_BYTES
    with_states = model.sddmm(40, arrays=3)
    assert with_states.near - model.sddmm(40).near == 40 * 2 * 4 / LINE_BYTES


def test_a_gather_reads_samples_from_memory():
    model = costs(batch=32)
    work = model.gather(32, 100, 100)  # 100 bytes are in two lines
    assert (work.memory, work.near) == (64, 100 * 2)


@pytest.mark.parametrize(
    ("size", "level"),
    [(1 << 10, "near"), (1 << 18, "near"), (1 << 20, "far"), (1 << 24, "far"), (1 << 25, "memory")],
)
def test_what_is_streamed_comes_from_the_level_that_holds_it(size, level):
    work = costs(machine=Machine(cache_bytes=1 << 19, shared_bytes=1 << 24)).stream(size, 2)
    assert work == Work(**{level: 2 * size / LINE_BYTES})


@pytest.mark.parametrize(("batch", "tiles"), [(8, 1), (100, 1), (104, 1), (105, 2), (1024, 10)])
def test_samples_are_cut_into_as_few_tiles_as_registers_hold_the_sums_of(batch, tiles):
    assert costs(batch).sparse_tiles == tiles


def test_what_stays_in_the_cache_is_gone_through_at_once():
    machine = Machine(cache_bytes=1 << 19)
    model = costs(batch=100, machine=machine)  # seven lines a row
    most = (1 << 18) // (7 * LINE_BYTES)
    assert model.panel(64, 64 * most, most, 7) == most
    panel = model.panel(64, 64 * most, most + 1, 7)
    assert panel < most
    assert 2 * panel * 7 * LINE_BYTES <= machine.cache_bytes


def test_panels_are_for_rows_with_many_non_zeros_in_each():
    model = costs(batch=100)
    panel = model.panel(64, 64 * 4000, 4000, 7)
    in_panel = 4000 / panel
    assert model.panel(64, int(64 * 9 * in_panel), 4000, 7) == panel
    assert model.panel(64, int(64 * 7 * in_panel), 4000, 7) == 4000
    assert model.panel(64, int(64 * 9 * in_panel), 4000, 7, least=16) == 4000


def test_panels_read_from_the_second_cache_and_end_each_row_more_often():
    model = costs(batch=100)
    nnz, operands = 64 * 2000, 4000
    panels = math.ceil(operands / model.panel(64, nnz, operands, 7))
    work = model.spmm(64, nnz, operands)
    assert panels > 1
    assert work.near >= 7 * nnz
    assert work.row == 64 * panels
    sparse = model.spmm(64, 64 * 10, operands)
    assert sparse.far > sparse.near
    assert sparse.far + sparse.near >= 7 * 64 * 10


# Times


def test_a_time_is_the_sum_over_the_units():
    rng = np.random.default_rng(2)
    counts, times = rng.random(len(UNITS)), rng.random(len(UNITS))
    machine = Machine().with_constants(dict(zip(CONSTANTS, times.tolist(), strict=True)))
    work, other = Work(*counts.tolist()), Work(*counts[::-1].tolist())
    assert work.time(machine) == pytest.approx(counts @ times)
    assert astuple(work + other) == pytest.approx(tuple(counts + counts[::-1]))
    roofs = {unit: count * time for unit, count, time in zip(UNITS, counts, times, strict=True)}
    unit, bound = work.bound(machine)
    assert bound == max(roofs[name] for name in LIMITS) == roofs[unit]


def test_the_units_of_work_are_the_constants_of_a_machine():
    assert tuple(field.name for field in fields(Work)) == CONSTANTS == UNITS


KERNELS = {
    "spmm": lambda model, n: model.spmm(50, n, 80),
    "spmm_bytes": lambda model, n: model.spmm_bytes(50, n, 80),
    "spmm_blocked": lambda model, n: model.spmm_blocked(50, n, 80),
    "gemm": lambda model, n: model.gemm(n, 80),
    "mkl_gemm": lambda model, n: model.mkl_gemm(n, 80),
    "sddmm": lambda model, n: model.sddmm(n),
    "sddmm_bytes": lambda model, n: model.sddmm_bytes(n),
    "sddmm_blocked": lambda model, n: model.sddmm_blocked(50, n, 80),
    "gemm_gradient": lambda model, n: model.gemm_gradient(n, 80),
    "mkl_gemm_gradient": lambda model, n: model.mkl_gemm_gradient(n, 80),
    "passes": lambda model, n: model.passes(n),
    "gather": lambda model, n: model.gather(model.tiling.width, 4 * n, n),
    "gather_bytes": lambda model, n: model.gather_bytes(model.tiling.width, n),
}


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    n=st.integers(1, 4000),
    more=st.integers(1, 4000),
    batch=st.integers(1, 600),
    larger=st.integers(1, 600),
)
@settings(max_examples=40, deadline=None)
def test_more_takes_longer(kernel, n, more, batch, larger):
    """In non-zeros strictly; in samples, which are padded to vectors, not less."""

    def time(samples, count):
        model = costs(samples)
        return KERNELS[kernel](model, count).time(model.machine)

    assert 0 < time(batch, n) < time(batch, n + more)
    assert time(batch, n) <= time(batch + larger, n) * (1 + 1e-12)


# Programs


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(
    ("backend", "vector_bytes"), [("native", 16), ("auto", 32), ("mkl", 64)], ids=str
)
def test_every_kernel_of_the_shipped_models_has_a_time(name, backend, vector_bytes, models):
    machine = Machine(vector_bytes)
    model = check(models / f"{name}.nerva", {}).model
    program = optimize(model, backend=backend, machine=machine, mkl=backend != "native")
    for graph in program.graphs:
        groups = [group for group in graph.operations if isinstance(group, Group)]
        counted = works(program, graph, machine)
        assert len(counted) == len(groups)
        for group, work in zip(groups, counted, strict=True):
            time = work.time(machine)
            assert math.isfinite(time)
            assert (time > 0) == (group.kernel != "view"), group.kernel
            assert all(count >= 0 for count in astuple(work))
            assert work.bound(machine)[1] <= time


@pytest.mark.parametrize("backend", ["native", "mkl"])
def test_a_dense_network_multiplies_what_its_layers_say(models, backend):
    """Of each weight: forward, the gradient, and for all but the first layer backward."""
    machine = Machine()
    model = check(models / "digits_dense.nerva", {}).model
    program = optimize(model, backend=backend, machine=machine, mkl=True)
    work = sum(works(program, program.graph("step"), machine), Work())
    vectors = math.ceil(program.batch / 8)

    def whole(count, group):  # rows come in groups
        return math.ceil(count / group) * group

    numbers = 0
    for number, layer in enumerate(model.layers):
        inputs, outputs = layer.inputs, layer.outputs
        if backend == "mkl":
            numbers += max(inputs, 32) * max(outputs, 32) * (3 if number else 2)
        else:
            numbers += inputs * (whole(outputs, 4) + whole(outputs, 16))
            numbers += outputs * whole(inputs, 4) if number else 0
    expected = (numbers * vectors, 0)
    assert (work.multiply, work.mkl_multiply) == (expected if backend != "mkl" else expected[::-1])


def test_explain_tells_the_times_of_the_model(models):
    """For a named target the machine is a usual one, whatever was measured here."""
    rows = explain(models / "digits.nerva", backend="native", target="x86-64-v3").operations
    machine = Machine(32)
    model = check(models / "digits.nerva", {}).model
    program = optimize(model, backend="native", machine=machine)
    counted = works(program, program.graph("step"), machine)
    assert [row.predicted for row in rows] == [work.time(machine) / 1000 for work in counted]
    assert all(0 < row.bound <= row.predicted for row in rows)
    assert {row.limit for row in rows} <= set(LIMITS.values())
    assert all(row.measured is None for row in rows)
