"""Uses of a layer that are like one before: the values of that one, over other operands.

What a use makes depends on the widths of its inputs, on which of them are the same value, and on
its options. Where all these are as they were, its lines need not be evaluated again.
"""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import model
from nerva_dsl.check.graph import Graph, Holder, LayerRequest, Owner, operand_field, operands
from nerva_dsl.check.terms import Scalar
from nerva_dsl.record import Record, replace


def shape_of(inputs: Sequence[model.Value]) -> tuple[tuple[int, int], ...]:
    """What of its inputs a use depends on: their widths, and which of them are the same."""
    first = {value: place for place, value in reversed([*enumerate(inputs)])}
    return tuple([(value.width, first[value]) for value in inputs])


class _Made(Record, eq=False):
    """A value that a use has made.

    Attributes:
        value: the value.
        field: that which holds its operands, if it has any.
        operands: the places of its operands among the inputs of the use and what it has made.
        holder: what its parameters are named after, if it has any.
        request: of a `linear`, what is to be decided later.
    """

    value: model.Value
    field: str | None
    operands: tuple[int, ...]
    holder: Holder | None
    request: LayerRequest | None

    def over(self, values: Sequence[model.Value]) -> model.Value:
        """The same value over other operands.

        Args:
            values: the inputs of the other use, and what it has made so far.
        """
        if self.field == "x":
            return replace(self.value, x=values[self.operands[0]])
        if self.field is None:
            return replace(self.value)
        operands = tuple([values[place] for place in self.operands])
        return replace(self.value, **{self.field: operands})


class Repeat(Record, eq=False):
    """What a use of a layer has made, to be made once more.

    Attributes:
        made: its values, those of the layers in it included, in order.
        uses: of layers; with this one.
        use: what its parameters are named after.
        result: the place of its value among its inputs and what it has made.
    """

    made: tuple[_Made, ...]
    uses: int
    use: Owner
    result: int

    @classmethod
    def of(
        cls,
        graph: Graph,
        before: tuple[int, int],
        inputs: Sequence[model.Value],
        use: Owner,
        result: Scalar,
    ) -> Repeat:
        """What a use has just made.

        Args:
            graph: has its values.
            before: how many uses of layers, and how many values, the graph had before it.
            inputs: of the use.
            use: what its parameters are named after.
            result: the term that it returns.
        """
        uses, first = before
        values = graph.values[first:]
        places = {value: len(inputs) + number for number, value in enumerate(values)}
        places |= {value: place for place, value in enumerate(inputs)}
        made = tuple(
            _Made(
                value,
                operand_field(value),
                tuple(places[operand] for operand in operands(value)),
                graph.holders.get(value),
                graph.requests.get(value),
            )
            for value in values
        )
        returned = graph.existing(result)
        assert returned is not None
        return cls(made, graph.uses - uses, use, places[returned])

    @property
    def size(self) -> int:
        """How many values, and uses of layers, the graph gets."""
        return len(self.made) + self.uses

    def once_more(self, graph: Graph, inputs: Sequence[model.Value], use: Owner) -> model.Value:
        """The value of another use.

        Args:
            graph: gets what that makes.
            inputs: of the other use.
            use: what the parameters of that are named after.
        """
        names = _Names(self.use, use)
        values = [*inputs]
        for part in self.made:
            value = part.over(values)
            graph.put(value)
            if part.holder is not None:
                graph.holders[value] = names.holder(part.holder)
            if part.request is not None:
                graph.requests[value] = part.request
            values.append(value)
        graph.uses += self.uses
        return values[self.result]


class _Names:
    """What the parameters of a use are named after, in the places of those of another.

    Args:
        old: that other use.
        new: the use.
    """

    def __init__(self, old: Owner, new: Owner) -> None:
        self._owners = {old: new}
        self._holders: dict[Holder, Holder] = {}

    def holder(self, old: Holder) -> Holder:
        """The holder in the place of another."""
        new = self._holders.get(old)
        if new is None:
            new = self._holders[old] = Holder(old.kind, self._owner(old.owner), old.parts)
        return new

    def _owner(self, old: Owner) -> Owner:
        new = self._owners.get(old)
        if new is None:
            assert old.parent is not None  # all that it has made stands in the use
            new = self._owners[old] = Owner(old.name, self._owner(old.parent), old.use)
        return new
