"""ONNX Runtime: dense prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.yardstick.workload import FloatArray, Network
from benchmarks.yardstick.workloads import REFERENCE


def model_bytes(network: Network, features: int = REFERENCE.features) -> bytes:
    """The network with all its weights as an ONNX file: Gemm and Relu, any number of rows."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 -- not to read such a file

    nodes, weights, value = [], [], "x"
    for number, layer in enumerate(network):
        last = number == len(network) - 1
        names = f"{layer.name}.weight", f"{layer.name}.bias"
        weights += [
            numpy_helper.from_array(layer.dense(), names[0]),
            numpy_helper.from_array(layer.bias, names[1]),
        ]
        product = "output" if last else f"{layer.name}.product"
        nodes.append(helper.make_node("Gemm", [value, *names], [product], transB=1))
        value = product
        if not last:
            nodes.append(helper.make_node("Relu", [value], [layer.name]))
            value = layer.name
    classes = len(network[-1].bias)
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", features])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", classes])],
        initializer=weights,
    )
    # Not the newest version: an ONNX Runtime may be older than the package that writes the file.
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    serialized: bytes = model.SerializeToString()
    return serialized


def make_session(model: bytes | str, threads: int) -> Any:
    """A session with every optimisation, equal threads, and subnormals flushed as nervac does.

    Args:
        model: an ONNX file, or its content.
        threads: to compute an operator with.
    """
    import onnxruntime  # noqa: PLC0415 -- an extra dependency

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def predictors(session: Any, x: FloatArray) -> dict[str, Callable[[], NDArray[Any]]]:
    """Prediction of some samples: by `run`, and with inputs and outputs bound beforehand."""
    import onnxruntime  # noqa: PLC0415 -- an extra dependency

    samples = np.ascontiguousarray(x)
    classes = session.get_outputs()[0].shape[1]
    result = np.empty((len(samples), classes), np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(samples))
    binding.bind_output(
        name="output",
        device_type="cpu",
        device_id=0,
        element_type=np.float32,
        shape=result.shape,
        buffer_ptr=result.ctypes.data,
    )

    def run() -> NDArray[Any]:
        outputs: NDArray[Any] = session.run(None, {"x": samples})[0]
        return outputs

    def bound() -> NDArray[Any]:
        session.run_with_iobinding(binding)
        return result

    return {"run": run, "bound inputs and outputs": bound}
