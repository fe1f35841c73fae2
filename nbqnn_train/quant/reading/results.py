"""What a module returns, from the outputs of the quantized network."""

from typing import TYPE_CHECKING

from torch import fx
from torch.utils import _pytree as pytree

from nbqnn_train.quant.reading.arranging import in_order
from nbqnn_train.quant.reading.operations import Join, Output, Part
from nbqnn_train.quant.reading.refusals import Refusal, twice
from nbqnn_train.quant.reading.values import Joined, Value, canonical

if TYPE_CHECKING:
    import nbqnn_train.quant.reading.reader

__all__ = ["Results"]


class Results:
    """What the ``output`` node of a program returns. What cannot be is refused by the reader.

    outputs : of the quantized network, by name.
    results : for each tensor that is returned how it is made of them.
    absent : places of None among what is returned, flat.
    """

    def __init__(self, reader: "nbqnn_train.quant.reading.reader.Reader", node: fx.Node):
        self.reader = reader
        self.outputs: dict[str, Output] = {}
        self.results: list[Part | Join] = []
        #: Finals of each value that is returned, except in joins.
        self._finals: dict[str, list[str]] = {}
        leaves = pytree.tree_leaves(node.args[0])
        self.absent = tuple(place for place, leaf in enumerate(leaves) if leaf is None)
        for leaf in filter(lambda leaf: leaf is not None, leaves):
            value = reader.values.get(leaf) if isinstance(leaf, fx.Node) else None
            if isinstance(value, Joined):
                self._add_joined(value)
            elif isinstance(value, Value):
                self._add(value, reader.finals.get(leaf, "none"))
            else:
                self._refuse(
                    "an output that is not computed from the input",
                    "return tensors that the network computes, nothing else",
                )
        if not self.outputs and not reader.refusals:
            self._refuse("no output", "return a tensor")

    def _add(self, value: Value, final: str) -> None:
        value = in_order(self.reader, value)
        if value.plain and len(value.base) == 1:
            value = self.reader.vector(value)
        part = self._part(value)
        name = list(self.outputs)[part.output]
        before = self._finals.setdefault(name, [])
        if before and name not in self.reader.refused:
            self.reader.refusals.append(twice(final, before))
        before.append(final)
        self.outputs[name] = Output(name, final)
        self.results.append(part)
        if any(kind == "permute" for kind, _ in part.steps):
            shape = tuple(self.reader.operations[name].shape)
            self.reader.notes.append(
                f"output {part.output + 1} is returned in another order; the graph gives {name} "
                f"as it is computed, {shape} without the batch"
            )

    def _add_joined(self, value: Joined) -> None:
        join = self._join(value)
        self.results.append(join)
        names = list(self.outputs)
        parts = ", ".join(names[number] for number in join.outputs)
        self.reader.notes.append(
            f"result {len(self.results)} is joined at the end; the graph gives its parts one by "
            f"one, as they are computed: {parts}"
        )

    def _join(self, joined: Joined) -> Join:
        parts = (
            self._join(part) if isinstance(part, Joined) else self._part(part)
            for part in joined.parts
        )
        return Join(tuple(parts), joined.dim, joined.steps)

    def _part(self, value: Value) -> Part:
        """The value, arranged; its operation becomes an output."""
        self.outputs.setdefault(value.name, Output(value.name))
        return Part(list(self.outputs).index(value.name), self._steps(value))

    def _steps(self, value: Value) -> tuple:
        """From the operation's value to this one; none where they are the same."""
        held = self.reader.shape(value)
        if value.plain and value.base == held:
            return ()
        if value.plain and canonical(value.base) == held:
            return (("series", ()),)
        return value.arrangement()

    def _refuse(self, reason: str, remedy: str) -> None:
        self.reader.refusals.append(Refusal("output", "", "", "", reason, remedy))
