"""What the words and names of the language mean, in a line each: for hovers and completion.

Functions, losses, optimizers and schedules of the prelude are not here; they show their definition.
"""

from __future__ import annotations

from collections.abc import Mapping

KEYWORDS: Mapping[str, str] = {
    "model": "names the model and its Python module: `model NAME`",
    "param": "a constant that `-D` overrides: `param width = 256`",
    "let": "a constant: `let channels = [0.49, 0.48, 0.45]`",
    "input": "what goes in: `input x : float32[64]` or `uint8[64]`",
    "target": "what is to be learned: `target t : class[10]` or `float32[1]`",
    "sparsity": "density of layers that name none: `sparsity = erdos_renyi(0.01)`",
    "output": "what `predict` returns: `output = y`",
    "loss": "what training minimises: `loss = softmax_cross_entropy(y, t)`; or defines a loss",
    "metric": "what `evaluate` measures besides: `metric top3 = top_k(y, t, k = 3)`",
    "import": 'brings the definitions of a file: `import "blocks.nerva"`',
    "function": "defines an elementwise function: `function swish(x; beta = 1) = …`",
    "derivative": "states the derivative of a function; `y` is the function's own value",
    "learn": "an option that each use of the function trains",
    "schedule": "defines a learning rate over epochs: `schedule ramp(epoch; lr) = …`",
    "optimizer": "defines an optimizer: `optimizer sgd(w, g, lr) { w = w - lr * g }`",
    "state": "a number kept beside each weight: `state v = 0`",
    "layer": "defines a macro of values: `layer block(x; width) { … return … }`",
    "return": "the value of a layer: its last line",
    "train": "settings of the training: `train { epochs = 10 }`",
    "regrow": "dynamic sparse training: `regrow { every = epochs(1) … }`; or an option of `linear`",
    "if": "`if condition then value else value`",
    "then": "`if condition then value else value`",
    "else": "`if condition then value else value`",
    "and": "whether both conditions hold",
    "or": "whether one of two conditions holds",
    "not": "whether a condition does not hold",
    "in": "`product(i in first .. last, …)`",
    "true": "a truth value",
    "false": "a truth value",
}

TYPES: Mapping[str, Mapping[str, str]] = {
    "input": {
        "float32": "numbers",
        "uint8": "whole numbers from 0 to 255",
    },
    "target": {
        "class": "a label, from 0 to K − 1",
        "float32": "numbers",
    },
}

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "linear": (
        "linear(x, n, density, bias, weights, drop_connect, optimizer, regrow, pattern)",
        "`W x + b` with n outputs; sparse if its density is below 1",
    ),
    "batch_norm": (
        "batch_norm(x, momentum = 0.1, epsilon = 1e-5)",
        "each feature by its mean and variance, times gamma, plus beta",
    ),
    "dropout": ("dropout(x, rate)", "in training, 0 with probability `rate`"),
    "softmax": ("softmax(x)", "over the features"),
    "log_softmax": ("log_softmax(x)", "the logarithm of softmax, in its stable form"),
    "concat": ("concat(a, b, …)", "the features of all parts, one after the other"),
    "slice": ("slice(x, from, to)", "the features `from`, …, `to − 1`, from 0"),
    "normalize": ("normalize(x, mean, std)", "`(x − mean) / std`, of numbers or lists of channels"),
    "sum": ("sum(x)", "over the features, in a loss"),
    "mean": ("mean(x)", "over the features, in a loss"),
    "max": ("max(a, b)", "the larger; of one argument in a loss: over the features"),
    "min": ("min(a, b)", "the smaller"),
    "abs": ("abs(x)", "absolute value; derivative 0 at 0"),
    "sign": ("sign(x)", "−1, 0 or 1; derivative 0"),
    "floor": ("floor(x)", "rounds down; derivative 0"),
    "exp": ("exp(x)", "eˣ"),
    "expm1": ("expm1(x)", "eˣ − 1, accurate near 0"),
    "log": ("log(x)", "natural logarithm"),
    "log1p": ("log1p(x)", "log(1 + x), accurate near 0"),
    "sqrt": ("sqrt(x)", "square root"),
    "tanh": ("tanh(x)", "hyperbolic tangent"),
    "erf": ("erf(x)", "error function"),
    "sin": ("sin(x)", "sine"),
    "cos": ("cos(x)", "cosine"),
    "len": ("len(list)", "length of a list or string, a constant"),
    "count": ("count(list <= epoch)", "how many numbers of a list satisfy a comparison"),
    "product": ("product(i in first .. last, expression)", "the product over i, in a schedule"),
    "accuracy": ("accuracy(y, t)", "fraction of samples whose largest feature is their label's"),
    "top_k": ("top_k(y, t, k)", "fraction of samples whose label is among the k largest features"),
    "confusion_matrix": ("confusion_matrix(y, t)", "counts: a row a label, a column a prediction"),
}
"""What can be called without being defined: how, and what it is."""

SPARSITIES: Mapping[str, tuple[str, str]] = {
    "uniform": ("uniform(density)", "every layer has this density"),
    "erdos_renyi": ("erdos_renyi(density)", "an overall density; small layers get more of it"),
}

INITIALISERS: Mapping[str, tuple[str, str]] = {
    "xavier": ("xavier(fan_in)", "uniform in ±1/√D, of D inputs"),
    "glorot": ("glorot(fan_in)", "uniform in ±√6/√(D + K), of D inputs and K outputs"),
    "he": ("he(fan_in)", "normal, variance 2/D, of D inputs"),
    "uniform": ("uniform(low = -1, high = 1, fan_in)", "uniform"),
    "normal": ("normal(mean, std, fan_in)", "normal"),
    "zero": ("zero(fan_in)", "0"),
}

PRUNERS: Mapping[str, tuple[str, str]] = {
    "magnitude": ("magnitude(fraction)", "the smallest weights go"),
    "set": ("set(fraction)", "the smallest positive and the smallest negative weights go"),
    "threshold": ("threshold(value)", "weights that are not larger go"),
}

GROWERS: Mapping[str, tuple[str, str]] = {
    "random": ("random()", "new weights anywhere"),
    "gradient": ("gradient()", "new weights where the gradient is largest"),
    "momentum": ("momentum()", "new weights where the average gradient is largest"),
}

UNITS: Mapping[str, tuple[str, str]] = {
    "epochs": ("epochs(n)", "every n epochs"),
    "steps": ("steps(n)", "every n steps"),
}

PRECISIONS: Mapping[str, str] = {"float32": "single precision", "float64": "double precision"}

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "train": {
        "batch": "most samples in a step; 32",
        "epochs": "how many epochs to train; 10",
        "optimizer": "a call of an optimizer; `sgd()`",
        "learning_rate": "a number, a schedule, or arithmetic of both; 0.01",
        "seed": "of patterns, initial weights and the order of samples; 1",
        "shuffle": "whether each epoch has an order of its own; `true`",
        "weight_decay": "times the weight, is added to its gradient; 0",
        "clip_norm": "the largest norm of all gradients together; off",
        "precision": "`float32` or `float64`, of all that is computed; `float32`",
    },
    "regrow": {
        "every": "`epochs(n)` or `steps(n)`",
        "prune": "which weights go",
        "grow": "where new ones appear",
        "weights": "distribution of the new weights; `zero()`",
        "until": "fraction of the training after which positions stay; 1",
    },
}
"""The keys of the blocks of settings."""

CHOICES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "sparsity": SPARSITIES,
    "weights": INITIALISERS,
    "prune": PRUNERS,
    "grow": GROWERS,
    "every": UNITS,
}
"""What stands after `key =` and nowhere else."""
