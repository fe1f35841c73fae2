"""Concatenation without copying: tensors that are written to their place in a larger one."""

from dataclasses import dataclass

from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import Clip, Concat, Graph, MaxPool2d, Requantize

__all__ = ["View", "concat_views"]


@dataclass(frozen=True)
class View:
    """Channels of the tensor ``root``, from ``channel`` on."""

    root: str
    channel: int


class _Copies(Exception):
    """A concatenation that has to copy."""


def concat_views(
    graph: Graph,
    config: AcceleratorConfig,
    channels: dict[str, int],
    offsets: dict[str, int],
    copied: frozenset[str],
) -> dict[str, View]:
    """Places of tensors inside the results of concatenations; what is not in it stands alone.

    A concatenation is free if each operand is written by a layer, begins at a whole chunk of
    ``post_lanes`` channels, is stored with the same offset, and is read from a whole word on or by
    other free concatenations only. The others are computed.

    Parameters
    ----------
    channels, offsets : dict
        Of the results of layers and concatenations.
    copied : frozenset of str
        Concatenations that must not be free.
    """
    readers: dict[str, list] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    written = (Requantize, Clip, MaxPool2d, Concat)
    #: Concatenations that were found to have to copy.
    copies = set(copied)

    def place(node: Concat, views: dict[str, View]):
        before = set(views)
        first = views.get(node.operands[0])
        own = views.get(node.name) or first or View(node.name, 0)
        views[node.name], channel = own, own.channel
        for name in node.operands:
            view = View(own.root, channel)
            unaligned = channel % config.lanes != 0 and (
                name in graph.outputs
                or any(
                    not isinstance(reader, Concat) or reader.name in copies
                    for reader in readers[name]
                )
            )
            if (
                not isinstance(graph[name], written)
                or channel % config.post_lanes
                or offsets[name] != offsets[node.name]
                or unaligned
                or views.setdefault(name, view) != view
                # A part of another one must be made of its parts only.
                or (own is first and name not in before)
            ):
                raise _Copies(node.name)
            channel += channels[name]

    while True:
        views: dict[str, View] = {}
        try:
            # The largest come last; operands of theirs may be earlier ones.
            for node in reversed(graph.nodes):
                if isinstance(node, Concat) and node.name not in copies:
                    place(node, views)
        except _Copies as copy:
            copies.add(str(copy))
        else:
            return views
