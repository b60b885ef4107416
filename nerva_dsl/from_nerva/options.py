"""The options of Nerva's `mlp` tool.

They are those of nerva-rowwise and nerva-colwise, of the tools in C++ and in Python, with the names
that some had before: https://github.com/wiegerw/nerva-rowwise, `tools/mlp.cpp`.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import NoReturn

from nerva_dsl.check.report import closest
from nerva_dsl.from_nerva.calls import MlpError

TRANSLATED: Mapping[str, tuple[str, ...]] = {
    "layers": ("--layers",),
    "sizes": ("--layer-sizes", "--sizes"),
    "densities": ("--densities",),
    "overall_density": ("--overall-density",),
    "dropouts": ("--dropouts",),
    "weights": ("--layer-weights", "--init-weights"),
    "optimizers": ("--optimizers", "--optimizer"),
    "learning_rate": ("--learning-rate",),
    "scheduler": ("--learning-rate-scheduler",),
    "loss": ("--loss",),
    "epochs": ("--epochs",),
    "batch": ("--batch-size",),
    "seed": ("--seed",),
    "prune": ("--prune",),
    "grow": ("--grow",),
    "grow_weights": ("--grow-weights",),
    "cifar10": ("--cifar10", "--datadir"),
    "mnist": ("--mnist",),
}
"""What becomes part of the file, each with the names of its option; they take a value."""

NO_SHUFFLE = "--no-shuffle"

_PRINTED = "is about what mlp prints"
_KEPT = "a run directory keeps the weights, `weights.npz`; in Python, `Model.save`"
_MADE = "make the data, and give them to `nervac train … --data FILE.npz`"

ELSEWHERE: Mapping[tuple[str, ...], str] = {
    ("--dataset", "--load-dataset", "--load-data"): "give the file to `nervac train … --data FILE`",
    ("--threads",): "give the number to `nervac train … --threads N`",
    ("--computation",): "`nervac train … --backend mkl` or `native` chooses what computes",
    ("--load-weights",): "set them in Python, with `Model.set_parameters`",
    ("--save-weights",): _KEPT,
    ("--save-dataset", "--save-data"): "nothing here writes data",
    ("--generate-dataset", "--generate-data", "--dataset-size", "--size"): _MADE,
    ("--preprocessed",): "every epoch has the same data; train epochs one by one in Python, "
    "with `Model.train_epoch`",
    ("--clip",): "nothing here sets small numbers to 0 (`clip_norm` limits gradients)",
    ("--gradient-step",): "the compiler's own tests check gradients",
    ("--precision", "--edgeitems"): _PRINTED,
}
"""What has a value and no equal in the file, and what to do instead."""

FLAGS: Mapping[tuple[str, ...], str] = {
    ("--normalize",): "write it into the file: `normalize(x, mean, std)`",
    ("--augmented",): _MADE,
    ("--verbose", "-v", "--debug", "-d", "--info", "--no-statistics"): _PRINTED,
    ("--manual",): "every epoch is one call into C",
}
"""What has neither."""

_TIMER = "--timer"  # `--timer=full` in some versions, alone in others


class _Parser(argparse.ArgumentParser):
    """Errors are the caller's to show."""

    def error(self, message: str) -> NoReturn:
        """Say what argparse found wrong."""
        option, _, reason = message.removeprefix("argument ").partition(": ")
        if reason.startswith("ignored explicit argument"):
            reason = "takes no value"
        raise MlpError(f"{option}: {reason}" if reason else message)


def read_options(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Sort the words of a command line of `mlp`.

    Args:
        words: the options; the name of the tool may stand before them.

    Returns:
        The values of the options that `TRANSLATED` names, by its keys, with `shuffle` if there is
        to be none; and a sentence on each of the others.

    Raises:
        MlpError: an unknown option, one without its value, or one that is given twice.
    """
    for word in words:
        if not word.isprintable():
            raise MlpError(f"{word!r} has characters that cannot be printed")
        if word == "--" or word.endswith("=--"):
            raise MlpError("`--` stands once, before the options of mlp")
    options = _without_tool(words)
    parser = _Parser(add_help=False, allow_abbrev=False)
    with_value = {**TRANSLATED, **{names[0]: names for names in ELSEWHERE}}
    for key, names in with_value.items():
        for name in names:  # one by one, so that errors name the one that is given
            parser.add_argument(name, dest=key, action="append")
    parser.add_argument(NO_SHUFFLE, dest="shuffle", action="append_const", const="false")
    for names in FLAGS:
        for name in names:
            parser.add_argument(name, dest=names[0], action="append_const", const="")
    parser.add_argument(_TIMER, dest=_TIMER, action="append", nargs="?", const="")
    found, unknown = parser.parse_known_args(options)
    if unknown:
        raise MlpError(_unknown(unknown[0], options))
    values: dict[str, str] = {}
    for key, (name, *_) in {**TRANSLATED, "shuffle": (NO_SHUFFLE,)}.items():
        given = getattr(found, key) or []
        if len(given) > 1 and key != "shuffle":
            raise MlpError(f"{name}: given {len(given)} times: {' and '.join(given)}")
        if given:
            values[key] = given[0]
    advice = {**ELSEWHERE, **FLAGS, (_TIMER,): _PRINTED}
    return values, [
        f"{_as_given(option)}: {advice[names]}"
        for names in advice
        if getattr(found, names[0]) is not None
        for option in options
        if option.partition("=")[0] in names
    ]


def _without_tool(words: Sequence[str]) -> list[str]:
    """The options: what stands before them may be the tool, such as `python3 tools/mlp.py`."""
    first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    tool = words[:first]
    if tool and not PurePath(tool[-1]).name.startswith("mlp"):
        raise MlpError(f"`{tool[-1]}` is not an option of mlp; they begin with `--`")
    return list(words[first:])


def _as_given(option: str) -> str:
    """An option for a message, with its value if that is in the same word."""
    return option if len(option) <= _LONG else f"{option.partition('=')[0]}=…"


_LONG = 60


def _unknown(word: str, options: Sequence[str]) -> str:
    """What to say of a word that is no option."""
    if not word.startswith("-"):
        at = options.index(word)
        before = f" behind `{options[at - 1]}`" if at else ""
        return f"`{word}`{before} is not an option; quote lists: --layers='ReLU;Linear'"
    name = word.partition("=")[0]
    if name in ("-h", "--help", "-?"):
        return f"`{name}` is not for the file; `nervac from-nerva --help` helps"
    known = [name for names in (*TRANSLATED.values(), *ELSEWHERE, *FLAGS) for name in names]
    near = closest(name, [*known, NO_SHUFFLE, _TIMER])
    return f"mlp has no option `{name}`" + (f": did you mean `{near}`?" if near else "")


def quoted(words: Sequence[str]) -> str:
    """A command line as it could be typed."""
    return shlex.join(_without_tool(words))
