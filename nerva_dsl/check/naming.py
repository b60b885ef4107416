"""Names of parameters.

They begin with the binding in which the `linear`, the `batch_norm` or the use of a function that
learns stands: `h1.weight`, `h1.gamma`, `h1.tl`. In a layer, the binding of its use comes before the
local one, `h1.h.weight`; what stands in its `return` belongs to the use itself, `h1.weight`.
Several of a kind in one place are numbered in the order of evaluation: `h1.1.weight`,
`h1.2.weight`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nerva_dsl.check.graph import Holder, Owner


def prefixes(holders: Sequence[Holder]) -> dict[Holder, str]:
    """What the names of each holder's parameters begin with.

    Args:
        holders: all that are part of the model, in the order of evaluation. Nothing else counts in
            the numbering.
    """
    places = _Places(holders)
    begun = {holder: places.prefix(holder.owner) for holder in holders}
    totals = Counter((begun[holder], holder.kind) for holder in holders)
    seen: Counter[tuple[str, str]] = Counter()
    taken: set[str] = set()
    result: dict[Holder, str] = {}
    # A function may learn a `beta`, as batch_norm does; it then takes the name that is left.
    for holder in sorted(holders, key=lambda holder: holder.kind == "function"):
        key = (begun[holder], holder.kind)
        name = begun[holder]
        numbered = totals[key] > 1
        while numbered or any(f"{name}.{part}" in taken for part in holder.parts):
            seen[key] += 1
            name, numbered = f"{begun[holder]}.{seen[key]}", False
        taken.update(f"{name}.{part}" for part in holder.parts)
        result[holder] = name
    return result


class _Places:
    """The prefix of each owner."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        self._uses: dict[Owner, dict[Owner, int]] = {}
        self._prefixes: dict[Owner, str] = {}
        for holder in holders:
            owner: Owner | None = holder.owner
            while owner is not None and owner.parent is not None:
                if not owner.name:
                    uses = self._uses.setdefault(owner.parent, {})
                    uses.setdefault(owner, len(uses) + 1)
                owner = owner.parent

    def prefix(self, owner: Owner) -> str:
        """What the names of its parameters begin with."""
        if owner not in self._prefixes:
            self._prefixes[owner] = self._made(owner)
        return self._prefixes[owner]

    def _made(self, owner: Owner) -> str:
        if owner.parent is None:
            return owner.name
        before = self.prefix(owner.parent)
        if owner.name:
            return f"{before}.{owner.name}"
        uses = self._uses[owner.parent]
        return f"{before}.{uses[owner]}" if len(uses) > 1 else before
