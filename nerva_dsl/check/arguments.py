"""Binding the arguments of a call to the names that are expected."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import syntax
from nerva_dsl.check.environment import Defined
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.synonyms import elsewhere
from nerva_dsl.errors import Note


def bind(
    report: Report,
    call: syntax.Call,
    inputs: Sequence[str],
    options: Sequence[str] = (),
    required: Sequence[str] = (),
) -> dict[str, syntax.Expression] | None:
    """Bind arguments, by position or by name.

    Args:
        report: gets every error.
        call: the call.
        inputs: names that must be given, in order.
        options: names that may be given, in order after the inputs.
        required: the options that have no default.

    Returns:
        The expression of each name that is given; None if an error was reported.
    """
    if not required:
        in_order = _in_order(call, inputs)
        if in_order is not None:
            return in_order
    names = [*inputs, *options]
    bound: dict[str, syntax.Expression] = {}
    called = call.name.text
    sound = True
    for place, argument in enumerate(call.arguments):
        value = argument.value
        if isinstance(value, syntax.Range):
            report.error("N0205", f"`{called}` does not take a range", argument.span)
            sound = False
            continue
        if argument.name is None:
            if place and any(earlier.name is not None for earlier in call.arguments[:place]):
                report.error(
                    "N0205",
                    "arguments without a name come before those with one",
                    argument.span,
                    help=_as_list(call, place),
                )
                return None
            if place >= len(names):
                report.error(
                    "N0205",
                    f"too many arguments: `{called}` takes {_signature(inputs, options)}",
                    argument.span,
                )
                return None
            bound[names[place]] = value
            continue
        name = argument.name.text
        if name not in names:
            report.error(
                "N0206",
                f"`{called}` has no option `{name}`",
                argument.name.span,
                help=elsewhere(called, name)
                or suggest(name, names, f"its form is {_form(called, inputs, options)}"),
            )
            sound = False
        elif name in bound:
            report.error(
                "N0207",
                f"`{name}` is given twice",
                argument.name.span,
                notes=[Note(bound[name].span, "given here first")],
            )
            sound = False
        else:
            bound[name] = value
    missing = [name for name in (*inputs, *required) if name not in bound]
    if missing and sound:
        report.error(
            "N0205",
            f"`{called}` needs {listing(missing)}",
            call.span,
            help=f"its form is {_form(called, inputs, options)}",
        )
    return bound if sound and not missing else None


def bind_definition(
    report: Report, call: syntax.Call, definition: Defined
) -> dict[str, syntax.Expression] | None:
    """Bind the arguments of a call to a definition's inputs and options."""
    if not definition.options:
        return bind(report, call, definition.inputs)
    return bind(
        report,
        call,
        definition.inputs,
        [option.name for option in definition.options],
        [option.name for option in definition.options if option.default is None],
    )


def _in_order(call: syntax.Call, inputs: Sequence[str]) -> dict[str, syntax.Expression] | None:
    """What most calls give: all inputs and nothing else, by position. None for all other calls."""
    arguments = call.arguments
    if len(arguments) != len(inputs):
        return None
    bound: dict[str, syntax.Expression] = {}
    for name, argument in zip(inputs, arguments, strict=True):
        value = argument.value
        if argument.name is not None or isinstance(value, syntax.Range):
            return None
        bound[name] = value
    return bound


def positional(report: Report, call: syntax.Call) -> list[syntax.Expression] | None:
    """The arguments of a call that takes none by name."""
    result: list[syntax.Expression] = []
    for argument in call.arguments:
        if argument.name is not None:
            report.error(
                "N0206",
                f"`{call.name.text}` has no option `{argument.name.text}`",
                argument.name.span,
            )
            return None
        if isinstance(argument.value, syntax.Range):
            report.error("N0205", f"`{call.name.text}` does not take a range", argument.span)
            return None
        result.append(argument.value)
    return result


def _as_list(call: syntax.Call, place: int) -> str:
    """The list that was probably meant with the arguments from one without a name on."""
    named = call.arguments[place - 1]
    items = [named.value]
    for argument in call.arguments[place:]:
        if argument.name is not None:
            break
        items.append(argument.value)
    if named.name is None or not all(isinstance(item, syntax.NumberLiteral) for item in items):
        return ""
    return f"a list has brackets: `{named.name.text} = [{', '.join(i.span.text for i in items)}]`"


def _form(called: str, inputs: Sequence[str], options: Sequence[str]) -> str:
    """A call with everything that may be given."""
    return f"`{called}{'()' if not inputs and not options else _signature(inputs, options)}`"


def _signature(inputs: Sequence[str], options: Sequence[str]) -> str:
    if not inputs and not options:
        return "no arguments"
    shown = ", ".join(inputs)
    if options:
        shown += ("; " if shown else "") + ", ".join(options)
    return f"({shown})"
