"""A whole program: input, hidden values, output, loss, metrics and how it learns."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from generate.definitions import DEFINITIONS
from generate.hidden import hidden
from generate.learning import OPTIMIZERS, SCHEDULES, TOUCHY
from generate.losses import Loss, choose
from generate.program import Env, Program, Term
from generate.writer import Writer

BATCHES = [1, 2, 7, 16, 31, 32, 33, 64, 100, 129, 130]
FEWEST = 12  # samples with which batch statistics are no nonsense
WIDTHS = [1, 2, 3, *range(4, 41)]


def generate(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    optimizer = rng.choice(OPTIMIZERS)
    own = rng.sample(OPTIMIZERS, 2) if rng.random() < 0.25 else []
    gentle = not TOUCHY & {choice.text for choice in (optimizer, *own)}
    writer = Writer(rng, gentle, own)
    features = rng.randint(1, 40)
    element = rng.choice(["uint8", "float32"])
    target = rng.choice(["class", "class", "real", "part", "none"])
    outputs = features if target == "none" else rng.randint(1, 12)

    _scaled_input(writer, element, features)
    for index in range(rng.randint(1, 4)):
        hidden(writer, f"h{index + 1}", rng.choice(WIDTHS))
    probabilities = target in ("class", "part") and rng.random() < 0.25
    _output(writer, outputs, probabilities=probabilities)
    loss = choose(rng, target, outputs, probabilities=probabilities)

    batches = [batch for batch in BATCHES if batch >= FEWEST or not writer.normalizes]
    batch, epochs = rng.choice(batches), rng.randint(2, 12)
    schedule = rng.choice(list(SCHEDULES))
    decay = rng.choice([0, 0, 0, 0.01])
    clip = rng.choice([None, None, None, 0.5, 1000])
    metrics = _metrics(rng, target, outputs)
    # Far from the outputs, an absolute error has the same slope for all samples, of which a batch
    # norm leaves only rounding; Adam and its like would make a step of that.
    input_as_read = "scaled" if element == "uint8" else "x"
    other = input_as_read if target == "none" else "t"
    declaration = {"class": f"target t : class[{outputs}]", "none": ""}
    text = "\n".join(
        [
            f"model generated_{seed}",
            f"input x : {element}[{features}]",
            declaration.get(target, f"target t : float32[{outputs}]"),
            DEFINITIONS,
            rng.choice(["", "sparsity = uniform(0.4)", "sparsity = erdos_renyi(0.5)"]),
            *writer.lines,
            "output = y",
            f"loss = {loss.text.format(other)}",
            *(f"metric {name} = {call}" for name, (call, _) in metrics.items()),
            "train {",
            f"    batch = {batch}; epochs = {epochs}; seed = {seed}",
            f"    optimizer = {optimizer.text}",
            f"    learning_rate = {schedule}",
            *([f"    weight_decay = {decay}"] if decay else []),
            *([f"    clip_norm = {clip}"] if clip else []),
            "}",
            "",
        ]
    )
    return Program(
        name=f"generated_{seed}",
        text=text,
        batch=batch,
        features=features,
        element=element,
        target=target,
        outputs=outputs,
        normalizes=writer.normalizes,
        optimizers={"": optimizer, **writer.optimizers()},
        schedule=SCHEDULES[schedule],
        weight_decay=decay,
        clip_norm=clip,
        metrics={name: function for name, (_, function) in metrics.items()},
        forward=_forward(loss, outputs, other, labels=target == "class"),
        steps=writer.steps,
    )


def _scaled_input(writer: Writer, element: str, features: int) -> None:
    scale = 255.0 if element == "uint8" else 2.0
    plain = Term(f"x / {scale:g}", features, lambda env: env["x"] / scale)
    if features % 3 or writer.random.random() < 0.3:
        writer.bind("scaled", plain)
        return
    means = torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64).repeat_interleave(features // 3)
    text = f"normalize({plain.text}, mean = [0.4, 0.5, 0.6], std = 0.5)"
    writer.bind("scaled", Term(text, features, lambda env: (plain.twin(env) - means) / 0.5))


def _output(writer: Writer, outputs: int, *, probabilities: bool) -> None:
    writer.current = "y"
    term = writer.linear(outputs)
    if not probabilities:
        writer.bind("y", term)
    elif outputs > 1 and writer.random.random() < 0.7:
        text = f"softmax({term.text})"
        writer.bind("y", Term(text, outputs, lambda env: term.twin(env).softmax(1)))
    else:
        text = f"sigmoid({term.text})"
        writer.bind("y", Term(text, outputs, lambda env: term.twin(env).sigmoid()))


def _forward(
    loss: Loss, outputs: int, other: str, *, labels: bool
) -> Callable[[Env, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    def forward(env: Env, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = env["y"]  # computes what it needs; layers that nothing reads do not exist
        given = t if other == "t" else env[other]
        target = F.one_hot(given, outputs).double() if labels else given
        errors = (output - target).abs()
        for kink in loss.kinks:
            env.kink(errors, kink)
        if loss.largest and outputs > 1:
            first, second = errors.topk(2, 1).values.T
            env.kink((first - second)[:, None], 0)
        return output, loss.twin(output, target)

    return forward


Metric = tuple[str, Callable[[np.ndarray, np.ndarray], Any]]


def _metrics(rng: random.Random, target: str, outputs: int) -> dict[str, Metric]:
    """Metrics that a file asks for: the call, and outputs, targets → number."""
    if target == "none" or rng.random() < 0.5:
        return {}
    chosen: dict[str, Metric] = {
        "mse": ("mean_squared_error(y, t)", _mean_squared_error),
    }
    if target == "class":
        k = rng.randint(1, outputs)
        chosen["top"] = (f"top_k(y, t, k = {k})", lambda y, t: _top_k(y, t, k))
    if target == "class" and outputs > 1:
        chosen["confusion"] = ("confusion_matrix(y, t)", _confusion_matrix)
    return chosen


def _mean_squared_error(y: np.ndarray, t: np.ndarray) -> float:
    from sklearn.metrics import mean_squared_error

    target = np.eye(y.shape[1])[t] if t.ndim == 1 else t
    return float(mean_squared_error(target, y))


def _top_k(y: np.ndarray, t: np.ndarray, k: int) -> float:
    """The lower class first where outputs are equal, which scikit-learn does not promise."""
    best = np.argsort(-y, axis=1, kind="stable")[:, :k]
    return float((best == t[:, None]).any(1).mean())


def _confusion_matrix(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(t, y.argmax(1), labels=range(y.shape[1]))
