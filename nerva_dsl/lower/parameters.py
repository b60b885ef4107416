"""The parameters, constants and rules of a program, made when a graph first uses them."""

from __future__ import annotations

from typing import Literal

from nerva_dsl import model as checked
from nerva_dsl.ir.program import Constant, Parameter, Rule
from nerva_dsl.ir.types import Element, Type, Value
from nerva_dsl.naming import fresh_name
from nerva_dsl.scalar import Expr, Number, Var, apply, substitute, variables


class Parameters:
    """What all graphs of a program have in common: data, parameters, constants and rules.

    Attributes:
        model: the checked model.
        inputs: the data arrays.
        by_name: the parameters that some graph uses.
        constants: the columns that some graph uses.
        rules: the rules of these parameters.
    """

    def __init__(self, model: checked.CheckedModel) -> None:
        self.model = model
        spec = model.input
        element: Element = "uint8" if spec.element == "uint8" else model.precision
        self.inputs: tuple[Value, ...] = (Value(spec.name, Type(element, ("B", spec.features))),)
        if model.target is not None:
            labels = model.target.kind == "class"
            target = Type(
                "int32" if labels else model.precision, ("B", 1 if labels else model.target.size)
            )
            self.inputs += (Value(model.target.name, target),)
        self.by_name: dict[str, Parameter] = {}
        self.constants: dict[str, Constant] = {}
        self.rules: dict[str, Rule] = {}

    def weight(self, layer: checked.Layer) -> Value:
        """The weight of a layer."""
        start = layer.initialiser
        kind = Type(
            self.model.precision,
            (layer.outputs, layer.inputs),
            "csr" if layer.sparse else "dense",
        )
        rule = self._rule(layer.rule, decay=self.model.weight_decay)
        initial = (start.distribution, start.first, start.second)
        return self._parameter(f"{layer.name}.weight", kind, layer.nnz, rule, initial)

    def vector(self, name: str, rows: int, initial: float, rule: str = "") -> Value:
        """A column of numbers that all begin with the same value."""
        kind = Type(self.model.precision, (rows, 1))
        rule = self._rule(rule) if rule in ("", *self._labels) else rule
        return self._parameter(name, kind, rows, rule, ("uniform", initial, initial))

    def running_average(self, momentum: float) -> str:
        """The rule by which running statistics follow those of the batches."""
        name, number = "running_average", 2
        new, old = apply("mul", Number(momentum), Var("g")), Number(1 - momentum)
        rule = Rule(name, (), (("w", apply("add", apply("mul", old, Var("w")), new)),))
        while self.rules.get(name, rule) != rule or name in self._labels:
            name, number = f"running_average_{number}", number + 1
            rule = Rule(name, (), rule.assignments)
        self.rules[name] = rule
        return name

    @property
    def _labels(self) -> set[str]:
        return {rule.label for rule in self.model.rules}

    def _rule(self, label: str, decay: float = 0.0) -> str:
        """The name of an optimizer's rule, the one with weight decay if there is some."""
        chosen = next(
            (rule for rule in self.model.rules if rule.label == label), self.model.rules[0]
        )
        name, assignments = chosen.label, chosen.assignments
        if decay:
            name = fresh_name(f"{chosen.label}_with_decay", self._labels, "_")
            assignments = _decayed(assignments, decay)
        self.rules[name] = Rule(name, chosen.states, assignments)
        return name

    def _parameter(
        self,
        name: str,
        kind: Type,
        nnz: int,
        rule: str,
        initial: tuple[Literal["uniform", "normal"], float, float],
    ) -> Value:
        if name not in self.by_name:
            self.by_name[name] = Parameter(Value(name, kind), nnz, rule, initial)
        return self.by_name[name].value

    def constant(self, owner: str, part: str, rows: int, numbers: tuple[float, ...]) -> Value:
        """A column of constants; equal ones of one name are one, in all graphs."""
        unique, number = f"{owner}.{part}", 2
        while True:
            constant = Constant(Value(unique, Type(self.model.precision, (rows, 1))), numbers)
            if self.constants.setdefault(unique, constant) == constant:
                return constant.value
            unique, number = f"{owner}.{number}.{part}", number + 1


def _decayed(
    assignments: tuple[tuple[str, Expr], ...], decay: float
) -> tuple[tuple[str, Expr], ...]:
    """An optimizer's assignments with `decay * w` added to the gradient: PyTorch's SGD."""
    taken = {name for target, value in assignments for name in (target, *variables(value))}
    name = fresh_name("decayed", taken, "_")
    gradient = apply("add", Var("g"), apply("mul", Number(decay), Var("w")))
    rest = tuple((to, substitute(value, {"g": Var(name)})) for to, value in assignments)
    return ((name, gradient), *rest)
