"""What is allowed and most probably not meant: looked for once nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from nerva_dsl import model, syntax
from nerva_dsl.check.bodies import ConstantEvaluator, bind_definition
from nerva_dsl.check.constants import show
from nerva_dsl.check.densities import rounded_up
from nerva_dsl.check.environment import BodyDefinition, Scope
from nerva_dsl.check.report import Report
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
    done: Mapping[model.Value, model.Value],
) -> None:
    """Warn of named values that are not part of the model."""
    for bound, value in bindings.items():
        if value not in done:
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


def warn_unreached(report: Report, layers: Iterable[model.Layer]) -> None:
    """Warn of layers in which more than a few neurons are left without a weight."""
    for layer in layers:
        alone = _without_weight(layer)
        if alone < max(1, _FEW * layer.outputs):
            continue
        count, exact = round(alone), layer.pattern is not None
        message = (
            f"{'' if exact else 'about '}{count} of the {layer.outputs} neurons of `{layer.name}` "
            f"{'has' if count == 1 else 'have'} no weight"
            f"{'' if exact else f' at density {layer.density:.3g}'}, so no input reaches "
            f"{'it' if count == 1 else 'them'}"
        )
        # At the density where it is few of them: (1 - density) ^ inputs = few.
        enough = rounded_up(-math.expm1(math.log(_FEW) / layer.inputs))
        help_ = f"at a density of {show(enough)} they are {100 * _FEW:g} %"
        if exact:
            help_ = "give every row of the pattern a position"
        report.warning("N0253", message, layer.span, help=help_)


_FEW = 0.05  # of the neurons: what is left where a neuron has three weights on average


def _without_weight(layer: model.Layer) -> float:
    """How many neurons have no weight; on average, where the positions are drawn.

    A neuron's `inputs` positions are all missed by `nnz` that are drawn without replacement from
    all N with probability C(N - inputs, nnz) / C(N, nnz).
    """
    if layer.pattern is not None:
        starts: list[int] = layer.pattern.row_start.tolist()
        return sum(begin == end for begin, end in pairwise(starts))
    every = layer.inputs * layer.outputs
    if layer.nnz > every - layer.inputs:
        return 0.0
    logarithm = (
        math.lgamma(every - layer.inputs + 1)
        - math.lgamma(every - layer.inputs - layer.nnz + 1)
        - math.lgamma(every + 1)
        + math.lgamma(every - layer.nnz + 1)
    )
    return layer.outputs * math.exp(min(logarithm, 0.0))


def warn_softmax_twice(report: Report, values: Iterable[model.Value]) -> None:
    """Warn of a softmax of a softmax, such as that of a loss that has one itself."""
    for value in values:
        match value:
            case (
                model.Softmax(x=model.Softmax() as inner)
                | model.LogSoftmax(x=model.Softmax() as inner)
            ):
                before = f": `{inner.x.name}`" if inner.x.name else ""
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
    stack: list[syntax.Expression | syntax.Range | syntax.Argument] = [definition.body]
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
    stack: list[syntax.Expression | syntax.Range | syntax.Argument] = [node]
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
    stack: list[syntax.Expression | syntax.Range | syntax.Argument] = [definition.body]
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
