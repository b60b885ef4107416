"""`Generated` texts of the hand-written model in `tiny.c`, in several variants."""

from __future__ import annotations

import pprint
from pathlib import Path

from nerva_dsl.codegen.generated import Generated

DECLARATIONS = """\
typedef {real} real;
typedef int32_t Index;
typedef struct nerva_model nerva_model;
typedef struct {{
    const void *x;
    const void *t;
    const int64_t *order;
    int64_t samples;
    int64_t first;
    double learning_rate;
    int64_t epoch, epochs;
    int64_t step;
    uint64_t seed;
    int32_t threads;
}} nerva_job;
typedef struct {{
    int64_t samples;
    int64_t step;
    int32_t stop;
    int32_t error;
    int64_t row, feature;
    int32_t layer;
    double totals[32];
}} nerva_report;
nerva_model *nerva_create(void);
void nerva_destroy(nerva_model *model);
real *nerva_value(nerva_model *model, int parameter);
real *nerva_state(nerva_model *model, int parameter, int state);
int64_t *nerva_row_start(nerva_model *model, int parameter);
Index *nerva_column(nerva_model *model, int parameter);
int nerva_index(nerva_model *model, int parameter);
int nerva_train(nerva_model *model, const nerva_job *job, nerva_report *report);
int nerva_evaluate(nerva_model *model, const nerva_job *job, nerva_report *report,
                   int64_t *counts);
int nerva_predict(nerva_model *model, const nerva_job *job, nerva_report *report, real *output);
int nerva_few(void);
int nerva_predict_few(nerva_model *model, const void *x, int64_t samples, nerva_report *report,
                      void *output);
int nerva_gradients(nerva_model *model, const nerva_job *job, nerva_report *report,
                    real **gradients);
int nerva_masks(nerva_model *model, const nerva_job *job, nerva_report *report, real **masks);
double nerva_learning_rate(double epoch, double epochs, double step);
"""

MODULE = '''\
"""A hand-written model."""

from nerva_dsl.runtime.loading import load_extension
from nerva_dsl.runtime.model import Model as _Model

SPEC = {spec}


class Model(_Model):
    """A hand-written model."""

    _spec = SPEC
    _extension = load_extension(__file__, "_{name}")


__all__ = ["SPEC", "Model"]
'''

TARGETS = {None: 0, "class": 1, "real": 2}


def generate(
    name: str = "tiny",
    *,
    features: int = 4,
    hidden: int = 3,
    outputs: int = 2,
    nnz: int = 6,
    batch: int = 5,
    epochs: int = 4,
    precision: str = "float32",
    element: str = "float32",
    target: str | None = "class",
    shuffle: bool = True,
    delay: int = 0,
    out_of_memory: bool = False,
) -> Generated:
    """The texts of a variant; `delay` is in nanoseconds a batch."""
    real = {"float32": "float", "float64": "double"}[precision]
    declarations = DECLARATIONS.format(real=real)
    macros = {
        "FEATURES": features,
        "HIDDEN": hidden,
        "OUTPUTS": outputs,
        "NNZ": nnz,
        "BATCH": batch,
        "TARGET": TARGETS[target],
        "DELAY": delay,
        "OUT_OF_MEMORY": int(out_of_memory),
    }
    head = "".join(f"#define {key} {value}\n" for key, value in macros.items())
    input_type = "uint8_t" if element == "uint8" else "real"
    c_source = (
        f"{head}#include <stdint.h>\n{declarations}typedef {input_type} element;\n"
        f"{Path(__file__).with_name('tiny.c').read_text()}"
    )
    zero = {"distribution": "uniform", "first": 0.0, "second": 0.0}
    uniform = {"distribution": "uniform", "first": -0.5, "second": 0.5}
    normal = {"distribution": "normal", "first": 0.0, "second": 0.5}
    velocity = [["v", 0.0]]

    def parameter(name, shape, format, nnz, initial):
        return {
            "name": name,
            "shape": shape,
            "format": format,
            "nnz": nnz,
            "initial": initial,
            "states": velocity,
        }

    spec = {
        "format": 1,
        "nervac": "0.1.0",
        "name": name,
        "precision": precision,
        "params": {},
        "input": {"name": "x", "element": element, "features": features},
        "target": None if target is None else {"name": "t", "kind": target, "size": outputs},
        "outputs": outputs,
        "batch": batch,
        "epochs": epochs,
        "seed": 1,
        "shuffle": shuffle,
        "layers": [
            {
                "name": "h",
                "inputs": features,
                "outputs": hidden,
                "nnz": nnz,
                "density": nnz / (features * hidden),
                "sparse": True,
            },
            {
                "name": "y",
                "inputs": hidden,
                "outputs": outputs,
                "nnz": hidden * outputs,
                "density": 1.0,
                "sparse": False,
            },
        ],
        "parameters": [
            parameter("h.weight", [hidden, features], "csr", nnz, uniform),
            parameter("h.bias", [hidden], "vector", hidden, zero),
            parameter("y.weight", [outputs, hidden], "dense", outputs * hidden, normal),
            parameter("y.bias", [outputs], "vector", outputs, zero),
        ],
        "trained": ["h.weight", "h.bias", "y.weight", "y.bias"],
        "totals": ["loss", "accuracy"] if target == "class" else ["loss"],
        "step_totals": ["loss", "accuracy"] if target == "class" else ["loss"],
        "confusions": [],
        "masks": [],
        "smallest_batch": 1,
        "backend": "native",
        "vector_bytes": 64,
        "kernels": [],
    }
    module = MODULE.format(spec=pprint.pformat(spec, sort_dicts=False), name=name)
    return Generated(name, c_source, declarations, module, spec)
