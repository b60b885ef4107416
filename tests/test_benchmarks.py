"""The yardstick's harness: everybody computes the same, and what is written says what was measured.

No test here looks at a clock.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.exchange import __main__ as exchange
from benchmarks.front_end import __main__ as front_end
from benchmarks.front_end import files
from benchmarks.yardstick import (
    agreement,
    contenders_nervac,
    environment,
    forms_csr,
    forms_dense,
    machine,
    measure,
    memory,
    memory_child,
    report,
    settings,
    torch_setup,
    workload,
)
from benchmarks.yardstick.workloads import DENSITIES, MOMENTUM, PARTS, REFERENCE, WORKLOADS
from nerva_dsl.check import check, check_source
from nerva_dsl.source import Source

ROOT = Path(__file__).parent.parent
BATCH = 4


def sparse(rng, outputs, inputs, density, precision):
    dense = rng.standard_normal((outputs, inputs)).astype(precision)
    dense[rng.random((outputs, inputs)) > density] = 0
    rows, columns = np.nonzero(dense)
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=outputs))))
    return workload.SparseWeight((outputs, inputs), starts, columns, dense[rows, columns])


pytestmark = pytest.mark.filterwarnings("ignore:Sparse")  # PyTorch calls its CSR tensors beta


@pytest.fixture(autouse=True)
def subnormals():
    """Contenders flush subnormal numbers on the thread that runs them; other tests need them."""
    yield
    torch.set_flush_denormal(False)


SMALL = {
    "reference": (12, 9, 7, 10),
    "wide": (12, 9, 7, 10),
    "autoencoder": (12, 20, 12),
    "odd": (12, 9, 7, 10),
    "double": (12, 9, 7, 10),
    "bytes": (12, 9, 7, 10),
}


@pytest.fixture
def net(request):
    """A workload in small: the reference unless a test names others."""
    name = getattr(request, "param", "reference")
    batch = 3 if name == "odd" else BATCH
    # Steps so long that a gradient which is wrong by a hundredth shows in the third loss.
    return dataclasses.replace(WORKLOADS[name], sizes=SMALL[name], batch=batch, learning_rate=0.02)


every_net = pytest.mark.parametrize("net", WORKLOADS, indirect=True)


@pytest.fixture
def network(net):
    """Sparse layers of that size, and a dense one last."""
    rng = np.random.default_rng(0)
    layers = []
    for name, inputs, outputs in zip(net.layers, net.sizes[:-1], net.sizes[1:], strict=True):
        weight = (
            rng.standard_normal((outputs, inputs)).astype(net.precision)
            if name == net.layers[-1]
            else sparse(rng, outputs, inputs, 0.4, net.precision)
        )
        bias = rng.standard_normal(outputs).astype(net.precision)
        layers.append(workload.Layer(name, weight, bias))
    return tuple(layers)


@pytest.fixture
def data(net):
    return workload.make_data(net, 40)


@pytest.fixture
def batches(net, data):
    return list(workload.orders(len(data))[0][: 3 * net.batch].reshape(3, net.batch))


# The value of an activation, and its derivative by the argument.
FORMULAS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: z > 0),
    "all_relu(0.6)": (lambda z: np.where(z > 0, z, 0.6 * z), lambda z: np.where(z > 0, 1, 0.6)),
    "all_relu(-0.6)": (lambda z: np.where(z > 0, z, -0.6 * z), lambda z: np.where(z > 0, 1, -0.6)),
    "sigmoid": (
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    ),
}


def loss_and_gradient(kind, y, t):
    if kind == "squared_error":
        return ((y - t) ** 2).sum(1).mean(), 2 * (y - t) / len(t)
    exponentials = np.exp(y - y.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    samples = np.arange(len(t))
    loss = -np.log(probabilities[samples, t]).mean()
    probabilities[samples, t] -= 1
    return loss, probabilities / len(t)


def reference_losses(net, network, data, batches):
    """Masked training in NumPy, double precision, written from the formulas."""
    formulas = [FORMULAS[name] for name in net.activations]
    weights = [layer.dense().astype(np.float64) for layer in network]
    masks = [1 if (mask := layer.mask()) is None else mask for layer in network]
    biases = [layer.bias.astype(np.float64) for layer in network]
    velocities = [np.zeros_like(array) for array in (*weights, *biases)]
    losses = []
    for batch in batches:
        values, arguments = [data.X[batch].astype(np.float64)], []
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            arguments.append(values[-1] @ weight.T + bias)
            if number < len(formulas):
                values.append(formulas[number][0](arguments[-1]))
        loss, dz = loss_and_gradient(net.loss, arguments[-1], data.t[batch])
        losses.append(loss)
        weight_gradients, bias_gradients = [], []
        for number in reversed(range(len(weights))):
            weight_gradients.insert(0, dz.T @ values[number] * masks[number])
            bias_gradients.insert(0, dz.sum(0))
            if number > 0:
                dz = (dz @ weights[number]) * formulas[number - 1][1](arguments[number - 1])
        parameters = [*weights, *biases]
        for w, g, v in zip(
            parameters, [*weight_gradients, *bias_gradients], velocities, strict=True
        ):
            v[...] = MOMENTUM * v + g
            w[...] -= net.learning_rate * (g + MOMENTUM * v)
    return losses


def assert_reference(found, net, network, data, batches):
    """The losses are NumPy's, as far as the precision goes; and they move."""
    expected = reference_losses(net, network, data, batches)
    tolerance = 1e-13 if net.precision == "float64" else 2e-5
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    assert not np.allclose(expected[1:], expected[0], rtol=1e-3)


