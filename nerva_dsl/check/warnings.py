"""What is allowed and most probably not meant: looked for once nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import pairwise

from nerva_dsl import model, syntax
from nerva_dsl.check.arguments import bind_definition
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import rounded_up
from nerva_dsl.check.environment import BodyDefinition, Scope
from nerva_dsl.check.report import Report
from nerva_dsl.check.resolve import Weights
from nerva_dsl.check.schedules import counted
from nerva_dsl.check.settings import Training
from nerva_dsl.check.terms import Symbol, is_number
from nerva_dsl.check.unused import unused
from nerva_dsl.check.uses import without_inputs
from nerva_dsl.errors import Note
from nerva_dsl.source import Span


def warn_unused_values(
    report: Report,
    bindings: Mapping[str, model.Value],
    symbols: Mapping[str, Symbol],
    alive: Container[model.Value],
) -> None:
    """Warn of named values that are not part of the model."""
    for bound, value in bindings.items():
        if value not in alive:
            report.warning(
                "N0250",
                f"`{bound}` reaches neither the loss, the output nor a metric",
                symbols[bound].span,
                help="it is left out of the model",
            )


def warn_unused_definitions(report: Report, file: syntax.File) -> None:
    """Warn of definitions, `param`s and `let`s that are not used in their file."""
    for node in unused(file):
        what = f"the {node.kind}" if not isinstance(node, syntax.Constant) else f"the `{node.kind}`"
        help_ = "use it, or leave it out"
        if node.kind == "param":
            help_ = "another value for it changes nothing; use it, or leave it out"
        report.warning(
            "N0252", f"{what} `{node.name.text}` is not used", node.name.span, help=help_
        )


def warn_unreached(
    report: Report,
    layers: Mapping[model.Linear, Weights],
    named: Callable[[model.Linear], str],
) -> None:
    """Warn of layers in which more than a few neurons are left without a weight.

    Args:
        report: gets the warnings.
        layers: each `linear` with what is decided of its weights.
        named: the name of a layer.
    """
    # Without a pattern of their own, layers with the same weights are left with the same.
    expected = {weights: _expected_without_weight(weights) for weights in set(layers.values())}
    for linear, weights in layers.items():
        pattern = linear.layer.pattern
        alone = expected[weights] if pattern is None else _without_weight(pattern)
        if alone < max(1, _FEW * weights.outputs):
            continue
        count, exact = round(alone), pattern is not None
        message = (
            f"{'' if exact else 'about '}{count} of the {weights.outputs} neurons of "
            f"`{named(linear)}` {'has' if count == 1 else 'have'} no weight"
            f"{'' if exact else f' at density {weights.density:.3g}'}, so no input reaches "
            f"{'it' if count == 1 else 'them'}"
        )
        # At the density where it is few of them: (1 - density) ^ inputs = few.
        enough = rounded_up(-math.expm1(math.log(_FEW) / weights.inputs))
        help_ = f"at a density of {show(enough)} they are {100 * _FEW:g} %"
        if exact:
            help_ = "give every row of the pattern a position"
        report.warning("N0253", message, linear.span, help=help_)


_FEW = 0.05  # of the neurons: what is left where a neuron has three weights on average


def _without_weight(pattern: model.Pattern) -> int:
    """How many neurons have no weight."""
    starts: list[int] = pattern.row_start.tolist()
    return sum(begin == end for begin, end in pairwise(starts))


def _expected_without_weight(weights: Weights) -> float:
    """How many neurons have no weight, on average, where the positions are drawn.

    A neuron's `inputs` positions are all missed by `nnz` that are drawn without replacement from
    all N with probability C(N - inputs, nnz) / C(N, nnz).
    """
    every = weights.inputs * weights.outputs
    if weights.nnz > every - weights.inputs:
        return 0.0
    logarithm = (
        math.lgamma(every - weights.inputs + 1)
        - math.lgamma(every - weights.inputs - weights.nnz + 1)
        - math.lgamma(every + 1)
        + math.lgamma(every - weights.nnz + 1)
    )
    return weights.outputs * math.exp(min(logarithm, 0.0))


def warn_softmax_twice(
    report: Report,
    values: Sequence[model.Softmax] | Sequence[model.LogSoftmax],
    names: Mapping[model.Value, str],
) -> None:
    """Warn of a softmax of a softmax, such as that of a loss that has one itself.

    Args:
        report: gets the warnings.
        values: of one of the two kinds.
        names: those that values are bound to.
    """
    for value in values:
        inner = value.x
        if isinstance(inner, model.Softmax):
            name = inner.x.name or names.get(inner.x)
            before = f": `{name}`" if name else ""
            report.warning(
                "N0254",
                "softmax is taken twice, the second time of probabilities",
                value.span,
                notes=[Note(inner.span, "taken here first")],
                help=f"a loss that takes the softmax itself is given what comes before{before}",
            )


def warn_labels(
    report: Report,
    node: syntax.Call,
    definition: BodyDefinition,
    compared: model.Value,
    target: syntax.Declaration,
) -> None:
    """Warn of a loss that measures distances from class labels.

    Those of probabilities are meant: they make the Brier score.

    Args:
        report: gets the warning.
        node: the use of the loss; its second argument is the target itself.
        definition: of the loss.
        compared: its first argument.
        target: the declaration of the target.
    """
    if not _subtracts(definition) or _is_probability(compared):
        return
    y, t = node.arguments[0].span.text, target.name.text
    report.warning(
        "N0255",
        f"`{node.name.text}` measures distances, and `{t}` has labels: each is a 1 among zeros",
        node.span,
        notes=[Note(target.span, "declared here")],
        help=f"for classes: `softmax_cross_entropy({y}, {t})`; for real numbers: "
        f"`target {t} : float32[{target.type.size.span.text}]`",
    )


def _subtracts(definition: BodyDefinition) -> bool:
    """Whether a loss has the difference of its inputs in it."""
    inputs = set(definition.inputs)
    stack: list[syntax.Part] = [definition.body]
    while stack:
        node = stack.pop()
        match node:
            case syntax.Binary(operator="-", left=syntax.Name(), right=syntax.Name()):
                if {node.left.text, node.right.text} == inputs:  # type: ignore[union-attr]
                    return True
        stack.extend(syntax.children(node))
    return False


def _is_probability(value: model.Value) -> bool:
    return isinstance(value, model.Softmax) or (
        isinstance(value, model.Elementwise) and value.label == "sigmoid"
    )


def warn_late_milestones(
    report: Report, scope: Scope, node: syntax.Expression, training: Training
) -> None:
    """Warn of milestones of a schedule that no epoch of the training reaches.

    Args:
        report: gets the warnings.
        scope: the names of the whole file.
        node: an expression that may use schedules.
        training: has the number of epochs, which count from 0.
    """
    stack: list[syntax.Part] = [node]
    while stack:
        part = stack.pop()
        stack.extend(syntax.children(part))
        if not isinstance(part, syntax.Call) or part.name.text not in scope.schedules:
            continue
        for milestone, span in _milestones(scope, part, scope.schedules[part.name.text]):
            if milestone < training.epochs:
                continue
            where = training.places.get("epochs")
            epochs = f"{training.epochs} epoch{'s' if training.epochs > 1 else ''}"
            report.warning(
                "N0256",
                f"the milestone {show(milestone)} is never reached: the training has {epochs}",
                span,
                notes=[] if where is None else [Note(where, "set here")],
                help=f"epochs count from 0: the last one is {training.epochs - 1}",
            )


def _milestones(
    scope: Scope, node: syntax.Call, definition: BodyDefinition
) -> Iterator[tuple[float, Span]]:
    """The numbers with which a use of a schedule compares the epoch, and their places."""
    (epoch,), compared = definition.inputs, set[str]()
    stack: list[syntax.Part] = [definition.body]
    while stack:
        part = stack.pop()
        stack.extend(syntax.children(part))
        if isinstance(part, syntax.Call) and part.name.text == "count":
            match counted(part):
                case syntax.Binary(
                    operator="<=" | "<",
                    left=syntax.Name(text=name),
                    right=syntax.Name(text=other),
                ) if other == epoch:
                    compared.add(name)
    quiet = Report()  # what is wrong here has been said
    bound = bind_definition(quiet, node, without_inputs(definition)) or {}
    for name, given in bound.items():
        value = ConstantEvaluator(quiet, scope).constant(given)
        if name not in compared or not isinstance(value, tuple):
            continue
        literal = given.items if isinstance(given, syntax.ListLiteral) else ()
        for place, item in enumerate(value):
            if is_number(item):
                yield item, literal[place].span if literal else given.span  # type: ignore[misc]
