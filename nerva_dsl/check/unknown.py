"""Names that mean nothing where they stand, and what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable

from nerva_dsl import syntax
from nerva_dsl.check.environment import Scope
from nerva_dsl.check.expressions import GRAPH_FORMS, PRIMITIVES
from nerva_dsl.check.report import Report, listing, suggest
from nerva_dsl.check.terms import UNKNOWN, Unknown
from nerva_dsl.errors import Note


def unknown_name(
    report: Report, node: syntax.Name, scope: Scope, local: Iterable[str] = ()
) -> Unknown:
    """Report a name that stands for nothing."""
    if node.text in scope.poisoned:
        return UNKNOWN
    help_ = suggest(node.text, [*local, *scope.symbols])
    for kind, names in (
        ("function", scope.functions),
        ("loss", scope.losses),
        ("optimizer", scope.optimizers),
        ("schedule", scope.schedules),
        ("layer", scope.layers),
    ):
        if node.text in names:
            help_ = f"`{node.text}` is a {kind}, to be called: `{node.text}(…)`"
    if node.text in scope.coming and not help_.startswith("`"):
        return report.error(
            "N0201",
            f"`{node.text}` is not defined yet",
            node.span,
            notes=[Note(scope.coming[node.text], "defined here")],
            help="a name is defined before it is used",
        )
    return report.error("N0201", f"nothing is called `{node.text}`", node.span, help=help_)


def unknown_function(report: Report, name: syntax.Name, scope: Scope) -> Unknown:
    """Report the call of a function that does not exist."""
    if scope.known_bad(name.text):
        return UNKNOWN
    known = [*scope.functions, *scope.layers, *PRIMITIVES, *GRAPH_FORMS]
    help_ = suggest(name.text, known, f"there are {listing(sorted(known))}")
    for kind, names in (
        ("a loss", scope.losses),
        ("an optimizer", scope.optimizers),
        ("a schedule", scope.schedules),
    ):
        if name.text in names:
            help_ = f"`{name.text}` is {kind}"
    return report.error("N0201", f"no function is called `{name.text}`", name.span, help=help_)


def param_in_definition(report: Report, node: syntax.Name) -> Unknown:
    """Report a definition that reads a `param`."""
    return report.error(
        "N0402",
        f"`{node.text}` is a `param`, which a definition does not see",
        node.span,
        help=f"make it an option, `; {node.text}`, and give it where the definition is used",
    )
