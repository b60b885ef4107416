"""Uses of optimizers and schedules: their names, and their options as constants."""

from __future__ import annotations

from nerva_dsl import syntax
from nerva_dsl.check.arguments import bind_definition
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.constants import show
from nerva_dsl.check.environment import Defined, Scope
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.terms import Constant, Unknown, describe, is_number


def constant_options(
    constants: ConstantEvaluator, node: syntax.Call, definition: Defined
) -> dict[str, Constant] | None:
    """The options of a use; what the compiler supplies is not given by the user.

    Returns:
        Their values, defaults included; None if an error was reported.
    """
    report = constants.report
    bound = bind_definition(report, node, without_inputs(definition))
    if bound is None:
        return None
    values: dict[str, Constant] = {}
    sound = True
    for option in definition.options:
        if option.name not in bound:
            assert option.default is not None
            values[option.name] = option.default
            continue
        where = bound[option.name]
        value = constants.constant(where)
        if isinstance(value, Unknown):
            sound = False
            continue
        fits = isinstance(value, tuple) if option.kind == "list" else is_number(value)
        if not fits:
            report.error(
                "N0204",
                f"`{option.name}` is a {option.kind}, not {describe(value)}",
                where.span,
                help=f"such as [{show(value)}]" if option.kind == "list" else "",
            )
            sound = False
        elif isinstance(value, tuple) and not all(is_number(item) for item in value):
            report.error("N0204", f"`{option.name}` is a list of numbers", where.span)
            sound = False
        values[option.name] = value
    return values if sound else None


def without_inputs(definition: Defined) -> Defined:
    """A definition of which only the options are given."""
    return Defined(definition.kind, definition.name, definition.span, (), definition.options)


def unknown_definition(
    report: Report, scope: Scope, name: syntax.Name, kind: str, known: list[str]
) -> None:
    """Report a use of an optimizer or schedule that does not exist."""
    if not scope.known_bad(name.text):
        report.error(
            "N0201",
            f"no {kind} is called `{name.text}`",
            name.span,
            help=suggest(name.text, known, f"there are {listing(known)}"),
        )
