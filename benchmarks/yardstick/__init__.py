"""The yardstick: nervac, PyTorch and ONNX Runtime on one network, in one run, interleaved.

    python -m benchmarks.yardstick -o DIR

- `workloads`: the networks that can be measured;
- `workload`: a network's data, and the weights that every contender starts from;
- `functions`: activations and losses in PyTorch;
- `forms_dense`, `forms_csr`: training in PyTorch, in each form that could be its fastest;
- `contenders_*`: what takes part in training and prediction, and which of it is there;
- `agreement`: nobody is timed who does not compute the same numbers;
- `measure`: turns, rounds, medians; `machine`: where it was measured, and who else was busy there;
- `training`, `prediction`, `memory`, `compilation`: one kind of measurement each;
- `report`, `plots`: what is written.
"""
