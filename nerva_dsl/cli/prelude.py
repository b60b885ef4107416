"""`nervac explain --prelude`: what the language comes with."""

from __future__ import annotations

import importlib.util

from nerva_dsl.check.environment import BodyDefinition, Function, OptimizerDefinition
from nerva_dsl.check.report import suggest
from nerva_dsl.cli.failures import UsageError
from nerva_dsl.cli.pages import print_page
from nerva_dsl.reference.curves import Picture, picture
from nerva_dsl.reference.entries import PLURALS, Entry, entries
from nerva_dsl.reference.slopes import FEATURES, function_slopes, loss_slope, update

SIZE = (76, 18)
"""Columns and lines of a plot."""


def explain_prelude(name: str) -> None:
    """Print all about a name of the prelude; of an empty name, a list of them.

    Raises:
        UsageError: nothing has that name.
    """
    known = list(entries())
    if not name:
        _print_list(known)
        return
    found = [entry for entry in known if entry.name == name]
    if not found:
        hint = suggest(name, [entry.name for entry in known], "`--prelude` alone lists them")
        raise UsageError(f"--prelude {name}: the prelude has nothing of that name: {hint}")
    for entry in found:
        print_page(page(entry))
        drawn = picture(entry)
        if drawn is not None:
            print(f"\n{plot(drawn)}")


def _print_list(known: list[Entry]) -> None:
    for kind, heading in PLURALS.items():
        rows = [entry for entry in known if entry.kind == kind]
        width = max(len(entry.signature) for entry in rows if len(entry.signature) <= _WIDEST)
        print(f"{heading}:\n")
        for entry in rows:
            gap = "\n" + " " * (width + 2) if len(entry.signature) > width else ""
            print(f"  {entry.signature:{width}}{gap}  {entry.formula}")
        print()


_WIDEST = 40


def page(entry: Entry) -> str:
    """The Markdown of an entry, without its plot."""
    article = "an" if entry.kind[0] in "aeiou" else "a"
    parts = [f"# `{entry.signature}`: {article} {entry.kind}", entry.definition]
    parts.append(f"Formula: {entry.formula}")
    parts += _as_compiled(entry)
    if entry.source:
        parts.append(f"Source: {entry.source}")
    return "\n\n".join(parts) + "\n"


def _as_compiled(entry: Entry) -> list[str]:
    """What the compiler makes of a definition."""
    match entry.defined:
        case OptimizerDefinition(states=states):
            kept = ", ".join(name for name, _ in states) or "none"
            lines = [f"State beside each weight: {kept}"]
            return [*lines, "Update, as the compiler sees it:", _code(update(entry.defined))]
        case BodyDefinition(kind="loss"):
            heading = f"Derivative by y, as the compiler sees it, of {FEATURES} features:"
            return [heading, _code(loss_slope(entry.name))]
        case Function() | None if entry.kind == "function":
            slopes = list(function_slopes(entry.name, entry.defined))
            what = "Derivative" if len(slopes) == 1 else "Derivatives, also by what is learned"
            return [f"{what}, as the compiler sees it:", _code("".join(text for _, text in slopes))]
    return []


def _code(text: str) -> str:
    return f"```nerva\n{text}```"


def plot(drawn: Picture) -> str:
    """A picture in characters; or, without plotext, how to get it."""
    if importlib.util.find_spec("plotext") is None:
        return "A plot needs plotext: pip install 'nervac[plot]'"
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(*SIZE)
    plotext.title(drawn.title)
    plotext.xlabel(drawn.axis)
    alone = len(drawn.curves) == 1
    for curve, marker in zip(drawn.curves, ("braille", "dot"), strict=False):
        xs, ys = zip(*curve.points, strict=True)
        plotext.plot(xs, ys, label=None if alone else curve.name, marker=marker)
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return "\n".join(line.rstrip() for line in lines)
