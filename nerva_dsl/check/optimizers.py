"""Checking the body of an optimizer: states and assignments, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from nerva_dsl import syntax
from nerva_dsl.check.bodies import BodyEvaluator, ConstantEvaluator
from nerva_dsl.check.environment import OptionSpec, Scope
from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import UNKNOWN, Scalar, Term, Unknown
from nerva_dsl.errors import Note
from nerva_dsl.scalar import Expr, Var
from nerva_dsl.source import Span

_SUPPLIED = ("w", "g", "lr", "step")


def option_variable(name: str) -> str:
    """The variable that stands for an option in an optimizer's expressions, until it is used."""
    return f"option {name}"


def check_optimizer(
    report: Report,
    scope: Scope,
    node: syntax.BlockDefinition,
    inputs: tuple[str, ...],
    options: tuple[OptionSpec, ...],
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, Expr], ...]]:
    """Check an optimizer, and give its variables the names that every optimizer has.

    Returns:
        States with their initial values, and assignments, over `w`, `g`, `lr`, `step`, the states,
        the names assigned before and the `option_variable`s.
    """
    local: dict[str, Term] = {"step": Scalar(Var("step"))}
    local |= {option.name: Scalar(Var(option_variable(option.name))) for option in options}
    local |= {name: Scalar(Var(to)) for name, to in zip(inputs, _SUPPLIED, strict=False)}
    assigned = {line.name.text for line in node.lines if isinstance(line, syntax.Binding)}
    evaluator = _LineEvaluator(report, scope, local, assigned)
    body = _Body(evaluator, inputs, frozenset(option.name for option in options))
    for line in node.lines:
        match line:
            case syntax.State():
                body.state(line, node.signature.span)
            case syntax.Binding():
                body.assign(line)
            case syntax.Broken() if line.name is not None:
                local_name = line.name.text
                assigned.add(local_name)
                evaluator.local.setdefault(local_name, UNKNOWN)
    if inputs[0] not in assigned and not any(isinstance(x, syntax.Broken) for x in node.lines):
        weight = inputs[0]
        report.error(
            "N0404",
            f"this optimizer never changes the weight `{weight}`",
            node.name.span,
            help=f"assign it, such as `{weight} = {weight} - …`",
        )
    return tuple(body.states), tuple(body.assignments)


class _LineEvaluator(BodyEvaluator):
    """Evaluates a line, and says more of names that get their value later."""

    def __init__(
        self, report: Report, scope: Scope, local: dict[str, Term], assigned: set[str]
    ) -> None:
        super().__init__(report, scope, "optimizer", local)
        self.assigned = assigned

    def name(self, node: syntax.Name) -> Term:
        if node.text in self.assigned and node.text not in self.local:
            return self.report.error(
                "N0201",
                f"`{node.text}` is used before it has a value",
                node.span,
                help=f"assign it before, or keep it between steps: `state {node.text} = 0`",
            )
        return super().name(node)


@dataclass
class _Body:
    """The lines read so far.

    Names that collide with `w`, `g`, `lr` or `step` get a number. An assignment to the gradient or
    the learning rate makes a variable of its own, so that those stay what they are.
    """

    evaluator: _LineEvaluator
    inputs: tuple[str, ...]
    options: frozenset[str]
    states: list[tuple[str, float]] = field(default_factory=list)
    assignments: list[tuple[str, Expr]] = field(default_factory=list)
    _places: dict[str, Span] = field(default_factory=dict)
    _variables: dict[str, str] = field(default_factory=dict)

    def state(self, line: syntax.State, signature: Span) -> None:
        """`state NAME = constant`."""
        report, name = self.evaluator.report, line.name.text
        if name in self.inputs or name in self.options or name in self._places:
            report.error(
                "N0202",
                f"`{name}` is defined twice",
                line.name.span,
                notes=[Note(self._places.get(name, signature), "defined here first")],
            )
            return
        self._places[name] = line.name.span
        constants = ConstantEvaluator(report, self.evaluator.scope, self.evaluator.local)
        value = constants.number(line.value, f"the initial value of `{name}`")
        initial = 0.0 if isinstance(value, Unknown) else float(value)
        self.states.append((self._variable(name), initial))
        self.evaluator.local[name] = Scalar(Var(self._variable(name)))

    def assign(self, line: syntax.Binding) -> None:
        """`NAME = expression`."""
        evaluator, name = self.evaluator, line.name.text
        term = evaluator.evaluate(line.value)
        expression = evaluator.scalar(line.value, term)
        if name in self.options:
            evaluator.report.error(
                "N0405",
                f"`{name}` is an option, which cannot be assigned",
                line.name.span,
                help="assign a name of its own",
            )
            return
        self._places.setdefault(name, line.name.span)
        known = expression is not None and evaluator.within_bounds(line.span, expression)
        if expression is not None and known:
            self.assignments.append((self._variable(name), expression))
        if known or name not in evaluator.local:
            evaluator.local[name] = Scalar(Var(self._variable(name))) if known else UNKNOWN

    def _variable(self, name: str) -> str:
        """The canonical name of a variable that is assigned."""
        if name == self.inputs[0]:
            return "w"
        if name not in self._variables:
            taken = {*_SUPPLIED, *self._variables.values()}
            fresh, number = name, 0
            while fresh in taken:
                number += 1
                fresh = f"{name}_{number}"
            self._variables[name] = fresh
        return self._variables[name]
