"""Constants of the cost model: fitted, kept, chosen by; and kernels that are measured."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import astuple, replace
from functools import cache

import numpy as np
import pytest
from scipy.optimize import nnls
from typer.testing import CliRunner

from nerva_dsl import driver, tuning
from nerva_dsl.check import check_source
from nerva_dsl.cli.app import app
from nerva_dsl.costs import UNITS, Work
from nerva_dsl.ir.operations import Group
from nerva_dsl.kernel_costs import works
from nerva_dsl.machine import CONSTANTS, Machine
from nerva_dsl.runtime import measuring
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.runtime.tuned import load_constants, save_constants, tuned_file
from nerva_dsl.source import Source
from nerva_dsl.tuning import TRIALS, Sample, Trial, errors, fit

HELD = 0.05  # as in the fit: the weight of the rows that hold constants at their usual values

# A dense target's worth of weights, half of which are there; no target, and patterns that change.
MODEL = """\
model half
input x : float32[64]
h = relu(linear(x, 96, density = 0.5))
y = linear(h, 64, density = 0.3)
output = y
loss = squared_error(y, x)
train {
    batch         = 32
    epochs        = 1
    learning_rate = 0.01
}
regrow {
    every = steps(2)
    prune = magnitude(0.3)
    grow  = gradient()
}
"""


@pytest.fixture
def cache_directory(tmp_path, monkeypatch):
    """A cache without constants; `CC` is the usual compiler."""
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def half(tmp_path):
    file = tmp_path / "half.nerva"
    file.write_text(MODEL)
    return file


@pytest.fixture
def short(monkeypatch):
    """Measurements that are too short to say anything, of one small model."""
    monkeypatch.setattr(measuring, "_SECONDS", 0.001)
    monkeypatch.setattr(measuring, "_BATCHES", 4)
    monkeypatch.setattr(tuning, "TRIALS", (Trial(32, 32, 0.5, 16),))


def nervac(*arguments, status=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return done


def some(value=0.25):
    """Constants that are not the usual ones."""
    return dict.fromkeys(CONSTANTS, value)


# The fit


@cache
def trial_works():
    """What the kernels of the trials do."""
    machine = Machine()
    found = []
    for trial in TRIALS:
        model = check_source(Source("tune.nerva", trial.text), {}).model
        program = driver.optimize(model, backend=trial.backend, machine=machine)
        step = program.graph("step")
        groups = [group for group in step.operations if isinstance(group, Group)]
        for group, work in zip(groups, works(program, step, machine), strict=True):
            if "mm" in group.kernel or group.kernel == "gather":
                found.append((group.kernel, work))
    return found


def by_scipy(samples, usual):
    """Least squares of relative errors, with a row that holds each constant: the constants."""
    start = np.array([usual.constants()[unit] for unit in UNITS])
    counts = np.array([astuple(sample.work) for sample in samples])
    times = np.array([sample.time for sample in samples])
    matrix = np.vstack([counts * start / times[:, None], HELD * np.eye(len(UNITS))])
    wanted = np.concatenate([np.ones(len(samples)), np.full(len(UNITS), HELD)])
    return nnls(matrix, wanted)[0] * start


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_is_that_of_scipy_on_the_trials(seed):
    """Times that no constants explain, so that some constants end at zero."""
    rng = np.random.default_rng(seed)
    samples = [
        Sample(kernel, work, work.time(Machine()) * rng.lognormal(sigma=1.0))
        for kernel, work in trial_works()
    ]
    found = list(fit(samples, Machine()).constants().values())
    np.testing.assert_allclose(found, by_scipy(samples, Machine()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    usual = Machine().with_constants(dict(zip(CONSTANTS, rng.uniform(0.1, 9, 8), strict=True)))
    samples = [
        Sample("spmm", Work(*rng.integers(0, 1000, len(UNITS)).tolist()), rng.uniform(10, 9999))
        for _ in range(40)
    ]
    found = list(fit(samples, usual).constants().values())
    np.testing.assert_allclose(found, by_scipy(samples, usual), rtol=1e-6, atol=1e-6)


def test_a_synthetic_machine_is_found_again():
    rng = np.random.default_rng(3)
    factors = dict(zip(CONSTANTS, rng.uniform(0.5, 2.5, len(CONSTANTS)), strict=True))
    real = Machine().with_constants(
        {name: value * factors[name] for name, value in Machine().constants().items()}
    )
    samples = [Sample(kernel, work, work.time(real)) for kernel, work in trial_works()]
    found = fit(samples, Machine())
    assert max(map(abs, errors(samples, found))) < 0.02
    assert max(map(abs, errors(samples, Machine()))) > 0.2
    for name, value in real.constants().items():
        assert found.constants()[name] == pytest.approx(value, rel=0.2), name


def test_what_no_kernel_says_anything_of_stays_usual():
    found = fit([Sample("gemm", Work(multiply=1000), 900.0)], Machine())
    assert found.multiply == pytest.approx(0.9, rel=0.05)
    assert replace(found, multiply=0.2) == Machine()


def test_errors_are_relative():
    samples = [Sample("gemm", Work(near=10), 4.0), Sample("gemm", Work(near=10), 8.0)]
    assert errors(samples, Machine(near=0.8)) == pytest.approx([1.0, 0.0])


def test_every_constant_has_a_trial_that_depends_on_it():
    counted = [work for _, work in trial_works()]
    for unit in UNITS:
        assert max(w.times(Machine())[unit] / w.time(Machine()) for w in counted) > 0.05, unit


# Where they are kept


FEATURES = ("avx2", "fma")


@pytest.mark.usefixtures("cache_directory")
def test_constants_are_kept():
    assert load_constants(FEATURES) == {}
    path = save_constants(FEATURES, some())
    assert path == tuned_file()
    assert load_constants(FEATURES) == some()
    assert load_constants(("avx2",)) == {}  # another machine that has the same cache
    save_constants(FEATURES, some(0.75))
    assert load_constants(FEATURES) == some(0.75)
    assert [file.name for file in path.parent.iterdir()] == ["machine.json"]


def _with(**changed):
    return lambda content: json.dumps({**content, **changed})


DAMAGE = {
    "empty": lambda _: "",
    "cut off": lambda content: json.dumps(content)[:-9],
    "a list": lambda _: "[]",
    "a number": lambda _: "7",
    "nothing": lambda _: "null",
    "another form": _with(form=2),
    "no form": lambda content: json.dumps({"machine": content["machine"]}),
    "another machine": _with(machine="0" * 64),
    "no constants": _with(constants={}),
    "a constant missing": _with(constants=dict.fromkeys(CONSTANTS[1:], 1.0)),
    "constants in a list": _with(constants=[1.0] * len(CONSTANTS)),
    "negative": _with(constants={**some(), "far": -1.0}),
    "huge": _with(constants={**some(), "far": 1e30}),
    "a whole number without end": _with(constants={**some(), "far": 10**400}),
    "infinite": _with(constants={**some(), "far": float("inf")}),
    "not a number": _with(constants={**some(), "far": float("nan")}),
    "a word": _with(constants={**some(), "far": "fast"}),
    "null": _with(constants={**some(), "far": None}),
    "deeply nested": lambda _: "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.usefixtures("cache_directory")
def test_a_damaged_file_counts_as_none(damage):
    path = save_constants(resolve_target("native").features, some())
    assert resolve_target("native").machine == resolve_target("native").usual.with_constants(some())
    path.write_text(DAMAGE[damage](json.loads(path.read_text())))
    assert resolve_target("native").machine == resolve_target("native").usual


@pytest.mark.usefixtures("cache_directory")
def test_a_file_that_cannot_be_read_counts_as_none():
    path = save_constants(resolve_target("native").features, some())
    path.write_bytes(b"\xff\xfe\x00")
    assert resolve_target("native").machine == resolve_target("native").usual
    path.unlink()
    path.mkdir()
    assert resolve_target("native").machine == resolve_target("native").usual


def test_without_a_place_for_the_cache(monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", "/dev/null/cache")
    assert resolve_target("native").machine == resolve_target("native").usual
    nervac("tune", "--forget")


@pytest.mark.usefixtures("cache_directory")
def test_named_targets_know_nothing_of_this_machine():
    save_constants((), some())
    assert resolve_target("x86-64-v3").machine == Machine(32)


WRITER = """
import sys
from nerva_dsl.machine import CONSTANTS
from nerva_dsl.runtime.tuned import save_constants
for _ in range(200):
    save_constants(("avx2", "fma"), dict.fromkeys(CONSTANTS, float(sys.argv[1])))
