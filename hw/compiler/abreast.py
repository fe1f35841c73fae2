"""Maps of few channels, with several positions abreast in a word.

A map of 32 channels fills half of a word of 64. With two positions beside each other abreast, each
in lanes of its own, the map takes half of the words. A convolution whose window is
three positions wide reads two words instead of three, for each of the two outputs of a word.
Weights of zero leave out the positions that are not in its window.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import gcd

import numpy as np

from hw.compiler.costs import compute_cycles
from hw.compiler.layer import Layer, Lowered
from hw.compiler.lower.runs import joined
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit
from nbqnn_train.graph import Graph

__all__ = ["abreast"]


def abreast(config: AcceleratorConfig, graph: Graph, lowered: Lowered) -> Lowered:
    """The layers, with positions abreast where these then take fewer cycles."""
    fixed = {node.name for node in graph.input_nodes} | set(lowered.constants)
    fixed |= {lowered.memory_of(name) for name in graph.outputs}
    fixed |= {view.root for view in lowered.views.values()} | set(lowered.views)
    for name in lowered.shapes:
        count = 0 if name in fixed else _positions(config, lowered, name)
        if count:
            lowered = _with_abreast(config, lowered, name, count)
    return lowered


def _positions(config: AcceleratorConfig, lowered: Lowered, name: str) -> int:
    """How many positions a word can have; 0 if the map has to stay as it is."""
    channels, _, width = lowered.shapes[name]
    writers = [layer for layer in lowered.layers if layer.target == name]
    readers = [layer for layer in lowered.layers if name in layer.sources]
    if not readers or not all(map(_can_write, writers)) or not all(map(_can_read, readers)):
        return 0
    count = 1
    while (
        2 * count * channels <= config.lanes
        and width % (2 * count) == 0
        and config.lanes // (2 * count) % config.post_lanes == 0
    ):
        count *= 2
    return count if count > 1 else 0


def _can_write(layer: Layer) -> bool:
    """Whether any columns may be left to other parts. Channel-wise sums may take several taps."""
    return layer.unit is not Unit.SUM and len(layer.sources) == 1 and _is_whole(layer)


def _can_read(layer: Layer) -> bool:
    """Whether the layer's weights choose what it reads of a word."""
    return layer.unit is Unit.ARRAY and len(layer.sources) == 1 and _is_whole(layer)


def _is_whole(layer: Layer) -> bool:
    """Whether every part goes through its windows from left to right."""
    return not any(
        part.one_group or part.adds or part.stride[1] <= 0 or any(part.first_tap)
        for part in layer.parts
    )


def _with_abreast(config: AcceleratorConfig, lowered: Lowered, name: str, count: int) -> Lowered:
    """The layers with ``count`` positions of a map abreast, if they take fewer cycles so."""
    room = config.lanes // count
    layers, cycles, before = [], 0, 0
    for layer in lowered.layers:
        made = layer
        if layer.target == name:
            made = _numbered(part for one in made.parts for part in _writing(one, room, count))
        if name in layer.sources:
            made = _numbered(part for one in made.parts for part in _reading(one, room, count))
        if made is not layer:
            before += compute_cycles(config, layer)
            cycles += compute_cycles(config, made)
            made = replace(made, macs=layer.macs)
        layers.append(made)
    if cycles >= before:
        return lowered
    _, height, width = lowered.shapes[name]
    shape = config.lanes, height, width // count
    return replace(lowered, layers=tuple(layers), shapes={**lowered.shapes, name: shape})


def _numbered(parts: Iterator[Layer]) -> Layer:
    """One layer of parts; those that have other weights have other numbers."""
    made, numbers = [], {}
    for part in parts:
        weight = None if part.weight is None else (part.weight.shape, part.weight.tobytes())
        kind = part.number, weight
        made.append(replace(part, number=numbers.setdefault(kind, len(numbers)), more=()))
    return joined(made)


def _every(part: Layer, first: int, step: int) -> Layer | None:
    """A part with every ``step``-th of its columns; None if there are none."""
    channels, rows, width = part.out_shape
    columns = len(range(first, width, step))
    if not columns:
        return None
    top, left, *rest = part.padding
    return replace(
        part,
        out_shape=(channels, rows, columns),
        out_first=(part.out_first[0], part.out_first[1] + first * part.out_step[1]),
        out_step=(part.out_step[0], part.out_step[1] * step),
        padding=(top, left - first * part.stride[1], *rest),
        stride=(part.stride[0], part.stride[1] * step),
    )


def _writing(part: Layer, room: int, count: int) -> Iterator[Layer]:
    """The parts that write each position of a word, which has ``room`` channels."""
    step = count // gcd(count, part.out_step[1])
    for first in range(step):
        own = _every(part, first, step)
        if own is not None:
            word, place = divmod(own.out_first[1], count)
            yield replace(
                own,
                out_channel=own.out_channel + place * room,
                out_first=(own.out_first[0], word),
                out_step=(own.out_step[0], own.out_step[1] // count),
            )


def _reading(part: Layer, room: int, count: int) -> Iterator[Layer]:
    """The parts whose windows begin with each position of a word."""
    step = count // gcd(count, part.stride[1])
    for first in range(step):
        own = _every(part, first, step)
        if own is None:
            continue
        word, place = divmod(-own.padding[1], count)
        # Some weights have all lanes of a word, with zeros beyond the map's channels.
        used = own.weight[:, :room]
        filters, channels, height, width = used.shape
        taps = place + np.arange(width) * own.dilation[1]
        weight = np.zeros((filters, count, room, height, taps[-1] // count + 1), np.int64)
        for tap, (ahead, beside) in enumerate(zip(*divmod(taps, count), strict=True)):
            weight[:, beside, :channels, :, ahead] = used[..., tap]
        weight = weight.reshape(filters, count * room, height, -1)
        yield replace(
            own,
            weight=weight,
            kernel=weight.shape[2:],
            stride=(own.stride[0], own.stride[1] // count),
            dilation=(own.dilation[0], 1),
            padding=(own.padding[0], -word, *own.padding[2:]),
        )
