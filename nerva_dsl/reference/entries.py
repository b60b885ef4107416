"""The names of the prelude, and what is written about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nerva_dsl.check.environment import Defined
from nerva_dsl.check.prelude import prelude
from nerva_dsl.editor.lookup import definition_text
from nerva_dsl.reference.formulas import FORMULAS, INITIALISERS

PLURALS = {
    "function": "Functions",
    "loss": "Losses",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
    "initialiser": "Initialisers, for D inputs and K outputs",
}
"""The kinds of entries, in order, each as a heading."""

BUILT_IN_FUNCTIONS = ("tanh",)
"""Functions that need no definition in the prelude."""


@dataclass(frozen=True)
class Entry:
    """A name of the prelude.

    Attributes:
        kind: one of `PLURALS`.
        signature: how it is used.
        formula: as a mathematician writes it.
        definition: its text in the language, with the comment above it as Markdown; or how it is
            written, if it is built in.
        source: where it was published; empty if nowhere in particular.
        defined: what the checker knows of it; None if it is built in.
    """

    kind: str
    name: str
    signature: str
    formula: str
    definition: str
    source: str
    defined: Defined | None


def entries() -> Iterator[Entry]:
    """All of them, by kind, in the order of the prelude."""
    tables = prelude().tables()
    for kind, formulas in FORMULAS.items():
        for name, formula in formulas.items():
            defined = tables[kind].get(name) if kind in tables else None
            if defined is not None:
                text, _, source = definition_text(defined.span).partition("Source: ")
                signature = _signature(defined)
                yield Entry(kind, name, signature, formula, text.rstrip(), source, defined)
            elif kind == "initialiser":
                signature, source = INITIALISERS[name]
                text = f"```nerva\nh = linear(x, 128, weights = {signature})\n```"
                yield Entry(kind, name, signature, formula, text, source, None)
            else:
                text = "A primitive of the language."
                yield Entry(kind, name, f"{name}(x)", formula, text, "", None)


def _signature(defined: Defined) -> str:
    """How a definition is used: what is supplied to optimizers and schedules is left out."""
    options = ", ".join(option.span.text for option in defined.options)
    if defined.kind in ("optimizer", "schedule"):
        return f"{defined.name}({options})"
    inputs = ", ".join(defined.inputs)
    return f"{defined.name}({inputs}{f'; {options}' if options else ''})"
