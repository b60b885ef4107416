"""Evaluating the bodies of definitions: functions, optimizers and schedules, and constants."""

from __future__ import annotations

from collections.abc import Mapping

from nerva_dsl import syntax
from nerva_dsl.check import constants
from nerva_dsl.check.arguments import bind_definition, positional
from nerva_dsl.check.environment import Function, Scope
from nerva_dsl.check.expressions import GRAPH_FORMS, PRIMITIVES, Evaluator
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.terms import (
    UNKNOWN,
    Constant,
    Scalar,
    Term,
    Unknown,
    describe,
    is_number,
)
from nerva_dsl.check.unknown import param_in_definition, unknown_function, unknown_name
from nerva_dsl.scalar import (
    Apply,
    Expr,
    Number,
    once_stated,
    substitute,
    variables,
)

REDUCTIONS = frozenset({"sum", "mean"})
SOFTMAXES = frozenset({"softmax", "log_softmax"})
BUILT_IN = (
    GRAPH_FORMS
    | REDUCTIONS
    | SOFTMAXES
    | PRIMITIVES
    | frozenset({"count", "product", "len", "top_k"})
)
"""Names which a definition of a function cannot take."""


class ConstantEvaluator(Evaluator):
    """Evaluates constants: of `param` and `let`, options, sizes and settings."""

    def __init__(
        self, report: Report, scope: Scope, definition: Mapping[str, object] | None = None
    ) -> None:
        """Evaluate constants of a file, or, with the local names of a definition, inside that."""
        super().__init__(report)
        self.scope = scope
        self.definition = definition

    def constant(self, node: syntax.Expression) -> Constant | Unknown:
        """The value of a constant expression."""
        term = self.evaluate(node)
        return UNKNOWN if isinstance(term, Scalar) else term

    def number(self, node: syntax.Expression, what: str) -> float | Unknown:
        """The value of a constant that has to be a number."""
        value = self.constant(node)
        if isinstance(value, Unknown):
            return UNKNOWN
        if not is_number(value):
            return self.report.error(
                "N0204", f"{what} is a number, not {describe(value)}", node.span
            )
        return value  # type: ignore[return-value]

    def name(self, node: syntax.Name) -> Term:
        """A constant of the file."""
        if self.definition is not None and node.text in self.definition:
            return self.report.error(
                "N0305",
                f"a constant is needed here, and `{node.text}` is known only in use",
                node.span,
            )
        symbol = self.scope.symbols.get(node.text)
        if symbol is None:
            return unknown_name(self.report, node, self.scope)
        if isinstance(symbol.term, Scalar):
            return self.report.error(
                "N0305",
                f"a constant is needed here, and `{node.text}` is a value of the graph",
                node.span,
            )
        if symbol.kind == "param" and self.definition is not None:
            return param_in_definition(self.report, node)
        return symbol.term

    def call(self, node: syntax.Call) -> Term:
        """A function of constants."""
        name = node.name.text
        if name in constants.FUNCTIONS:
            arguments = positional(self.report, node)
            return UNKNOWN if arguments is None else self.primitive(node, arguments)
        known = listing(constants.FUNCTIONS)
        if name in self.scope.functions or name in BUILT_IN:
            return self.report.error(
                "N0305",
                f"a constant is needed here, and `{name}` is a function of values",
                node.span,
                help=f"the functions of constants are {known}",
            )
        if name in self.scope.poisoned:
            return UNKNOWN
        return self.report.error(
            "N0201",
            f"no function of constants is called `{name}`",
            node.name.span,
            help=suggest(name, constants.FUNCTIONS, f"there are {known}"),
        )