@pytest.fixture
def uncompiled(monkeypatch):
    """The forms for torch.compile, run as they are written: compiling takes long."""
    for module in (forms_dense, forms_csr):
        monkeypatch.setattr(module, "compiled", lambda function: function)


@every_net
@pytest.mark.parametrize("form", forms_dense.FORMS, ids=lambda form: form.name)
def test_masked_forms_compute_the_reference(form, net, network, data, batches, uncompiled):
    trainer = forms_dense.DenseTrainer(net, network, data, form, masked=True)
    found = torch_setup.losses(trainer, batches)
    assert_reference(found, net, network, data, batches)


@every_net
@pytest.mark.parametrize("form", forms_csr.FORMS, ids=lambda form: form.name)
def test_csr_forms_compute_the_reference(form, net, network, data, batches, uncompiled):
    trainer = forms_csr.CsrTrainer(net, network, data, form)
    found = torch_setup.losses(trainer, batches)
    assert_reference(found, net, network, data, batches)


def test_dense_training_is_not_masked_training(net, network, data, batches):
    form = forms_dense.DenseForm("fused")
    trainer = forms_dense.DenseTrainer(net, network, data, form, masked=False)
    found = torch_setup.losses(trainer, batches)
    assert not np.allclose(found, reference_losses(net, network, data, batches), rtol=1e-4)


def test_an_epoch_is_every_batch_of_the_order(network, data):
    class Recorder:
        def __init__(self):
            self.seen = []

        def step(self, index):
            self.seen += index.tolist()
            return torch.tensor(2.0)

    recorder = Recorder()
    order = torch.from_numpy(workload.orders(len(data))[0])
    assert torch_setup.train(recorder, order, BATCH) == 2
    assert recorder.seen == order.tolist()


def test_a_saved_network_comes_back(network, tmp_path):
    workload.save_network(network, tmp_path / "network.npz")
    for old, new in zip(network, workload.load_network(tmp_path / "network.npz"), strict=True):
        assert type(old.weight) is type(new.weight)
        np.testing.assert_array_equal(old.dense(), new.dense())
        np.testing.assert_array_equal(old.bias, new.bias)


def test_onnx_runtime_computes_the_network(network, data):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    prediction = pytest.importorskip("benchmarks.yardstick.prediction")
    onnx = pytest.importorskip("benchmarks.yardstick.contenders_onnx")
    session = onnx.make_session(onnx.model_bytes(network, features=12), threads=1)
    x = data.X[:5].copy()
    for name, predict in onnx.predictors(session, x).items():
        agreement.check_outputs(name, predict(), prediction.outputs_of(network, x))


