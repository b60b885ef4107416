"""Names that other libraries have for what has another name here.

Names are compared without underscores and capitals, and a suggestion is made only where it is one
of the names that are possible; so one table does for functions, losses, options and settings.
"""

from __future__ import annotations

from collections.abc import Iterable

_OURS = {
    # Values and functions.
    "linear": "dense fc fullyconnected affine matmul sparselinear",
    "batch_norm": "bn batchnormalization",
    "normalize": "standardize standardise",
    "concat": "cat concatenate hstack",
    "slice": "narrow",
    "silu": "swish",
    "sigmoid": "logistic expit",
    "relu": "rectifier",
    "log": "ln",
    "sign": "sgn",
    "max": "maximum",
    "min": "minimum",
    # Losses.
    "squared_error": "sse l2loss",
    "mean_squared_error": "mse mseloss",
    "absolute_error": "mae l1 l1loss",
    "binary_cross_entropy": "bce bceloss bcewithlogits bcewithlogitsloss",
    "softmax_cross_entropy": "crossentropyloss categoricalcrossentropy",
    "negative_log_likelihood": "nll nllloss",
    # Optimizers and schedules.
    "gradient_descent": "gd",
    "momentum": "heavyball",
    "nesterov": "nag",
    "step_based": "steplr",
    "cosine": "cosineannealing cosineannealinglr",
    # Sparsity, pruning and growing.
    "erdos_renyi": "er erk",
    "gradient": "rigl",
    # Settings.
    "learning_rate": "lr",
    "batch": "minibatch",
    "epochs": "nepochs numepochs maxepochs",
    "weight_decay": "l2 wd",
    "clip_norm": "clip gradclip maxnorm maxgradnorm",
    "precision": "dtype",
    "optimizer": "optim solver",
    # Options.
    "n": "units outputs outfeatures features",
    "rate": "p prob probability",
    "weights": "init initializer initialiser kernelinitializer",
    "bias": "usebias",
    "pattern": "mask",
    "epsilon": "eps",
    # Types.
    "float32": "float real double",
    "uint8": "int integer byte",
    "class": "label labels category categorical",
}

_SYNONYMS = {other: ours for ours, others in _OURS.items() for other in others.split()}

_ELSEWHERE = {
    ("linear", "activation"): "an activation is a function of its own: `relu(linear(…))`",
    ("linear", "dropout"): "dropout is a function of its own: `linear(dropout(x, rate), n)`",
    ("linear", "input_dim"): "the number of inputs is that of the features of `x`",
    ("linear", "in_features"): "the number of inputs is that of the features of `x`",
}


def synonym(name: str, known: Iterable[str]) -> str:
    """The known name for what another library calls `name`; empty if there is none."""
    ours = _SYNONYMS.get(name.lower().replace("_", ""), "")
    return ours if ours in known else ""


def elsewhere(called: str, option: str) -> str:
    """Where what another library has as an option of a function is found here."""
    return _ELSEWHERE.get((called, option), "")
