"""Layers that follow each other in strips of rows, so that the maps between them fit the chip.

A map may also be needed later: its strips are stored. A concatenation may be in strips, too: its
last operand is computed, strip by strip, beside others that come from the host's memory.
"""

from collections.abc import Mapping
from dataclasses import replace

from hw.compiler.layer import HostRows, Layer, Lowered
from hw.compiler.tiles import rows_read, span
from hw.compiler.views import View
from hw.contract.config import AcceleratorConfig

__all__ = ["brought_operands", "fused", "is_piece", "joined_by", "piece_of"]

#: Between the name of a tensor and the number of a strip.
_MARK = "//"


def joined_by(
    config: AcceleratorConfig, lowered: Lowered, strips: Mapping[str, int], root: str
) -> tuple[Layer, Layer] | None:
    """The layer that makes a tensor and the next one, which reads it; None if it cannot be cut.

    strips : tensor -> strips, of this one and of others.

    Both layers must have a single source. What others read later is stored, too.
    """
    lowered = _apart(config, lowered, strips)
    if lowered is None:
        return None
    pair = _pair(lowered, root)
    if pair is None:
        return None
    writer, reader, later = pair
    views = {name for name, view in lowered.views.items() if view.root == root}
    if reader.source != root or views - {root, writer.target}:
        return None
    joins = writer.target != root
    # In a batch nothing is stored or loaded beside strips.
    if (joins and later) or (lowered.batch > 1 and (joins or later)):
        return None
    # Operands of a sum or product would all have to come from the host's memory.
    if any(len(layer.sources) > 1 for layer in later):
        return None
    if not (_is_plain(writer) and _is_plain(reader)):
        return None
    height = lowered.shapes[root][1] // lowered.batch
    if strips[root] > reader.out_shape[1] or span(writer) != range(height):
        return None
    return writer, reader


def _pair(lowered: Lowered, root: str) -> tuple[Layer, Layer, list[Layer]] | None:
    """The layer that makes a tensor, the next one, which reads it, and others that read it later.

    Those of the first image; None unless every image has such two, and layers of its own.
    """
    writers: dict[int | None, list[int]] = {}
    readers: dict[int | None, list[int]] = {}
    for number, layer in enumerate(lowered.layers):
        if lowered.view(layer.target).root == root:
            writers.setdefault(layer.image, []).append(number)
        if any(lowered.view(name).root == root for name in layer.sources):
            readers.setdefault(layer.image, []).append(number)
    if not writers or None in writers or writers.keys() != readers.keys():
        return None
    if any(readers[image][0] != own[0] + 1 or len(own) > 1 for image, own in writers.items()):
        return None
    image, (writer,) = next(iter(writers.items()))
    reader, *later = (lowered.layers[number] for number in readers[image])
    return lowered.layers[writer], reader, later


def brought_operands(lowered: Lowered, root: str) -> dict[str, int]:
    """Operand -> first channel, of those of a concatenation that come from the host's memory.

    All but the last one that is written; none if it is no concatenation of what layers write.
    """
    targets = [layer.target for layer in lowered.layers]
    operands = {
        name: view.channel
        for name, view in lowered.views.items()
        if view.root == root and name != root
    }
    if not operands or root in targets or not operands.keys() <= set(targets):
        return {}
    last = max(operands, key=targets.index)
    return {name: channel for name, channel in operands.items() if name != last}


def _apart(
    config: AcceleratorConfig, lowered: Lowered, strips: Mapping[str, int]
) -> Lowered | None:
    """Operands that come from the host's memory are tensors of their own.

    None if one of them would begin inside a word.
    """
    views = dict(lowered.views)
    for root in strips:
        for name, channel in brought_operands(lowered, root).items():
            if channel % config.lanes:
                return None
            del views[name]
    return replace(lowered, views=views)


def _is_plain(layer: Layer) -> bool:
    """Whether a layer computes its rows in order, from one source, in every part."""
    return len(layer.sources) == 1 and not any(
        part.one_group or part.adds or part.stride[0] <= 0 or part.first_tap[0]
        for part in layer.parts
    )


def fused(config: AcceleratorConfig, lowered: Lowered, strips: Mapping[str, int]) -> Lowered:
    """The layers around each tensor of ``strips`` cut into so many strips of rows.

    Layers that follow each other around several such tensors are cut together, into the most of
    their numbers.
    """
    brought = {root: brought_operands(lowered, root) for root in strips}
    apart = _apart(config, lowered, strips)
    cut = _Cut(apart, brought, {name for operands in brought.values() for name in operands})
    left = list(apart.layers)
    while left:
        chain = [left.pop(0)]
        while left and (root := cut.root(chain[-1])) in strips and left[0].sources == (root,):
            chain.append(left.pop(0))
        if len(chain) == 1:
            cut.layers += chain
        else:
            cut.add(chain, max(strips[cut.root(layer)] for layer in chain[:-1]), left)
    return cut.lowered()


def piece_of(name: str) -> str:
    """The tensor of which a tensor is a strip; itself if it is none."""
    return name.rpartition(_MARK)[0] or name