def agree(load, compiled):
    """Compare losses of compiled models with PyTorch's, in a masked form and in a CSR form."""
    data = workload.make_data(load, load.batch)
    network = workload.network_of(load, compiled[0].model(None, 1).parameters())
    batches = [np.arange(load.batch)] * agreement.STEPS
    csr, dense = forms_csr.CsrForm("sampled", "fused"), forms_dense.DenseForm("fused")
    trainers = {
        "CSR": forms_csr.CsrTrainer(load, network, data, csr),
        "masked": forms_dense.DenseTrainer(load, network, data, dense, masked=True),
    }
    theirs = {name: torch_setup.losses(trainer, batches) for name, trainer in trainers.items()}
    for each in compiled:
        found = contenders_nervac.losses(load, each.model(network, 1), data, batches)
        for name, expected in theirs.items():
            agreement.check_losses(f"{each.name}, {name}", found, expected, load.precision)
        assert each.kernels


def test_backends_and_pytorch_agree_on_the_reference_network():
    compiled, missing = contenders_nervac.compile_backends(REFERENCE, 0.001)
    assert {each.name for each in compiled} | set(missing) == {
        f"nervac {backend}" for backend in contenders_nervac.BACKENDS
    }
    assert compiled[0].name == "nervac native"
    agree(REFERENCE, compiled)


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name != "reference"])
def test_nervac_and_pytorch_agree_on_other_networks(name):
    agree(WORKLOADS[name], [contenders_nervac.compile_network(WORKLOADS[name], 0.01, "native")])


@pytest.mark.parametrize("load", WORKLOADS.values(), ids=WORKLOADS)
def test_a_workload_is_what_its_file_says(load):
    checked = check(load.model_file, load.params)
    model = checked.model
    assert tuple(layer.name for layer in model.layers) == load.layers
    assert tuple(layer.inputs for layer in model.layers) == load.sizes[:-1]
    assert tuple(layer.outputs for layer in model.layers) == load.sizes[1:]
    assert model.batch == load.batch
    assert model.precision == load.precision
    assert (model.input.element == "uint8") == load.bytes_
    text = load.model_file.read_text()
    assert f"constant({load.learning_rate:g})" in text
    assert f"loss   = {load.loss}(" in text
    assert f"nesterov(momentum = {MOMENTUM:g})" in text


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        ([2.3, 2.2, 2.1], [2.3, 2.21, 2.1]),
        ([2.3, 2.2], [2.3, 2.2, 2.1]),
        ([2.3, float("nan"), 2.1], [2.3, 2.2, 2.1]),
        ([2.3, 2.3, 2.3], [2.3, 2.3, 2.3]),  # equal, but that shows nothing
    ],
)
def test_losses_that_differ_are_refused(found, reference):
    with pytest.raises(agreement.DisagreementError):
        agreement.check_losses("somebody", found, reference, "float32")


def test_double_precision_is_compared_as_such():
    single = [2.3, float(np.float32(2.2)), 2.1]
    agreement.check_losses("somebody", single, [2.3, 2.2, 2.1], "float32")
    with pytest.raises(agreement.DisagreementError):
        agreement.check_losses("somebody", single, [2.3, 2.2, 2.1], "float64")


def test_outputs_that_differ_are_refused():
    right = np.array([[1.0, 2.0]])
    agreement.check_outputs("somebody", right + 1e-5, right)
    for wrong in (right + 1e-2, right[0], right * np.nan):
        with pytest.raises(agreement.DisagreementError):
            agreement.check_outputs("somebody", wrong, right)


def test_rounds_interleave_and_begin_with_another_contender():
    ran, now = [], [0.0]

    def task(name, seconds):
        def run():
            ran.append(name)
            now[0] += seconds

        return measure.Task(name, run, units=2)

    plan = measure.Plan(turn=0, least=2, most=9, budget=9)
    timings = measure.interleave([task("a", 2), task("b", 3)], plan, lambda: now[0])
    assert ran == ["a", "b", "b", "a"]  # a third round would begin after the budget
    assert timings["a"].rounds == [[1.0], [1.0]]
    assert timings["b"].summary()["median"] == 1.5


