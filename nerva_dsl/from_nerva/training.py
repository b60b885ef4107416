"""The loss, the settings of the training, and pruning and growing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nerva_dsl.from_nerva.calls import MlpError, call, choose, items, natural, number
from nerva_dsl.from_nerva.network import Network, initial_weights

_LOSSES = {
    "SquaredError": "squared_error",
    "CrossEntropy": "cross_entropy",
    "LogisticCrossEntropy": "logistic_cross_entropy",
    "SoftmaxCrossEntropy": "softmax_cross_entropy",
    "NegativeLogLikelihood": "negative_log_likelihood",
}

_SCHEDULERS: Mapping[str, tuple[str, Mapping[str, str | None]]] = {
    "Constant": ("constant", {"lr": None}),
    "TimeBased": ("time_based", {"lr": None, "decay": None}),
    "StepBased": ("step_based", {"lr": None, "drop_rate": None, "change_rate": None}),
    "MultistepLR": ("multistep", {"lr": None, "milestones": None, "gamma": None}),
    "Exponential": ("exponential", {"lr": None, "change_rate": None}),
}

_PRUNERS: Mapping[str, tuple[str, Mapping[str, str | None]]] = {
    "Magnitude": ("magnitude", {"drop_fraction": None}),
    "SET": ("set", {"drop_fraction": None}),
    "Threshold": ("threshold", {"threshold": None}),
}

_MOST_SEEDS = 2**63


def loss(options: Mapping[str, str]) -> str:
    """The loss of `y` and `t`.

    Raises:
        MlpError: `mlp` does not have it.
    """
    given = call("--loss", options.get("loss", "SquaredError"))
    given.bind({})
    return f"{choose('--loss', 'loss', given.name, _LOSSES)}(y, t)"


def settings(options: Mapping[str, str], network: Network, warnings: list[str]) -> list[str]:
    """The lines of `train`.

    Raises:
        MlpError: an option is wrong, or does not go with another.
    """
    batch = natural("--batch-size", options.get("batch", "1"))
    if network.normalized and batch == 1:
        given = "is given" if "batch" in options else "is what mlp takes without the option"
        raise MlpError(
            f"--batch-size 1 {given}, and one sample has no variance for BatchNormalization: "
            "choose another, such as --batch-size=100"
        )
    lines = [
        f"batch = {batch}",
        f"epochs = {natural('--epochs', options.get('epochs', '100'))}",
        f"optimizer = {network.optimizer}",
        f"learning_rate = {_learning_rate(options, warnings)}",
    ]
    if "seed" in options:
        seed = natural("--seed", options["seed"])
        if seed >= _MOST_SEEDS:
            raise MlpError(f"--seed: a seed is below 2^63 here, not {seed}")
        lines.append(f"seed = {seed}")
    if "shuffle" in options:
        lines.append(f"shuffle = {options['shuffle']}")
    return lines


def _learning_rate(options: Mapping[str, str], warnings: list[str]) -> str:
    option, text = "--learning-rate", options.get("learning_rate", "0.01")
    if "scheduler" in options:
        if "learning_rate" in options:
            warnings.append(f"--learning-rate={text}: is not used, for the scheduler has its own")
        option, text = "--learning-rate-scheduler", options["scheduler"]
    several = items(option, text)
    if len(set(several)) > 1:
        raise MlpError(f"{option}: all layers have one learning rate here, not {len(several)}")
    text = several[0]
    if text[:1].isdigit() or text[:1] in tuple("+-."):
        return number(option, text)
    scheduler = call(option, text)
    name, parameters = choose(option, "scheduler", scheduler.name, _SCHEDULERS)
    given = scheduler.bind(parameters, listed="milestones")
    arguments = [
        f"{key} = {_milestones(option, value)}"
        if key == "milestones"
        else number(option, value)
        if key == "lr"
        else f"{key} = {number(option, value)}"
        for key, value in given.items()
    ]
    return f"{name}({', '.join(arguments)})"


def _milestones(option: str, text: str) -> str:
    numbers = [natural(option, item) for item in items(option, text.strip("[]"))]
    if sorted(numbers) != numbers:
        raise MlpError(f"{option}: the milestones {text} do not increase")
    return f"[{', '.join(map(str, numbers))}]"


def regrow(
    options: Mapping[str, str],
    network: Network,
    shapes: Sequence[tuple[int, int]],
    warnings: list[str],
) -> list[str]:
    """The lines of `regrow`; none if nothing is pruned.

    Raises:
        MlpError: an option is wrong.
    """
    grower = call("--grow", options.get("grow", "Random"))
    grower.bind({})
    grow = choose("--grow", "way to grow", grower.name, {"Random": "random()"})
    given = options.get("grow_weights", "Xavier")
    weights = {initial_weights("--grow-weights", given, shape) for shape in shapes}
    if not options.get("prune"):
        for key in ("grow", "grow_weights"):
            if key in options:
                option = f"--{key.replace('_', '-')}"
                warnings.append(f"{option}={options[key]}: does nothing without --prune")
        return []
    pruner = call("--prune", options["prune"])
    name, parameters = choose("--prune", "way to prune", pruner.name, _PRUNERS)
    (value,) = pruner.bind(parameters).values()
    if not network.sparse:
        warnings.append(
            f"--prune={options['prune']}: does nothing in mlp either, for every layer is dense"
        )
        return []
    if len(weights) > 1:
        raise MlpError(
            f"--grow-weights: `{given}` differs from layer to layer, which `regrow` cannot say; "
            "`He` and `XavierNormalized` have the same variances"
        )
    return [
        "every = epochs(1)",
        f"prune = {name}({number('--prune', value)})",
        f"grow = {grow}",
        f"weights = {weights.pop()}",
    ]