def is_piece(name: str) -> bool:
    """Whether a tensor is a strip of another one."""
    return _MARK in name


class _Cut:
    """The layers and tensors, of which some become strips.

    brought : concatenation in strips -> its operands in the host's memory.
    needed : tensors that are in the host's memory for such concatenations.
    """

    def __init__(self, lowered: Lowered, brought: dict[str, dict[str, int]], needed: set[str]):
        self._whole = lowered
        self._brought = brought
        self._needed = needed
        self.layers: list[Layer] = []
        self._shapes, self._offsets = dict(lowered.shapes), dict(lowered.offsets)
        self._views = dict(lowered.views)
        self._kept: dict[str, HostRows] = {}
        self._loaded: dict[str, tuple[HostRows, ...]] = {}

    def root(self, layer: Layer) -> str:
        """The tensor that a layer writes or that has its result."""
        return self._whole.view(layer.target).root

    def lowered(self) -> Lowered:
        return replace(
            self._whole,
            layers=tuple(self.layers),
            shapes=self._shapes,
            offsets=self._offsets,
            views=self._views,
            kept=self._kept,
            brought=self._loaded,
        )

    def add(self, chain: list[Layer], strips: int, later: list[Layer]) -> None:
        """The layers of a chain in so many strips of its result; ``later`` are those behind it."""
        rows, image = span(chain[-1]), chain[0].image
        height = -(-len(rows) // min(len(rows), strips))
        read = {name for layer in later if layer.image == image for name in layer.sources}
        inner = {name for layer in chain[:-1] for name in (layer.target, self.root(layer))}
        kept = dict.fromkeys(inner & (read | self._needed), 0)
        count = -(-len(rows) // height)
        for number in range(count):
            done = rows[number * height : (number + 1) * height]
            self.layers += self._strips(chain, (image or 0) * count + number, done, kept)
        for name in inner:
            self._views.pop(name, None)
            if name not in kept:
                self._shapes.pop(name, None)
                self._offsets.pop(name, None)

    def _strips(
        self, chain: list[Layer], number: int, rows: range, kept: dict[str, int]
    ) -> list[Layer]:
        """The layers for some rows of the chain's result, in order.

        kept : tensor that is stored, too -> how many rows the strips before have.
        """
        pieces: list[Layer] = []
        whole = span(chain[-1])
        begun, done = rows.start - whole.start, rows.stop - whole.start
        for layer in reversed(chain):
            last, source = layer is chain[-1], layer.source
            parts = [(part, part.rows_within(rows.start, rows.stop)) for part in layer.parts]
            parts = [(part, own) for part, own in parts if own]
            reads, begin = range(0), 0
            if layer is not chain[0]:
                height = self._whole.shapes[source][1] // self._whole.batch
                windows = [rows_read(part, own) for part, own in parts]
                begin = min(max(0, min(window.start for window in windows)), height - 1)
                end = min(height, max(window.stop for window in windows))
                if source in kept:
                    # Others read all rows, also those between these windows and behind the last.
                    begin = min(begin, kept[source])
                    end = height if done == len(whole) else end
                reads = range(begin, max(end, begin + 1))
                source = f"{source}{_MARK}{number}"
            first, *more = (
                replace(
                    part,
                    sources=(source,),
                    target=layer.target if last else f"{layer.target}{_MARK}{number}",
                    padding=(
                        part.padding[0] - own.start * part.stride[0] + begin,
                        *part.padding[1:],
                    ),
                    out_shape=(part.out_shape[0], len(own), part.out_shape[2]),
                    out_first=(
                        part.out_first[0]
                        + own.start * part.out_step[0]
                        - (0 if last else rows.start),
                        part.out_first[1],
                    ),
                    # What is computed again is not counted again.
                    macs=part.macs * done // len(whole) - part.macs * begun // len(whole),
                    more=(),
                )
                for part, own in parts
            )
            pieces.insert(0, replace(first, more=tuple(more)))
            if not last:
                self._add_tensor(layer, number, rows, kept)
            rows = reads
        return pieces

    def _add_tensor(self, layer: Layer, number: int, rows: range, kept: dict[str, int]) -> None:
        """The strip that a layer writes, with what is loaded into it and what is stored."""
        root, target = self.root(layer), layer.target
        strip = f"{root}{_MARK}{number}"
        for name in dict.fromkeys((root, target)):
            channels, _, width = self._whole.shapes[name]
            self._shapes[f"{name}{_MARK}{number}"] = (channels, len(rows), width)
            self._offsets[f"{name}{_MARK}{number}"] = self._whole.offsets[name]
        if target != root:
            channel = self._whole.view(target).channel
            self._views[f"{target}{_MARK}{number}"] = View(strip, channel)
        if self._brought.get(root):
            self._loaded[strip] = tuple(
                HostRows(name, channel, rows.start, rows)
                for name, channel in self._brought[root].items()
            )
        if root in kept and rows.stop > kept[root]:
            new = range(max(rows.start, kept[root]), rows.stop)
            self._kept[strip] = HostRows(root, 0, rows.start, new)
            kept[root] = rows.stop