def test_a_turn_goes_on_for_its_time():
    now = [0.0]

    def run():
        now[0] += 1

    plan = measure.Plan(turn=2.5, least=1, most=1, budget=0)
    timings = measure.interleave([measure.Task("a", run)], plan, lambda: now[0])
    assert timings["a"].rounds == [[1.0, 1.0, 1.0]]


def test_ratios_are_taken_within_rounds():
    # The machine was ten times slower in the second round: for both.
    assert measure.ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])["median"] == 2


def test_overrides_are_unset(monkeypatch):
    given = {"OMP_NUM_THREADS": "1", "MKL_DEBUG_CPU_TYPE": "5", "OMPHALOS": "kept"}
    monkeypatch.setattr(os, "environ", given)  # libraries that are loaded by now set some, too
    assert environment.remove_overrides() == ["MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS"]
    assert environment.remove_overrides() == []


def test_neighbours_are_counted_and_warned_of():
    before = machine.Usage(wall=0, busy=100, own=10, stolen=0)
    after = machine.Usage(wall=10, busy=125, own=28, stolen=1)
    assert after.others_since(before) == 0.8
    assert machine.warnings(0.2, {"step": 0.05}) == []
    assert len(machine.warnings(1.2, {"step": 0.8, "predict": 0.0})) == 2
    assert machine.warnings(0.1, {}) == []
    assert machine.describe(2, [])["threads"] == 2


def test_memory_of_a_fresh_process():
    found = memory.peak(memory.Request("numpy", 1))
    samples = memory.STEPS * REFERENCE.batch * REFERENCE.features * 4 / 1e6
    assert found["peak"] >= found["imported"] + samples / 2
    assert memory.STEPS == memory_child.STEPS
    assert set(memory_child.CONTENDERS) == {"numpy", "nervac", "dense", "masked", "csr", "onnx"}


def test_a_failing_process_is_reported():
    with pytest.raises(RuntimeError, match="nervac"):
        memory.peak(memory.Request("nervac", 1, module="/nowhere"))


def summary(median):
    return {"median": median, "q1": median * 0.9, "q3": median * 1.1, "min": 0, "rounds": []}


@pytest.fixture
def results():
    names = ("nervac native", "nervac auto", "PyTorch dense", "PyTorch CSR")
    ratios = {
        theirs: {ours: {"median": 7.25, "q1": 7.0, "q3": 7.5} for ours in names if "nervac" in ours}
        for theirs in names
        if "PyTorch" in theirs
    }
    row = {
        "density": 0.1,
        "weights": 367514,
        "contenders": {name: summary(0.002) for name in names},
        "ratios": ratios,
        "roofs": {"nervac native": 0.0005, "nervac auto": 0.0005},
        "kernels": {"nervac native": ["spmm"], "nervac auto": ["spmm", "sddmm"]},
        "others": 0.0,
    }
    dense = {**row, "density": 1.0}
    dense["contenders"] = {name: summary(0.02) for name in names if name != "PyTorch CSR"}
    dense["ratios"] = {"PyTorch dense": ratios["PyTorch dense"]}
    selection = {
        "best": "fused",
        "milliseconds": {"fused": 1.5, "plain": 2},
        "failures": {"x": "y"},
    }
    return {
        "quick": True,
        "network": "reference",
        "machine": machine.describe(2, ["OMP_NUM_THREADS"]),
        "load_before": 0.7,
        "load_after": 2.0,
        "warnings": ["The machine was not idle."],
        "step": {
            "samples": 1000,
            "rows": [dense, row],
            "selection": {"PyTorch dense": {"1": selection}},
            "missing": {"nervac mkl": "MKL is not installed"},
        },
        "predict": {
            "rows": [{**row, "samples": size} for size in (1, 100)],
            "selection": {"PyTorch dense": {"1 sample": selection}},
            "missing": {},
        },
        "regrow": {
            "density": 0.01,
            "contenders": {"training step": summary(0.001), "regrowth, random": summary(0.002)},
            "ratios": {"regrowth, random": {"median": 2.0}},
        },
        "memory": {
            "rows": [{"density": 0.1, "contenders": {"nervac auto": {"imported": 5, "peak": 7}}}],
            "missing": {},
            "steps": 10,
        },
        "compile": {
            "density": 0.1,
            "contenders": {"nervac auto": {"cold": summary(2.5), "cached": summary(0.5)}},
            "missing": {},
        },
    }


