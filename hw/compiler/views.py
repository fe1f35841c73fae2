"""Concatenation without copying: operands are written as parts of the result."""

from dataclasses import dataclass

from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import Channels, Concat, Constant, Flatten, Graph, Input, Unflatten

__all__ = ["View", "concat_views"]

#: What no layer writes, or what may be a part of another tensor already.
_OF_OTHERS = (Input, Constant, Flatten, Unflatten, Channels)


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
    """Tensor -> view, for tensors that are channels of a concatenation's result.

    A concatenation is free if each of its operands

    - is written by a layer,
    - begins at a whole chunk of ``post_lanes`` channels,
    - is stored with the offset of the result,
    - begins at a whole word, or only other free concatenations read it.

    Other concatenations copy: layers compute them.

    Parameters
    ----------
    channels, offsets : dict
        Result of a layer or concatenation -> number of channels; code less stored code.
    copied : frozenset of str
        Concatenations that must not be free.
    """
    readers: dict[str, list] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    #: Concatenations that were found to have to copy.
    copies = set(copied)

    def assign(node: Concat, views: dict[str, View]):
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
                isinstance(graph[name], _OF_OTHERS)
                or channel % config.post_lanes
                or offsets[name] != offsets[node.name]
                or unaligned
                or views.setdefault(name, view) != view
                # A view's operands must be views of the same root.
                or (own is first and name not in before)
            ):
                raise _Copies(node.name)
            channel += channels[name]

    while True:
        views: dict[str, View] = {}
        try:
            # The largest concatenations come last; their operands may be earlier ones.
            for node in reversed(graph.nodes):
                if isinstance(node, Concat) and node.name not in copies:
                    assign(node, views)
        except _Copies as copy:
            copies.add(str(copy))
        else:
            return views
