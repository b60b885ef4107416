"""The yardstick: nervac, PyTorch and ONNX Runtime on one workload, in one run, interleaved.

    python -m benchmarks.yardstick -o DIR

- `workload`: the network, its data, and the weights that every contender starts from;
- `forms_dense`, `forms_csr`: training in PyTorch, in each form that could be its fastest;
- `contenders_*`: what takes part in training and prediction, and which of it is there;
- `agreement`: nobody is timed who does not compute the same numbers;
- `measure`: turns, rounds, medians; `machine`: where it was measured, and who else was busy there;
- `training`, `prediction`, `memory`, `compilation`: one kind of measurement each;
- `report`, `plots`: what is written.
"""
