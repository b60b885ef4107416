"""`metric NAME = …`: what `evaluate` measures beside the loss."""

from __future__ import annotations

from collections.abc import Mapping

from nerva_dsl import model, syntax
from nerva_dsl.check.arguments import bind
from nerva_dsl.check.report import Report
from nerva_dsl.check.roles import LossRole
from nerva_dsl.check.terms import Scalar, Unknown
from nerva_dsl.errors import Note

MAX_METRICS = 30
"""What `evaluate` has room for beside the loss and the accuracy."""

MAX_COUNTED = 4096
"""Classes of a confusion matrix: its cells are numbered exactly in single precision up to 2^24."""

LABELLED = ("accuracy", "top_k", "confusion_matrix")
"""The metrics that compare with class labels; every loss is one as well."""


def check_metric(
    node: syntax.Metric, role: LossRole, target: model.TargetSpec | None
) -> model.Metric | None:
    """Check one metric.

    Args:
        node: the statement.
        role: evaluates losses, and the arguments of the others.
        target: of the model, if it has been declared.
    """
    value = node.value
    if isinstance(value, syntax.Call) and value.name.text in LABELLED:
        return _labelled(node, value, role, target)
    if isinstance(value, syntax.Name) and value.text in LABELLED:
        role.report.error(
            "N0218",
            f"`{value.text}` is a metric, to be called",
            value.span,
            help=f"such as `{value.text}(y, t{', k = 3' if value.text == 'top_k' else ''})`",
        )
        return None
    term = role.evaluate(value)
    if isinstance(term, Unknown):
        return None
    evaluator = role.values
    if not isinstance(term, Scalar):
        evaluator.report.error("N0218", "a metric is measured, and this is a constant", value.span)
        return None
    if not evaluator.within_bounds(value.span, term.expression):
        return None
    measured = evaluator.graph.value(term, value.span)
    evaluator.graph.name(measured, node.name.text)
    return model.Metric(node.name.text, "mean", measured, 0, node.span)


def _labelled(
    node: syntax.Metric, call: syntax.Call, role: LossRole, target: model.TargetSpec | None
) -> model.Metric | None:
    """`accuracy`, `top_k` or `confusion_matrix`."""
    evaluator, kind = role.values, call.name.text
    bound = bind(role.report, call, ("y", "t", "k") if kind == "top_k" else ("y", "t"))
    if bound is None:
        return None
    value = evaluator.operand_value(bound["y"])
    labels = evaluator.operand_value(bound["t"])
    k = evaluator.integer(bound["k"], "`k`") if kind == "top_k" else 1
    if value is None or labels is None or isinstance(k, Unknown):
        return None
    report = role.report
    if target is None or not isinstance(labels, model.Target):
        text = bound["t"].span.text
        report.error(
            "N0218",
            f"`{kind}` compares with the labels of the target, and `{text}` is not the target",
            bound["t"].span,
            notes=[] if target is None else [Note(target.span, "the target is declared here")],
        )
        return None
    if target.kind != "class":
        report.error(
            "N0218",
            f"`{kind}` compares with class labels, and the target is {target.size} real numbers",
            call.span,
            notes=[Note(target.span, "declared here")],
            help=f"declare `target {target.name} : class[…]`, or use one of the losses",
        )
        return None
    if value.width != target.size:
        pair = [(bound["y"], evaluator.graph.scalar(value))]
        pair.append((bound["t"], evaluator.graph.scalar(labels)))
        evaluator.widths_differ(call.span, f"`{kind}`", pair)
        return None
    if not 1 <= k <= target.size:
        report.error(
            "N0218",
            f"`k` is from 1 to {target.size}, the number of classes, not {k}",
            bound["k"].span,
        )
        return None
    if kind == "confusion_matrix" and target.size > MAX_COUNTED:
        report.error(
            "N0218",
            f"a confusion matrix of {target.size} classes: at most {MAX_COUNTED} can be counted",
            call.span,
            notes=[Note(target.span, "declared here")],
            help="`top_k` and `accuracy` take any number of classes",
        )
        return None
    counted = "confusion_matrix" if kind == "confusion_matrix" else "top_k"
    return model.Metric(node.name.text, counted, value, k, node.span)  # type: ignore[arg-type]


def clashes(node: syntax.Metric, role: LossRole, earlier: Mapping[str, model.Metric]) -> bool:
    """Report a metric whose name is taken, or for which there is no room."""
    name = node.name.text
    if name in earlier:
        role.report.error(
            "N0202",
            f"a metric `{name}` exists already",
            node.name.span,
            notes=[Note(earlier[name].span, "defined here first")],
            help="choose another name",
        )
        return True
    if len(earlier) == MAX_METRICS:
        role.report.error("N0218", f"there are at most {MAX_METRICS} metrics", node.name.span)
        return True
    return False


def check_accuracy(
    report: Report, metric: model.Metric, output: model.Value, target: model.TargetSpec | None
) -> None:
    """Report a metric called `accuracy` that measures something else than `evaluate`'s own.

    Args:
        report: gets the error.
        metric: of that name.
        output: of the model.
        target: of the model.
    """
    measured = target is not None and target.kind == "class" and target.size == output.width
    same = metric.kind == "top_k" and metric.k == 1 and metric.value is output
    if measured and not same:
        report.error(
            "N0202",
            "`accuracy` is what `evaluate` calls the accuracy of the output",
            metric.span,
            help="it is measured without being asked for; call other metrics otherwise",
        )
