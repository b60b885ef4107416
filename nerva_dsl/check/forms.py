"""The forms that make values of the graph: one function a form, `linear` in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nerva_dsl import model, syntax
from nerva_dsl.check.arguments import bind, positional
from nerva_dsl.check.graph import Holder
from nerva_dsl.check.linear import linear
from nerva_dsl.check.terms import UNKNOWN, Constant, Term, Unknown, is_number

if TYPE_CHECKING:
    from nerva_dsl.check.values import ValueEvaluator

NORM_PARTS = ("gamma", "beta", "running_mean", "running_var")
"""The parameters of a `batch_norm`, in order."""


def batch_norm(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """`batch_norm(x, momentum = 0.1, epsilon = 1e-5)`."""
    bound = bind(evaluator.report, node, ("x",), ("momentum", "epsilon"))
    if bound is None:
        return UNKNOWN
    x = evaluator.operand_value(bound["x"])
    momentum: float | Unknown = 0.1
    epsilon: float | Unknown = 1e-5
    if "momentum" in bound:
        momentum = evaluator.number_where(
            bound["momentum"], "`momentum`", "from 0 to 1", lambda value: 0 <= value <= 1
        )
    if "epsilon" in bound:
        epsilon = evaluator.number_where(
            bound["epsilon"], "`epsilon`", "above 0", lambda value: value > 0
        )
    if x is None or isinstance(momentum, Unknown) or isinstance(epsilon, Unknown):
        return UNKNOWN
    made = model.BatchNorm(x.width, node.span, None, x, "", momentum, epsilon)
    return evaluator.graph.add(made, Holder("batch_norm", evaluator.owner, NORM_PARTS))


def dropout(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """`dropout(x, rate)`; at rate 0 it is x."""
    bound = bind(evaluator.report, node, ("x", "rate"))
    if bound is None:
        return UNKNOWN
    x = evaluator.operand_value(bound["x"])
    rate = evaluator.rate(bound["rate"], "`rate`")
    if x is None or isinstance(rate, Unknown):
        return UNKNOWN
    if rate == 0:
        return evaluator.graph.scalar(x)
    return evaluator.graph.add(model.Dropout(x.width, node.span, None, x, rate))


def softmax(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """`softmax(x)` and `log_softmax(x)`."""
    bound = bind(evaluator.report, node, ("x",))
    x = None if bound is None else evaluator.operand_value(bound["x"])
    if x is None:
        return UNKNOWN
    form = model.Softmax if node.name.text == "softmax" else model.LogSoftmax
    return evaluator.graph.add(form(x.width, node.span, None, x))


def concat(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """`concat(a, b, …)`; of one part, it is that part."""
    arguments = positional(evaluator.report, node)
    if arguments is None:
        return UNKNOWN
    if not arguments:
        return evaluator.report.error(
            "N0205", "`concat` needs at least one value", node.span, help="such as `concat(a, b)`"
        )
    if isinstance(arguments[0], syntax.ListLiteral):
        inside = arguments[0].span.text[1:-1]
        return evaluator.report.error(
            "N0204",
            "`concat` takes values, not a list of them",
            arguments[0].span,
            help=f"write `concat({inside})`" if inside.isprintable() else "",
        )
    parts = [evaluator.operand_value(argument) for argument in arguments]
    sound = tuple(part for part in parts if part is not None)
    if len(sound) < len(parts):
        return UNKNOWN
    if len(sound) == 1:
        return evaluator.graph.scalar(sound[0])
    width = sum(part.width for part in sound)
    if not evaluator.width_fits(width, node.span):
        return UNKNOWN
    return evaluator.graph.add(model.Concat(width, node.span, None, sound))


def slice_(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """`slice(x, from, to)`: the features from `from` up to, but not including, `to`."""
    bound = bind(evaluator.report, node, ("x", "from", "to"))
    if bound is None:
        return UNKNOWN
    x = evaluator.operand_value(bound["x"])
    begin = evaluator.integer(bound["from"], "`from`")
    end = evaluator.integer(bound["to"], "`to`")
    if x is None or isinstance(begin, Unknown) or isinstance(end, Unknown):
        return UNKNOWN
    if not 0 <= begin < end <= x.width:
        if begin >= end:
            what = f"a slice from {begin} to {end} has no features"
        else:
            what = f"there is no slice from {begin} to {end} of {x.width} features"
        return evaluator.report.error(
            "N0208",
            what,
            node.span,
            help=f"`slice(x, from, to)` has the features from, …, to - 1: "
            f"0 <= from < to <= {x.width}",
        )
    if end - begin == x.width:
        return evaluator.graph.scalar(x)
    return evaluator.graph.add(model.Slice(end - begin, node.span, None, x, begin))


def normalize(evaluator: ValueEvaluator, node: syntax.Call) -> Term:
    """`normalize(x, mean, std)`."""
    bound = bind(evaluator.report, node, ("x", "mean", "std"))
    if bound is None:
        return UNKNOWN
    x = evaluator.operand_value(bound["x"])
    mean = _channels(evaluator, bound["mean"], "mean")
    std = _channels(evaluator, bound["std"], "std")
    if x is None or mean is None or std is None:
        return UNKNOWN
    sound = True
    for option, values in (("mean", mean), ("std", std)):
        if x.width % len(values):
            sound = False
            evaluator.report.error(
                "N0215",
                f"{len(values)} constants cannot cover {x.width} features evenly",
                bound[option].span,
                help=f"the length of `{option}` divides the number of features",
            )
    if any(value <= 0 for value in std):
        sound = False
        evaluator.report.error(
            "N0215", "every `std` is above 0", bound["std"].span, help="it divides the value"
        )
    if not sound:
        return UNKNOWN
    return evaluator.graph.add(model.Normalize(x.width, node.span, None, x, mean, std))


def _channels(
    evaluator: ValueEvaluator, node: syntax.Expression, option: str
) -> tuple[float, ...] | None:
    """The constants of `normalize`: a number or a list of numbers."""
    value: Constant | Unknown = evaluator.constants.constant(node)
    if isinstance(value, Unknown):
        return None
    items = value if isinstance(value, tuple) else (value,)
    if not items or not all(is_number(item) for item in items):
        evaluator.report.error("N0215", f"`{option}` is a number or a list of numbers", node.span)
        return None
    return tuple(float(item) for item in items)  # type: ignore[arg-type]


FORMS: Mapping[str, Callable[[ValueEvaluator, syntax.Call], Term]] = {
    "linear": linear,
    "normalize": normalize,
    "batch_norm": batch_norm,
    "dropout": dropout,
    "softmax": softmax,
    "log_softmax": softmax,
    "concat": concat,
    "slice": slice_,
}
"""Every form, by name."""