def test_the_tables_say_what_was_measured(results):
    text = report.markdown(results, {"step": "performance/step.svg"})
    assert "A trial of the harness" in text
    assert "> **Warning:** The machine was not idle." in text
    assert "`OMP_NUM_THREADS`" in text
    assert "| 0.1 | 367,514 | 2 (1.8–2.2) | 2 (1.8–2.2) | 2 (1.8–2.2) | 2 (1.8–2.2) | 25% |" in text
    assert "| 1 | 367,514 | 20 (18–22) | 20 (18–22) | 20 (18–22) |  | 2% |" in text
    assert "| 0.1 | 7.25× | 7.25× (4×) |" in text
    assert "Not measured: nervac mkl: MKL is not installed" in text
    assert "| PyTorch dense | 1 | **fused** | 1.5 |" in text
    assert "| PyTorch dense | 1 | x | does not work: y |" in text
    assert "(performance/step.svg)" in text
    assert "| 0.1 | 7 (5) |" in text
    assert "| training step | 1 (0.9–1.1) |  |" in text
    assert "| regrowth, random | 2 (1.8–2.2) | 2× |" in text
    assert "| nervac auto | 2.5 (2.25–2.75) | 0.5 (0.45–0.55) |" in text


def test_tables_are_replaced_between_the_markers():
    document = "# Performance\n\nWords.\n"
    once = report.put_into(document, "first\n", REFERENCE)
    twice = report.put_into(once + "\nMore words.\n", "second\n", REFERENCE)
    assert once.startswith("# Performance\n\nWords.\n\n")
    assert "second" in twice
    assert "first" not in twice
    assert twice.endswith("\nMore words.\n")


def test_a_document_holds_the_tables_of_several_networks():
    wide = WORKLOADS["wide"]
    both = report.put_into(report.put_into("", "reference\n", REFERENCE), "wide\n", wide)
    again = report.put_into(report.put_into(both, "wider\n", wide), "new\n", REFERENCE)
    assert again == both.replace("\nwide\n", "\nwider\n").replace("\nreference\n", "\nnew\n")
    assert (
        "<!-- yardstick wide: written by python -m benchmarks.yardstick --network wide -->" in both
    )