class BodyEvaluator(Evaluator):
    """Evaluates scalar expressions in a definition.

    Args:
        report: gets every error.
        scope: definitions and `let`s of the file.
        kind: of the definition, for messages.
        local: the names of the definition's own.
    """

    def __init__(self, report: Report, scope: Scope, kind: str, local: Mapping[str, Term]) -> None:
        super().__init__(report)
        self.scope = scope
        self.kind = kind
        self.local = dict(local)

    def name(self, node: syntax.Name) -> Term:
        """A name of the definition's own, or a `let`."""
        if node.text in self.local:
            return self.local[node.text]
        symbol = self.scope.symbols.get(node.text)
        if symbol is None:
            return unknown_name(self.report, node, self.scope, self.local)
        if symbol.kind == "param":
            return param_in_definition(self.report, node)
        if symbol.kind != "let":
            return self.report.error(
                "N0401",
                f"`{node.text}` is a value of the graph, which a {self.kind} does not see",
                node.span,
                help="a definition sees its inputs, its options and the `let`s of its file",
            )
        return symbol.term

    def call(self, node: syntax.Call) -> Term:
        """A primitive, or a function that was defined before."""
        name = node.name.text
        if name in PRIMITIVES:
            arguments = positional(self.report, node)
            return UNKNOWN if arguments is None else self.primitive(node, arguments)
        function = self.scope.functions.get(name)
        if function is not None:
            return self.inline(node, function)
        return self.foreign_call(node)

    def foreign_call(self, node: syntax.Call) -> Term:
        """A call of something that is no function; subclasses know more."""
        name = node.name.text
        if name == "len":
            return ConstantEvaluator(self.report, self.scope, self.local).evaluate(node)
        if name == "product":
            return self.report.error(
                "N0401", f"`product` is for schedules, and this is a {self.kind}", node.span
            )
        if name in REDUCTIONS | SOFTMAXES:
            return self.report.error(
                "N0401",
                f"`{name}` works over features, which only a loss may do",
                node.span,
                help=f"a {self.kind} computes with single numbers",
            )
        if name in GRAPH_FORMS or name in self.scope.layers:
            return self.report.error(
                "N0401",
                f"`{name}` makes values of the graph, which a {self.kind} cannot do",
                node.span,
            )
        if name == "count":
            return self.report.error(
                "N0409", "`count` is for schedules, such as `count(milestones <= epoch)`", node.span
            )
        return unknown_function(self.report, node.name, self.scope)

    def inline(self, node: syntax.Call, function: Function) -> Term:
        """A function's body with the arguments in the places of its inputs and options."""
        bound = bind_definition(self.report, node, function)
        if bound is None:
            return UNKNOWN
        terms = {name: self.operand(bound[name]) for name in function.inputs}
        if function.options:
            self._add_options(node, function, bound, terms)
        if UNKNOWN in terms.values() or function.body is None:
            return UNKNOWN
        replacements: dict[str, Expr] = {}
        for name, term in terms.items():
            where = bound.get(name, node)
            expression = self.scalar(where, term)
            if expression is None:
                return UNKNOWN
            replacements[name] = expression
        operands = [(bound[name], terms[name]) for name in function.inputs]
        width = self.common_width(node.span, f"`{function.name}`", operands)
        if isinstance(width, Unknown):
            return UNKNOWN
        if not self._by_input_alone(node, function, bound, replacements):
            return UNKNOWN
        return self.expand(node, function, function.body, replacements, width)

    def _add_options(
        self,
        node: syntax.Call,
        function: Function,
        bound: Mapping[str, syntax.Expression],
        terms: dict[str, Term],
    ) -> None:
        """Add the options of a call to its terms: what is given, then defaults, then learned."""
        for option in function.options:
            if option.name in bound:
                terms[option.name] = self.option(bound[option.name], f"`{option.name}`")
        for option in function.options:
            if option.name not in terms and option.default is not None:
                terms[option.name] = option.default
        if any(option.learn for option in function.options):
            terms |= self.learned(node, function, bound, terms)

    def expand(
        self,
        node: syntax.Call,
        function: Function,
        body: Expr,
        replacements: Mapping[str, Expr],
        width: int | None,
    ) -> Term:
        """What a call gives: the body with what stands for each input and option."""
        expression = once_stated(substitute(body, replacements))
        if width is not None and not variables(expression):
            return self.report.error(
                "N0204", f"`{function.name}` is the same for every value here", node.span
            )
        if not self.within_bounds(node.span, expression):
            return UNKNOWN
        return self.applied(node, Scalar(expression, width, function.name))

    def _by_input_alone(
        self,
        node: syntax.Call,
        function: Function,
        bound: Mapping[str, syntax.Expression],
        terms: Mapping[str, Expr],
    ) -> bool:
        """Whether a function that states its derivative has options that do not move with x."""
        if not (isinstance(function.body, Apply) and function.body.operator == "stated"):
            return True
        moving = {name for x in function.inputs for name in variables(terms[x])}
        for option in function.options:
            if moving & set(variables(terms[option.name])):
                self.report.error(
                    "N0401",
                    f"`{option.name}` depends on what `{function.name}` is applied to",
                    bound.get(option.name, node).span,
                    help=f"`{function.name}` states its derivative by `{function.inputs[0]}` alone",
                )
                return False
        return True

    def operand(self, node: syntax.Expression) -> Term:
        """An argument of a function."""
        return self.evaluate(node)

    def option(self, node: syntax.Expression, what: str) -> Term:
        """An option of a function that is used in this body: any number but a value."""
        return self.evaluate(node)

    def learned(
        self,
        node: syntax.Call,
        function: Function,
        bound: Mapping[str, syntax.Expression],
        terms: Mapping[str, Term],
    ) -> Mapping[str, Term]:
        """What stands for the options that a function learns: here, only what is given for them.

        Args:
            node: the call.
            function: it has such options.
            bound: what is given.
            terms: the values of what is given, and the defaults.
        """
        missing = [o.name for o in function.options if o.learn and o.name not in bound]
        if not missing:
            return {}
        name = missing[0]
        option = f"`learn {name}`" if self.kind == "function" else "an option"
        self.report.error(
            "N0410",
            f"`{function.name}` learns {listing(missing)}, and a {self.kind} has no place for that",
            node.span,
            help=f"give {'it' if len(missing) == 1 else 'them'}: "
            f"`{name} = …`, a number, or {option} of this {self.kind}",
        )
        return {name: UNKNOWN}

    def applied(self, node: syntax.Call, result: Scalar) -> Term:
        """What the call of a function gives."""
        return result


def number_of(evaluator: BodyEvaluator, body: syntax.Expression) -> Expr | None:
    """The expression of a body that has to be a number."""
    term = evaluator.evaluate(body)
    expression = evaluator.scalar(body, term)
    if expression is not None and not evaluator.within_bounds(body.span, expression):
        return None
    return expression


def as_options(values: Mapping[str, Constant]) -> dict[str, Term]:
    """Options as real numbers in an expression; lists stay lists."""
    return {
        name: Scalar(Number(float(value))) if is_number(value) else value  # type: ignore[arg-type]
        for name, value in values.items()
    }
