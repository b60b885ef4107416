"""What the definitions of the prelude say, as a mathematician writes it."""

from __future__ import annotations

from collections.abc import Mapping

FORMULAS: Mapping[str, Mapping[str, str]] = {
    "function": {
        "relu": "x where x > 0, else 0; derivative 0 at 0",
        "leaky_relu": "x where x > 0, else αx",
        "all_relu": "x where x > 0, else αx; AllReLU alternates the sign of α from layer to layer, "
        "which the model writes out",
        "srelu": "tl + al (x − tl) where x ≤ tl, x between, tr + ar (x − tr) from tr on",
        "trelu": "0 where x < ε, else x",
        "sigmoid": "1 / (1 + e⁻ˣ)",
        "tanh": "(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ); built in",
        "hard_tanh": "x between −1 and 1, and these outside; derivative 0 at ±1",
        "softplus": "log(1 + eˣ)",
        "silu": "x · sigmoid(x)",
        "gelu": "x Φ(x), with erf",
        "elu": "x where x > 0, else α(eˣ − 1)",
    },
    "loss": {
        "squared_error": "Σ (y − t)²",
        "mean_squared_error": "Σ (y − t)², divided by the number of features",
        "absolute_error": "Σ |y − t|",
        "huber": "Σ (y − t)² / 2 where |y − t| < δ, else δ(|y − t| − δ/2)",
        "cross_entropy": "−Σ t log y: y are probabilities",
        "softmax_cross_entropy": "−Σ t · log_softmax(y): y are logits, t a class or a distribution",
        "logistic_cross_entropy": "−Σ t log sigmoid(y); no term for t = 0",
        "binary_cross_entropy": "−Σ [t log sigmoid(y) + (1 − t) log sigmoid(−y)]",
        "negative_log_likelihood": "−log Σ y t: y are probabilities",
    },
    "optimizer": {
        "sgd": "w ← w − lr·g",
        "gradient_descent": "w ← w − lr·g, by Nerva's name",
        "momentum": "v ← μv − lr·g; w ← w + v",
        "nesterov": "v ← μv − lr·g; w ← w + μv − lr·g",
        "adam": "m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; "
        "w ← w − lr · m/(1 − β₁ˢ) / (√(v/(1 − β₂ˢ)) + ε) in step s",
        "adamw": "Adam, and w ← w − lr · weight_decay · w, for every parameter",
        "rmsprop": "v ← decay · v + (1 − decay)g²; w ← w − lr·g / (√v + ε)",
        "adagrad": "total ← total + g²; w ← w − lr·g / (√total + ε)",
    },
    "schedule": {
        "constant": "lr",
        "time_based": "lr / ((1 + decay) (1 + 2 decay) … (1 + epoch · decay))",
        "step_based": "lr · drop_rate to the power ⌊(1 + epoch) / change_rate⌋",
        "multistep": "lr · γ to the number of milestones ≤ epoch",
        "exponential": "lr · e^(−change_rate · epoch)",
        "cosine": "half a cosine, from lr in the first epoch to floor in the last",
        "warmup": "(epoch + 1) / epochs, at most 1: a factor for others",
    },
    "initialiser": {
        "xavier": "uniform in ±1/√D",
        "glorot": "uniform in ±√6/√(D + K)",
        "he": "normal, mean 0, variance 2/D",
        "uniform": "uniform between low and high",
        "normal": "normal, of this mean and standard deviation; both must be given",
        "zero": "0",
    },
}
"""By kind and name; the tables of `docs/language.md` say the same."""

INITIALISERS: Mapping[str, tuple[str, str]] = {
    "xavier": ("xavier()", "Nerva's, and the range of PyTorch's Linear"),
    "glorot": ("glorot()", "Glorot & Bengio, AISTATS 2010"),
    "he": ("he()", "He et al., ICCV 2015"),
    "uniform": ("uniform(low = -1, high = 1)", ""),
    "normal": ("normal(mean, std)", ""),
    "zero": ("zero()", ""),
}
"""How each is written, and its source."""

EXAMPLES: Mapping[str, Mapping[str, float | tuple[float, ...]]] = {
    "all_relu": {"alpha": 0.3},
    "trelu": {"epsilon": 0.5},
    "constant": {"lr": 0.1},
    "time_based": {"lr": 0.1, "decay": 0.01},
    "step_based": {"lr": 0.1, "drop_rate": 0.5, "change_rate": 10},
    "multistep": {"lr": 0.1, "milestones": (15, 25)},
    "exponential": {"lr": 0.1, "change_rate": 0.1},
    "cosine": {"lr": 0.1},
    "warmup": {"epochs": 5},
    "normal": {"mean": 0, "std": 0.05},
}
"""What is drawn for options that have no default."""
