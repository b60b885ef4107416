"""The layers of `mlp` as values of a file, one for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from nerva_dsl.check.densities import erdos_renyi
from nerva_dsl.check.report import suggest
from nerva_dsl.from_nerva.calls import (
    Call,
    MlpError,
    call,
    choose,
    fold,
    items,
    natural,
    number,
    spread,
)

EPSILON = "1e-7"
"""What Nerva adds to the variance in batch normalization, in single precision."""


@dataclass(frozen=True)
class _Activation:
    """The equal of an activation.

    Attributes:
        function: applied to the `linear`; empty for none.
        parameters: with their defaults; None if there is none.
    """

    function: str
    parameters: Mapping[str, str | None]


_ACTIVATIONS: Mapping[str, _Activation | None] = {
    "Linear": _Activation("", {}),
    "ReLU": _Activation("relu", {}),
    "Sigmoid": _Activation("sigmoid", {}),
    "Softmax": _Activation("softmax", {}),
    "LogSoftmax": _Activation("log_softmax", {}),
    "HyperbolicTangent": _Activation("tanh", {}),
    "AllReLU": _Activation("all_relu", {"alpha": None}),
    "LeakyReLU": _Activation("leaky_relu", {"alpha": None}),
    "SReLU": _Activation("srelu", {"al": "0", "tl": "0", "ar": "0", "tr": "1"}),
    "TReLU": _Activation("trelu", {"epsilon": None}),
    "BatchNormalization": None,
    "BatchNorm": None,
}

_LEARNING = ("BatchNormalization", "SReLU")
"""Layers with parameters beside weight and bias, which the optimizer of `train` trains."""

WEIGHTS = ("Xavier", "XavierNormalized", "He", "Uniform", "Zero", "None", "PyTorch")
WEIGHTS_SINCE_2025 = (
    "XavierUniform",
    "XavierNormal",
    "HeNormal",
    "HeUniform",
    "Normal",
)

_OPTIMIZERS: Mapping[str, tuple[str, Mapping[str, str | None]]] = {
    "GradientDescent": ("gradient_descent", {}),
    "Momentum": ("momentum", {"momentum": None}),
    "Nesterov": ("nesterov", {"momentum": None}),
}


@dataclass(frozen=True)
class Network:
    """The part of a file from `sparsity` to the last value.

    Attributes:
        overall: the overall density that a `param` holds; empty if there is none.
        sparsity: what stands behind `sparsity =`; empty if nothing does.
        bindings: the values, in order; the last one is `y`.
        optimizer: of `train`.
        sparse: whether any layer is.
        normalized: whether there is a batch normalization.
        warnings: what has no equal.
    """

    overall: str
    sparsity: str
    bindings: tuple[str, ...]
    optimizer: str
    sparse: bool
    normalized: bool
    warnings: tuple[str, ...]


def layer_sizes(options: Mapping[str, str]) -> list[int]:
    """The number of inputs, and the number of outputs of each linear layer.

    Raises:
        MlpError: they are missing, or not at least two whole numbers from 1 on.
    """
    if "sizes" not in options:
        raise MlpError("--layer-sizes is missing, such as --layer-sizes='3072;1024;512;10'")
    sizes = [natural("--layer-sizes", item) for item in items("--layer-sizes", options["sizes"])]
    if len(sizes) < 2 or 0 in sizes:
        raise MlpError(
            f"--layer-sizes: `{options['sizes']}` is not the number of inputs and of the outputs "
            "of each linear layer, such as '64;32;10'"
        )
    return sizes


def network(options: Mapping[str, str], sizes: Sequence[int], source: str) -> Network:
    """Translate what describes the network.

    Args:
        options: values by the keys of `TRANSLATED`.
        sizes: of the linear layers.
        source: the name of the value that the first layer reads.

    Raises:
        MlpError: an option is wrong, or does not go with another.
    """
    layers = _layers(options, sizes)
    linear = [layer for layer in layers if _is_linear(layer)]
    shapes = list(pairwise(sizes))
    warnings: list[str] = []
    keeps = _keeps(options, len(linear), warnings)
    overall, sparsity, densities = _densities(options, shapes, keeps, warnings)
    weights = _weights(options, shapes, warnings)
    optimizers = _optimizers(options, layers)
    main = _main_optimizer(layers, optimizers, warnings)

    bindings: list[str] = []
    value, at = source, 0
    for place, (layer, optimizer) in enumerate(zip(layers, optimizers, strict=True), 1):
        name = f"h{place}" if place < len(layers) else "y"
        if not _is_linear(layer):
            expression = f"batch_norm({value}, epsilon = {EPSILON})"
        else:
            given = {
                "density": densities[at],
                "weights": weights[at],
                "drop_connect": _rate(keeps[at]),
                "optimizer": optimizer if optimizer != main else "",
            }
            parts = [value, str(sizes[at + 1])]
            parts += [f"{option} = {text}" for option, text in given.items() if text]
            expression = _activated(layer, f"linear({', '.join(parts)})")
            at += 1
        bindings.append(f"{name} = {expression}")
        value = name
    normalized = len(linear) < len(layers)
    if normalized:
        warnings.append(
            "BatchNormalization: mlp tests with the mean and variance of each batch of the test "
            "set; here they are averages over the training"
        )
    sparse = bool(sparsity) or any(densities)
    return Network(overall, sparsity, tuple(bindings), main, sparse, normalized, tuple(warnings))


def _layers(options: Mapping[str, str], sizes: Sequence[int]) -> list[Call]:
    if "layers" not in options:
        raise MlpError("--layers is missing, such as --layers='ReLU;ReLU;Linear'")
    layers = [call("--layers", item) for item in items("--layers", options["layers"])]
    for layer in layers:
        choose("--layers", "layer", layer.name, _ACTIVATIONS)
        if not _is_linear(layer):
            layer.bind({})
    count = sum(map(_is_linear, layers))
    if count != len(sizes) - 1:
        raise MlpError(
            f"--layers has {count} linear layer{'s' * (count != 1)}, and --layer-sizes "
            f"{len(sizes)} sizes, which is the inputs and {len(sizes) - 1} layers"
        )
    return layers


def _is_linear(layer: Call) -> bool:
    return choose("--layers", "layer", layer.name, _ACTIVATIONS) is not None


def _activated(layer: Call, value: str) -> str:
    activation = choose("--layers", "layer", layer.name, _ACTIVATIONS)
    assert activation is not None  # a linear layer
    told = ""
    for name, text in layer.bind(activation.parameters).items():
        given, default = number("--layers", text), activation.parameters[name]
        if default is None or float(given) != float(default):
            told += f", {name} = {given}"
    return f"{activation.function}({value}{told})" if activation.function else value


def _keeps(options: Mapping[str, str], count: int, warnings: list[str]) -> list[str]:
    """For each linear layer the probability to keep a weight; empty for no dropout."""
    if "dropouts" not in options:
        return [""] * count
    texts = spread("--dropouts", items("--dropouts", options["dropouts"]), count, "linear layers")
    kept = [number("--dropouts", text) for text in texts]
    for text in kept:
        if not 0 <= float(text) <= 1:
            raise MlpError(f"--dropouts: `{text}` is not from 0 to 1")
    rates = [text for text in kept if 0 < float(text) < 1]
    if rates:
        warnings.append(
            f"--dropouts: mlp keeps a weight with the probability that it is given, so "
            f"{rates[0]} is `drop_connect = {_rate(rates[0])}`; mlp draws anew for each epoch but "
            "the first, and tests with that; here every step draws, and no test does"
        )
    return [text if float(text) else "" for text in kept]


def _rate(keep: str) -> str:
    """The probability to leave a weight out; empty for 0."""
    rate = 1 - Decimal(keep or "1")
    return f"{rate}" if rate else ""


def _densities(
    options: Mapping[str, str],
    shapes: Sequence[tuple[int, int]],
    keeps: Sequence[str],
    warnings: list[str],
) -> tuple[str, str, list[str]]:
    """The overall density, the sparsity, and a density for each linear layer; each may be empty."""
    overall = _density("--overall-density", options.get("overall_density", "1"))
    own = [""] * len(shapes)
    if "densities" in options:
        if float(overall) != 1:
            raise MlpError(
                "--densities and --overall-density contradict each other: leave one of them out"
            )
        listed = items("--densities", options["densities"])
        texts = [_density("--densities", text) for text in listed]
        own = [
            "" if float(text) == 1 else text
            for text in spread("--densities", texts, len(shapes), "linear layers")
        ]
        if len(listed) == 1 and own[0] and not any(keeps):
            return "", f"uniform({own[0]})", [""] * len(shapes)
    elif float(overall) != 1:
        if not any(keeps):
            return overall, "erdos_renyi(density)", own
        exact = [float(density) for density in erdos_renyi(float(overall), shapes)]
        own = ["" if density == 1 else repr(density) for density in exact]
    dense = [place for place, keep in enumerate(keeps, 1) if keep and own[place - 1]]
    if dense:
        warnings.append(
            f"--dropouts: in mlp a layer with dropout is dense, and so is linear layer "
            f"{', '.join(map(str, dense))} here; `drop_connect` works on sparse layers too"
        )
    return "", "", [text if not keep else "" for text, keep in zip(own, keeps, strict=True)]


def _density(option: str, text: str) -> str:
    density = number(option, text)
    if not 0 < float(density) <= 1:
        raise MlpError(f"{option}: a density is above 0 and at most 1, not {density}")
    return density


def _weights(
    options: Mapping[str, str], shapes: Sequence[tuple[int, int]], warnings: list[str]
) -> list[str]:
    """The initial weights of each linear layer; empty for the default, `xavier()`."""
    given = items("--layer-weights", options.get("weights", "None"))
    names = spread("--layer-weights", given, len(shapes), "linear layers")
    texts = [
        initial_weights("--layer-weights", name, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    folded = {fold(name) for name in names}
    if fold("None") in folded:
        where = "" if "weights" in options else ", which is what mlp does without the option"
        warnings.append(
            f"--layer-weights None{where}: mlp leaves weights undefined, to be loaded; here they "
            "are `xavier()`"
        )
    if fold("PyTorch") in folded:
        warnings.append("--layer-weights PyTorch: biases begin at 0.01 in mlp, here at 0")
    return [text if text != "xavier()" else "" for text in texts]


def initial_weights(option: str, name: str, shape: tuple[int, int]) -> str:
    """The equal of a weight initializer for a layer.

    Args:
        option: for messages.
        name: as `mlp` calls it.
        shape: D inputs and K outputs.

    Raises:
        MlpError: `mlp` does not have it.
    """
    inputs, outputs = shape
    known = [*WEIGHTS, *WEIGHTS_SINCE_2025]
    match fold(name):
        case "xavier" | "none":
            return "xavier()"
        case "xaviernormalized" | "xavieruniform" | "pytorch":
            return "glorot()"
        case "xaviernormal":
            return f"normal(mean = 0, std = {math.sqrt(2 / (inputs + outputs))!r})"
        case "he" | "henormal":
            return "he()"
        case "heuniform":
            bound = math.sqrt(6 / inputs)
            return f"uniform(low = {-bound!r}, high = {bound!r})"
        case "normal":
            return "normal(mean = 0, std = 1)"
        case "uniform":
            return "uniform()"
        case "zero":
            return "zero()"
    hint = suggest(name, known, f"it has {', '.join(known)}")
    raise MlpError(f"{option}: mlp has no weights `{name}`: {hint}")


def _optimizers(options: Mapping[str, str], layers: Sequence[Call]) -> list[str]:
    """The optimizer of each layer."""
    option = "--optimizers"
    result = []
    for text in items(option, options.get("optimizers", "GradientDescent")):
        optimizer = call(option, text)
        ours, parameters = choose(option, "optimizer", optimizer.name, _OPTIMIZERS)
        given = optimizer.bind(parameters).values()
        result.append(f"{ours}({', '.join(number(option, value) for value in given)})")
    return spread(option, result, len(layers), "layers, of which normalizations are some")


def _main_optimizer(layers: Sequence[Call], optimizers: Sequence[str], warnings: list[str]) -> str:
    """The optimizer of `train`: that of what has none of its own, else the first."""
    learning = [
        (place, layer, optimizer)
        for place, (layer, optimizer) in enumerate(zip(layers, optimizers, strict=True), 1)
        if not _is_linear(layer) or fold(layer.name) == fold("SReLU")
    ]
    main = learning[0][2] if learning else optimizers[0]
    for place, layer, optimizer in learning:
        if optimizer != main:
            what = "thresholds and slopes" if _is_linear(layer) else "gamma and beta"
            warnings.append(
                f"--optimizers: {what} of layer {place}, {layer.name}, have no optimizer of their "
                f"own here; they are trained by {main}, not {optimizer}"
            )
    return main
