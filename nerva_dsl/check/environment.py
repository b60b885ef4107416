"""What a file has defined: one namespace a kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nerva_dsl import syntax
from nerva_dsl.check.terms import Constant, Symbol
from nerva_dsl.record import Record
from nerva_dsl.scalar import Expr
from nerva_dsl.source import Source, Span

LayerLines = tuple[syntax.Binding | syntax.Return, ...]


class OptionSpec(Record):
    """An option of a definition.

    Attributes:
        default: None if there is none.
        kind: `list` occurs in schedules only, inside `count`; `any` is of layers, whose options are
            constants of any kind.
        learn: whether each use of the function trains it, from its default or what is given.
    """

    name: str
    default: Constant | None
    kind: Literal["number", "list", "any"]
    span: Span
    learn: bool = False


class Defined(Record):
    """A definition whose body has been checked and is sound."""

    kind: str
    name: str
    span: Span
    inputs: tuple[str, ...]
    options: tuple[OptionSpec, ...]


class Function(Defined):
    """A function: an expression over its inputs and options."""

    body: Expr | None


class BodyDefinition(Defined):
    """A loss or schedule: its body is evaluated where it is used.

    Names are never redefined, so a body that was sound where it stands means the same later.
    """

    body: syntax.Expression
    scope: Scope


class OptimizerDefinition(Defined):
    """An optimizer: states and assignments over `w`, `g`, `lr`, `step` and its options."""

    states: tuple[tuple[str, float], ...]
    assignments: tuple[tuple[str, Expr], ...]


class LayerDefinition(Defined):
    """A layer: its lines are evaluated where it is used; the last one returns its value."""

    lines: LayerLines
    scope: Scope


@dataclass
class Scope:
    """The names of a file, so far.

    Attributes:
        symbols: values and constants.
        prelude: the file whose definitions every file sees.
        incomplete: whether a file that is imported could not be read: what is unknown may be there.
        poisoned: names whose definition is broken, whatever their kind.
        coming: the places of all names of values and constants in the file, for messages.
    """

    symbols: dict[str, Symbol] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    losses: dict[str, BodyDefinition] = field(default_factory=dict)
    layers: dict[str, LayerDefinition] = field(default_factory=dict)
    schedules: dict[str, BodyDefinition] = field(default_factory=dict)
    optimizers: dict[str, OptimizerDefinition] = field(default_factory=dict)
    poisoned: set[str] = field(default_factory=set)
    coming: dict[str, Span] = field(default_factory=dict)
    prelude: Source | None = None
    incomplete: bool = False

    def tables(self) -> dict[str, dict[str, Defined]]:
        """All definitions, by kind."""
        tables: dict[str, Any] = {
            "function": self.functions,
            "loss": self.losses,
            "schedule": self.schedules,
            "optimizer": self.optimizers,
            "layer": self.layers,
        }
        return tables

    def known_bad(self, name: str) -> bool:
        """Whether an unknown definition has been reported already, or the reason for it."""
        return self.incomplete or name in self.poisoned
