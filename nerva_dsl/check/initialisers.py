"""Initial weights: `weights = …` of a `linear`.

Sources: Nerva (xavier), Glorot & Bengio 2010 (glorot), He et al. 2015 (he).
"""

from __future__ import annotations

import math

from nerva_dsl import syntax
from nerva_dsl.check.arguments import bind
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.constants import show
from nerva_dsl.check.report import listing, suggest
from nerva_dsl.check.terms import UNKNOWN, Unknown
from nerva_dsl.model import Initialiser
from nerva_dsl.record import Record

_REQUIRED, _UNIFORM = ("mean", "std"), {"low": -1.0, "high": 1.0}

OPTIONS: dict[str, tuple[str, ...]] = {
    "xavier": (),
    "glorot": (),
    "he": (),
    "uniform": ("low", "high"),
    "normal": ("mean", "std"),
    "zero": (),
}
"""The initialisers and their options; every one also takes `fan_in`."""


class InitialiserChoice(Record):
    """What `weights = …` says.

    Attributes:
        first, second: options of `uniform` and `normal`.
        sparse_fan_in: whether the fan-in is the mean number of non-zeros of a row.
    """

    name: str
    first: float = 0.0
    second: float = 0.0
    sparse_fan_in: bool = False

    def resolve(self, inputs: int, outputs: int, nnz: int) -> Initialiser:
        """The distribution for one layer."""
        fan_in = nnz / outputs if self.sparse_fan_in else inputs
        match self.name:
            case "xavier":
                bound = 1 / math.sqrt(fan_in)
            case "glorot":
                bound = math.sqrt(6) / math.sqrt(fan_in + outputs)
            case "he":
                return Initialiser("normal", 0.0, math.sqrt(2 / fan_in))
            case "normal":
                return Initialiser("normal", self.first, self.second)
            case "uniform":
                return Initialiser("uniform", self.first, self.second)
            case _:
                return Initialiser("uniform", 0.0, 0.0)
        return Initialiser("uniform", -bound, bound)


def check_initialiser(
    evaluator: ConstantEvaluator, node: syntax.Expression
) -> InitialiserChoice | Unknown:
    """Check what is given for `weights`."""
    report = evaluator.report
    if not isinstance(node, syntax.Call):
        text = node.text if isinstance(node, syntax.Name) else ""
        return report.error(
            "N0204",
            "`weights` is a call of an initialiser",
            node.span,
            help=f"write `{text}()`" if text in OPTIONS else "such as `xavier()`",
        )
    name = node.name.text
    if name not in OPTIONS:
        return report.error(
            "N0201",
            f"no initialiser is called `{name}`",
            node.name.span,
            help=suggest(name, OPTIONS, f"there are {listing(OPTIONS)}"),
        )
    required = OPTIONS[name] if name == "normal" else ()
    bound = bind(report, node, (), (*OPTIONS[name], "fan_in"), required)
    if bound is None:
        return UNKNOWN
    sparse_fan_in = False
    values: dict[str, float] = dict(_UNIFORM)
    for option, value in bound.items():
        if option == "fan_in":
            choice = evaluator.constant(value)
            if isinstance(choice, Unknown):
                return UNKNOWN
            if choice not in ("sparse", "dense"):
                return report.error(
                    "N0204", f'`fan_in` is "sparse" or "dense", not {show(choice)}', value.span
                )
            sparse_fan_in = choice == "sparse"
        else:
            number = evaluator.number(value, f"`{option}`")
            if isinstance(number, Unknown):
                return UNKNOWN
            values[option] = float(number)
    if name == "uniform":
        if values["low"] > values["high"]:
            return report.error(
                "N0204", "`low` is above `high`", node.span, help="give the smaller number first"
            )
        return InitialiserChoice(name, values["low"], values["high"], sparse_fan_in)
    if name == "normal":
        if values["std"] < 0:
            return report.error("N0204", "`std` is negative", bound["std"].span)
        return InitialiserChoice(name, values["mean"], values["std"], sparse_fan_in)
    return InitialiserChoice(name, sparse_fan_in=sparse_fan_in)