"""


def test_processes_that_write_at_once(cache_directory):
    """Whoever reads finds the constants of one of them, whole."""
    save_constants(FEATURES, some(1.0))
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, value]) for value in ("1.0", "2.0")]
    seen = []
    while any(writer.poll() is None for writer in writers):
        seen.append(load_constants(FEATURES))
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert all(found in (some(1.0), some(2.0)) for found in seen)
    assert [file.name for file in cache_directory.iterdir()] == ["machine.json"]


# nervac tune


@pytest.mark.usefixtures("short")
def test_tune_keeps_what_it_measures(cache_directory):
    done = nervac("tune")
    assert f"Kept in {cache_directory / 'machine.json'}." in done.stdout
    assert "Median error" in done.stdout
    assert "measuring" not in done.output  # a bar is for terminals
    constants = load_constants(resolve_target("native").features)
    assert set(constants) == set(CONSTANTS)
    assert resolve_target("native").machine.constants() == constants
    for name in CONSTANTS:
        assert name.replace("_", " ") in done.stdout

    assert nervac("tune", "--forget").stdout == f"Removed {cache_directory / 'machine.json'}.\n"
    assert resolve_target("native").machine == resolve_target("native").usual
    again = nervac("tune", "--forget").stdout
    assert again == "Nothing was measured: there is nothing to forget.\n"


def test_tune_without_a_compiler_leaves_the_old_constants(cache_directory, monkeypatch):
    features = resolve_target("native").features
    save_constants(features, some())
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert "/nowhere/cc" in nervac("tune", status=3).stderr
    assert load_constants(features) == some()
    assert [file.name for file in cache_directory.glob("*.*")] == ["machine.json"]


def test_an_interrupted_tune_leaves_the_old_constants(cache_directory, monkeypatch):
    """The signal comes while the first model trains, which it would for minutes."""
    features = resolve_target("native").features
    path = save_constants(features, some())
    before = path.read_bytes()
    script = (
        "import sys\nfrom nerva_dsl import tuning\nfrom nerva_dsl.runtime import measuring\n"
        "tuning.TRIALS = (tuning.Trial(32, 32, 0.5, 16),)\nmeasuring._SECONDS = 300.0\n"
        "from nerva_dsl.cli import main\nsys.argv = ['nervac', 'tune']\nmain()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not list(cache_directory.glob("entries/tune-*")):
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)
    assert (process.returncode, output, said) == (130, "", "interrupted\n")
    assert path.read_bytes() == before
    assert [file.name for file in cache_directory.glob("*.json")] == ["machine.json"]
    assert not [file for file in cache_directory.iterdir() if file.name.startswith(".")]


def test_kernels_are_measured_in_the_same_way_again(monkeypatch):
    """Whatever is known of this machine already: trials are compiled for a usual one."""
    seen = []

    trial = Trial(64, 96, 0.5, 32)
    target = resolve_target("native")
    for constants in ({"non_zero": 1e5}, {"multiply": 1e5}):
        tuned = replace(target, features=("other",))
        monkeypatch.setattr(
            "nerva_dsl.runtime.target.load_constants", lambda _, found=constants: found
        )
        monkeypatch.setattr(
            tuning,
            "kernel_seconds",
            lambda generated, _: seen.append(generated.c_source) or _seconds(trial, target),
        )
        tuning.measure(trial, tuned)
    assert seen[0] == seen[1]


def _seconds(trial, target):
    model = check_source(Source("tune.nerva", trial.text), {}).model
    program = driver.optimize(model, backend=trial.backend, machine=target.usual)
    return [1e-6 for op in program.graph("step").operations if isinstance(op, Group)]


# What they decide


FAVOURS = {
    "spmm": {**some(1.0), "multiply": 1e3, "mkl_multiply": 1e3},
    "spmm_blocked": {**some(1.0), "non_zero": 1e5},
}


def test_a_compile_after_tune_is_another_module(cache_directory, half):
    """The key of the cache has the C, which tells what was chosen."""
    features = resolve_target("native").features
    built = {}
    for kernel, constants in FAVOURS.items():
        save_constants(features, constants)
        entry = driver.compile_model(half, backend="native")
        chosen = {row.kernel for row in driver.explain(half, backend="native").operations}
        assert kernel in chosen
        assert not chosen & (set(FAVOURS) - {kernel})
        assert (entry / "half.c").read_text() == driver.emit_c(half, backend="native").c_source
        built[kernel] = entry
    assert built["spmm"] != built["spmm_blocked"]
    assert (built["spmm"] / "half.c").read_text() != (built["spmm_blocked"] / "half.c").read_text()
    save_constants(features, FAVOURS["spmm"])
    assert driver.compile_model(half, backend="native") == built["spmm"]
    assert len(list((cache_directory / "entries").iterdir())) == 2


@pytest.mark.parametrize(
    ("constants", "kernel"),
    [({"mkl_multiply": 0.001}, "mkl_gemm"), ({"multiply": 0.05}, "gemm")],
    ids=["mkl", "native"],
)
def test_the_faster_dense_product_is_chosen(models, constants, kernel):
    model = driver.check(models / "digits_dense.nerva").model
    machine = Machine().with_constants(constants)
    program = driver.optimize(model, backend="auto", machine=machine, mkl=True)
    groups = [group for group in program.graph("step").operations if isinstance(group, Group)]
    products = {group.kernel for group in groups if "gemm" in group.kernel}
    assert kernel in products
    assert len({name.startswith("mkl_") for name in products}) == 1


# Kernels that are measured


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("which", ["digits", "half"])
def test_explain_measures_every_kernel(models, half, which):
    file = half if which == "half" else models / "digits.nerva"
    rows = driver.explain(file, backend="native", measure=True).operations
    predicted = driver.explain(file, backend="native").operations
    assert [row.name for row in rows] == [row.name for row in predicted]
    assert all(row.measured > 0 for row in rows if row.kernel != "view")
    text = nervac("explain", file, "--backend", "native", "--measure").stdout
    for title in ("predicted", "measured", "of the", "which is"):
        assert title in text
    for row in rows:
        assert row.kernel in text
    assert "measured" not in nervac("explain", file, "--backend", "native").stdout


def test_measuring_changes_no_number(half):
    """The clock is read between kernels; what they compute is the same bits."""
    target = resolve_target("native")
    model = driver.check(half).model
    x = np.random.default_rng(1).random((96, 64), dtype=np.float32)
    weights = []
    for measured in (False, True):
        generated = driver.emit_model(model, backend="native", measured=measured)
        net = load_module(build(generated, target)).Model(seed=3, threads=2)
        net.train_epoch(x, lr=0.01)
        weights.append(
            {
                name: np.asarray(getattr(v, "data", v)).tobytes()
                for name, v in net.parameters().items()
            }
        )
    assert weights[0] == weights[1]


def test_measure_is_of_a_file():
    assert (
        "--measure is of a FILE"
        in nervac("explain", "--code", "N0203", "--measure", status=2).stderr
    )
