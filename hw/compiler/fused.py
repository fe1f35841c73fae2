"""Layers that follow each other in strips of rows, so that the maps between them fit the chip."""

from collections.abc import Iterator
from dataclasses import replace

from hw.compiler.costs import compute_cycles, weight_cycles
from hw.compiler.layer import Layer, Lowered
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Memory
from hw.contract.words import word_beats
from nbqnn_train.graph import Graph

__all__ = ["fusable", "fused", "piece_of"]

#: Cycles that strips must save: the weights of the layer behind them come later.
_LEAST_SAVED = 3000
#: Between the name of a tensor and the number of a strip.
_MARK = "//"


def fusable(
    config: AcceleratorConfig, graph: Graph, lowered: Lowered, root: str, strips: int
) -> bool:
    """Whether a tensor can be made strip by strip by one layer and read by the next one.

    Both must have a single source, and parts with the same rows; nothing else may read the tensor.
    Not if that takes longer: each strip loads the weights and computes some rows again that the one
    before has computed, and the way through the host's memory may be hidden behind the computation.
    """
    if root not in lowered.shapes or lowered.batch > 1:
        return False
    writers = [i for i, layer in enumerate(lowered.layers) if layer.target == root]
    readers = [i for i, layer in enumerate(lowered.layers) if root in layer.sources]
    if len(writers) != 1 or readers != [writers[0] + 1]:
        return False
    if root in map(lowered.memory_of, graph.outputs) or root in lowered.views:
        return False
    if root in {view.root for view in lowered.views.values()}:
        return False
    channels, height, width = lowered.shapes[root]
    writer, reader = lowered.layers[writers[0]], lowered.layers[readers[0]]
    again = max(0, (reader.kernel[0] - 1) * reader.dilation[0] + 1 - reader.stride[0])
    if strips > reader.out_shape[1] or writer.out_shape[1] != height:
        return False
    moved = -(-channels // config.lanes) * height * width * word_beats(config, Memory.ACT)
    waits = sum(max(0, moved - compute_cycles(config, layer)) for layer in (writer, reader))
    lost = compute_cycles(config, writer) * again / height
    lost += weight_cycles(config, writer) + weight_cycles(config, reader)
    lost *= strips - 1
    return waits - lost > _LEAST_SAVED and _is_plain(writer) and _is_plain(reader)


def _is_plain(layer: Layer) -> bool:
    """Whether a layer computes all rows in order, from one source, in every part."""
    return (
        len(layer.sources) == 1
        and not (layer.one_group or layer.adds)
        and layer.stride[0] > 0
        and (layer.out_first[0], layer.out_step[0], layer.first_tap[0]) == (0, 1, 0)
        and all(tuple(_rows(part)) == tuple(_rows(layer)) for part in layer.more)
    )


def _rows(part: Layer) -> Iterator[int]:
    """Which rows a part computes, and which it reads for them."""
    yield part.out_shape[1]
    for pair in (part.out_first, part.out_step, part.first_tap):
        yield pair[0]
    for window in (part.kernel, part.stride, part.padding, part.dilation):
        yield window[0]


def fused(lowered: Lowered, strips: dict[str, int]) -> Lowered:
    """The layers around each tensor of ``strips`` cut into so many strips of rows.

    Layers that follow each other around several such tensors are cut together, into the most of
    their numbers.
    """
    layers: list[Layer] = []
    shapes, offsets = dict(lowered.shapes), dict(lowered.offsets)
    left = list(lowered.layers)
    while left:
        chain = [left.pop(0)]
        while left and chain[-1].target in strips and left[0].source == chain[-1].target:
            chain.append(left.pop(0))
        if len(chain) == 1:
            layers += chain
            continue
        inner = [layer.target for layer in chain[:-1]]
        rows = chain[-1].out_shape[1]
        height = -(-rows // min(rows, max(strips[name] for name in inner)))
        for number, first in enumerate(range(0, rows, height)):
            pieces = _pieces(lowered, chain, number, range(first, min(first + height, rows)))
            for name, piece in zip(inner, pieces, strict=False):
                channels, _, width = lowered.shapes[name]
                shapes[piece.target] = (channels, piece.out_shape[1], width)
                offsets[piece.target] = lowered.offsets[name]
            layers += pieces
        for name in inner:
            del shapes[name], offsets[name]
    return replace(lowered, layers=tuple(layers), shapes=shapes, offsets=offsets)


def piece_of(name: str) -> str:
    """The tensor of which a tensor is a strip; itself if it is none."""
    return name.rpartition(_MARK)[0] or name


def _pieces(lowered: Lowered, chain: list[Layer], number: int, rows: range) -> list[Layer]:
    """The layers of a chain for some rows of its result, in order."""
    pieces: list[Layer] = []
    done, whole = rows, chain[-1].out_shape[1]
    for layer in reversed(chain):
        last, source, begin = layer is chain[-1], layer.source, 0
        corner = rows.start * layer.stride[0] - layer.padding[0]
        reads = range(0)
        if layer is not chain[0]:
            # The rows of the source that the windows reach, of which there is at least one.
            reach = (layer.kernel[0] - 1) * layer.dilation[0] + 1
            height = lowered.shapes[source][1]
            begin = min(max(0, corner), height - 1)
            end = corner + (len(rows) - 1) * layer.stride[0] + reach
            reads = range(begin, min(height, max(end, begin + 1)))
            source = f"{source}{_MARK}{number}"
        first, *more = (
            replace(
                part,
                sources=(source,),
                target=layer.target if last else f"{layer.target}{_MARK}{number}",
                padding=(begin - corner, *part.padding[1:]),
                out_shape=(part.out_shape[0], len(rows), part.out_shape[2]),
                out_first=(rows.start if last else 0, part.out_first[1]),
                # What is computed again is not counted again.
                macs=part.macs * done.stop // whole - part.macs * done.start // whole,
                more=(),
            )
            for part in layer.parts
        )
        pieces.insert(0, replace(first, more=tuple(more)))
        rows = reads
    return pieces
