"""Prediction: microseconds a call, for a batch and for one sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.yardstick import contenders_nervac, contenders_onnx
from benchmarks.yardstick.agreement import check_outputs
from benchmarks.yardstick.contenders_nervac import compile_backends
from benchmarks.yardstick.contenders_pytorch import Selection, fastest_predictor
from benchmarks.yardstick.machine import Usage
from benchmarks.yardstick.measure import Plan, Task, as_json, calls, interleave, ratio
from benchmarks.yardstick.settings import Settings
from benchmarks.yardstick.workload import Data, FloatArray, Network, network_of
from benchmarks.yardstick.workloads import REFERENCE

DENSE, ONNX = "PyTorch dense", "ONNX Runtime dense"
SIZES = (1, REFERENCE.batch)

Call = Callable[[], Any]


def measure_prediction(
    settings: Settings, data: Data, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure every density.

    The dense contenders are made once, of the first density's weights: what they take does not
    depend on the weights. They are checked against NumPy, as everybody is.

    Raises:
        DisagreementError: a contender computes something else.
    """
    missing: dict[str, str] = {}
    selections: dict[str, dict[str, Any]] = {}
    dense: dict[int, dict[str, Call]] = {}
    rows = []
    for density in settings.densities:
        compiled, absent = compile_backends(REFERENCE, density)
        missing |= absent
        model = compiled[0].model(None, settings.threads)
        network = network_of(REFERENCE, model.parameters())
        for size in SIZES:
            x = data.X[:size].copy()
            expected = outputs_of(network, x)
            if size not in dense:
                dense[size] = _dense(network, x, expected, settings, selections, missing)
            ours: dict[str, Call] = {}
            for each in compiled:
                predict = contenders_nervac.predictor(each.model(network, settings.threads), x)
                check_outputs(f"{each.name} at density {density:g}", predict(), expected)
                ours[each.name] = predict
            tasks = [
                Task(name, *calls(call), warm=call) for name, call in (ours | dense[size]).items()
            ]
            before = Usage.now()
            timings = interleave(tasks, settings.predict)
            others = Usage.now().others_since(before)
            say(
                f"predict {size}, density {density:g}: "
                + ", ".join(
                    f"{name} {timing.summary()['median'] * 1e6:.3g} µs"
                    for name, timing in timings.items()
                )
            )
            rows.append(
                {
                    "density": density,
                    "samples": size,
                    "contenders": as_json(timings),
                    "ratios": {
                        theirs: {
                            name: ratio(timings[theirs].medians(), timings[name].medians())
                            for name in ours
                        }
                        for theirs in dense[size]
                    },
                    "others": others,
                }
            )
    return {"rows": rows, "selection": selections, "missing": missing}


def outputs_of(network: Network, x: FloatArray) -> NDArray[np.float64]:
    """The network's outputs, by NumPy in double precision."""
    value = x.astype(np.float64)
    for number, layer in enumerate(network):
        value = value @ layer.dense().astype(np.float64).T + layer.bias
        if number < len(network) - 1:
            value = np.maximum(value, 0)
    return value


def _dense(
    network: Network,
    x: FloatArray,
    expected: NDArray[Any],
    settings: Settings,
    selections: dict[str, dict[str, Any]],
    missing: dict[str, str],
) -> dict[str, Call]:
    """The dense contenders for so many samples, each in its fastest form."""
    size = f"{len(x)} sample{'s' * (len(x) > 1)}"
    predict, selection = fastest_predictor(
        network, x, expected, compile_too=settings.compile_forms, plan=settings.selection
    )
    selections.setdefault(DENSE, {})[size] = selection.as_json()
    found: dict[str, Call] = {DENSE: predict}
    try:
        session = contenders_onnx.make_session(
            contenders_onnx.model_bytes(network), settings.threads
        )
    except ImportError as error:
        missing[ONNX] = str(error)
        return found
    forms = contenders_onnx.predictors(session, x)
    for name, call in forms.items():
        check_outputs(f"{ONNX}, {name}", call(), expected)
    chosen = _fastest(forms, settings.selection)
    selections.setdefault(ONNX, {})[size] = chosen.as_json()
    found[ONNX] = forms[chosen.best]
    return found


def _fastest(forms: dict[str, Call], plan: Plan) -> Selection:
    tasks = [Task(name, *calls(call)) for name, call in forms.items()]
    selection = Selection()
    for name, timing in interleave(tasks, plan).items():
        selection.milliseconds[name] = timing.summary()["median"] * 1e3
    return selection