def test_tables_of_another_network_say_which(results):
    found = {key: results[key] for key in ("quick", "machine", "warnings", "step")}
    loads = {"load_before": 0.1, "load_after": 0.2}
    reference = report.markdown({**found, **loads, "network": "reference"}, {})
    assert report.markdown({**found, **loads}, {}) == reference
    text = report.markdown({**found, **loads, "network": "double"}, {})
    assert text.startswith("## The network double\n\n3072-1024-512-10, relu, softmax cross entropy")
    assert "batches of 100, float64." in text
    assert "of 1,000 float64 samples" in text
    assert "0.5 of what it wants of the network reference" in text
    assert "| 0.1 | 7.25× | 7.25× (2×) |" in text
    assert "\n### Training step\n" in text
    assert "\n#### PyTorch's forms\n" in text
    odd = report.markdown({**found, **loads, "network": "odd"}, {})
    assert "a batch of 37 of 1,000 float32 samples" in odd
    assert "| 0.1 | 7.25× | 7.25× (3×) |" in odd


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12345.6, "12,346"),
        (99.94, "99.9"),
        (0.0123456, "0.0123"),
        (0.00000123, "0.000001"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert report.number(value) == text


def test_plots_are_the_same_each_time(results, tmp_path):
    pytest.importorskip("matplotlib")
    plots = pytest.importorskip("benchmarks.yardstick.plots")
    first = {name: file.read_bytes() for name, file in plots.write_plots(results, tmp_path).items()}
    again = {name: file.read_bytes() for name, file in plots.write_plots(results, tmp_path).items()}
    assert set(first) == {"step", "ratio", "predict", "memory"}
    assert first == again
    assert all(content.startswith(b"<?xml") for content in first.values())


def test_another_networks_results_have_a_directory_of_their_own(results, tmp_path):
    pytest.importorskip("matplotlib")
    source = tmp_path / "yardstick.json"
    kept = {key: value for key, value in results.items() if key not in ("predict", "memory")}
    source.write_text(json.dumps({**kept, "network": "wide"}))
    done = command("--from", source, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["wide"]
    assert "Training step of wide, batch of 128" in (tmp_path / "out/wide/step.svg").read_text()


def test_results_are_written_anew_from_json(results, tmp_path):
    pytest.importorskip("matplotlib")
    source = tmp_path / "yardstick.json"
    source.write_text(json.dumps(results))
    document = tmp_path / "docs" / "performance.md"
    document.parent.mkdir()
    document.write_text("# Performance\n")
    arguments = ["--from", source, "-o", tmp_path / "docs" / "performance", "--into", document]
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "(performance/step.svg)" in document.read_text()
    assert (tmp_path / "docs" / "performance" / "step.svg").exists()
    assert json.loads((tmp_path / "docs" / "performance" / "yardstick.json").read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "steps"],
        ["--densities", "1,2"],
        ["--threads", "0"],
        ["--network", "narrow"],
        ["--network", "wide", "--from", "yardstick.json"],
    ],
)
def test_wrong_arguments_are_refused(arguments, tmp_path):
    done = command("-o", tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_parts_that_only_the_reference_has_are_refused(tmp_path):
    done = command("-o", tmp_path / "out", "--network", "odd", "--only", "step,predict,memory")
    assert done.returncode == 2
    assert "predict, memory: measured for the network reference only; for odd" in done.stderr
    assert not (tmp_path / "out").exists()


def test_quick_and_full_settings():
    assert settings.full(REFERENCE, (), 2, PARTS).densities == DENSITIES
    assert settings.quick(REFERENCE, (), 2, PARTS).densities == (0.1, 0.01)
    assert settings.full(REFERENCE, (0.5,), 2, PARTS).memory_densities == (0.5,)
    assert settings.full(REFERENCE, (), 2, PARTS).samples == 10_000
    assert settings.full(WORKLOADS["odd"], (), 2, ("step",)).samples == 9_990


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.yardstick", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


# Long files, of the front end's benchmark


@pytest.mark.parametrize("kind", files.KINDS)
def test_long_files_are_right_and_as_long_as_asked(kind):
    text = files.long_file(kind, 120)
    assert text.count("\n") == 120
    model = check_source(Source("long.nerva", text)).model
    assert len(model.layers) > 20
    assert len({layer.name for layer in model.layers}) == len(model.layers)


def test_a_deep_network_has_its_layers():
    assert len(check_source(Source("deep.nerva", files.deep_network(7))).model.layers) == 7


def test_the_front_ends_commands_are_timed(tmp_path):
    file = tmp_path / "short.nerva"
    file.write_text(files.deep_network(2))
    spent = front_end.run(tmp_path, "check", str(file), bytecode=tmp_path)
    assert spent.processor > 0
    assert spent.wall > 0
    with pytest.raises(RuntimeError, match=r"nervac check nowhere\.nerva: error"):
        front_end.run(tmp_path, "check", "nowhere.nerva", bytecode=tmp_path)


def test_layers_of_one_shape_share_their_kernels(tmp_path):
    sizes = []
    for depth in (15, 19):  # from where on the densities hardly change with the depth
        file = tmp_path / f"deep{depth}.nerva"
        file.write_text(files.deep_network(depth))
        sizes.append(front_end.size(file))
    assert sizes[0][1] == sizes[1][1]
    assert sizes[0][0] < sizes[1][0]


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors that threads can be bound to",
)
def test_an_exchange_of_two_threads_is_measured_window_by_window():
    measured = exchange.windows(2)
    assert len(measured) == 2
    assert all(len(window) == 3 and min(window) > 0 for window in measured)
