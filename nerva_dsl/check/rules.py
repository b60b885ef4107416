"""Optimizers in use: `optimizer = …` in `train` and in `linear`."""

from __future__ import annotations

from nerva_dsl import syntax
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.optimizers import option_variable
from nerva_dsl.check.report import Report
from nerva_dsl.check.uses import constant_options, unknown_definition
from nerva_dsl.model import Rule
from nerva_dsl.record import replace
from nerva_dsl.scalar import Expr, Number, substitute
from nerva_dsl.source import Span


def choose_rule(
    report: Report,
    scope: Scope,
    node: syntax.Expression,
    constants: ConstantEvaluator | None = None,
) -> Rule | None:
    """The optimizer that is chosen, with its options in their places.

    Args:
        report: gets every error.
        scope: the definitions that may be chosen from.
        node: the call of an optimizer.
        constants: evaluates the options; None: as constants of the scope.
    """
    if isinstance(node, syntax.Name) and node.text in scope.optimizers:
        report.error(
            "N0502",
            f"`{node.text}` is an optimizer, to be called",
            node.span,
            help=f"write `{node.text}()`",
        )
        return None
    if not isinstance(node, syntax.Call):
        report.error(
            "N0502", "`optimizer` is a call of an optimizer", node.span, help="such as `sgd()`"
        )
        return None
    definition = scope.optimizers.get(node.name.text)
    if definition is None:
        unknown_definition(report, scope, node.name, "optimizer", list(scope.optimizers))
        return None
    options = constant_options(constants or ConstantEvaluator(report, scope), node, definition)
    if options is None:
        return None
    numbers: dict[str, Expr] = {
        option_variable(name): Number(float(value))  # type: ignore[arg-type]
        for name, value in options.items()
    }
    assignments = tuple(
        (target, substitute(expression, numbers)) for target, expression in definition.assignments
    )
    return Rule(definition.name, definition.states, assignments, node.span)


def default_rule(report: Report, scope: Scope, place: Span) -> Rule | None:
    """The optimizer of a file that chooses none: `sgd` of the prelude, which has no options."""
    return choose_rule(report, scope, syntax.Call(place, syntax.Name(place, "sgd"), ()))


class Rules:
    """The different optimizers of a model: equal ones are one, and every label is unique.

    Args:
        default: of all parameters whose layer has none of its own; None if an error was reported.
    """

    def __init__(self, default: Rule | None) -> None:
        self._rules: dict[object, Rule] = {}
        self._labels: set[str] = set()
        self._default = self.label(default)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All of them, the default first."""
        return tuple(self._rules.values())

    def label(self, rule: Rule | None) -> str:
        """The label of a layer's own rule, or of the default."""
        if rule is None:
            return self._default if self._rules else ""
        same = (rule.label, rule.states, rule.assignments)
        if same not in self._rules:
            label, number = rule.label, 1
            while label in self._labels:
                number += 1
                label = f"{rule.label}_{number}"
            self._labels.add(label)
            self._rules[same] = replace(rule, label=label)
        return self._rules[same].label
