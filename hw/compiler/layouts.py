"""Chooses each tensor's pitch on the chip, and so how many positions are computed at once."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from hw.compiler.layer import Layer, Lowered
from hw.compiler.taps import cut_rows
from hw.compiler.tiles import FilterTile, layer_steps
from hw.contract.banks import may_meet
from hw.contract.config import AcceleratorConfig
from hw.contract.words import TensorLayout

__all__ = ["best_pixels", "choose_layouts", "most_in_row"]

#: Layers of more parts are not looked at for the pitch of what they write: it would take long.
_FEW_PARTS = 16


def choose_layouts(
    config: AcceleratorConfig, lowered: Lowered, narrow: frozenset[str] = frozenset()
) -> dict[str, TensorLayout]:
    """The layout of every stored tensor.

    The pitch is the smallest one with which the readers compute the most positions at once.
    Positions that are drained together must be in different banks; with the width as pitch they
    are. Tensors in ``narrow`` have their width as pitch.
    """
    # Operands of an addition or product are read with the same steps, so they have the same pitch.
    # Views of one root have it, too.
    together = {name: {name} for name in lowered.shapes}
    members = [{name, view.root} for name, view in lowered.views.items()]
    read = [
        {layer.source} if layer.shared_factor else set(layer.sources) for layer in lowered.layers
    ]
    for names in read + members:
        merged = set().union(*(together[name] for name in names))
        together.update(dict.fromkeys(merged, merged))
    pitches: dict[frozenset[str], int] = {}
    layouts = {}
    for name, (channels, height, width) in lowered.shapes.items():
        same_pitch = frozenset(together[name])
        if same_pitch not in pitches:
            # The layers of one image stand for those of all images.
            readers = [
                layer for layer in lowered.layers if layer.source in same_pitch and not layer.image
            ]
            writers = [
                layer
                for layer in lowered.layers
                if layer.target in same_pitch and layer.taps > 1 and not layer.image
            ]
            # Parts write some of the positions.
            in_parts = [
                layer
                for layer in lowered.layers
                if layer.target in same_pitch
                and 0 < len(layer.more) < _FEW_PARTS
                and not layer.image
            ]
            drained = any(layer.target in same_pitch and not layer.more for layer in lowered.layers)
            gaps = 1 if same_pitch & narrow else 2 * config.banks
            pitches[same_pitch] = max(
                (
                    pitch
                    for pitch in range(width, width + gaps)
                    if not drained or _drains_apart(config, height, width, pitch)
                ),
                key=lambda pitch: (
                    sum(next(_pixel_counts(config, layer, pitch)) for layer in readers)
                    + sum(_mean_pixels(config, layer, pitch) for layer in writers)
                    + sum(_mean_written(config, layer, pitch) for layer in in_parts),
                    -pitch,
                ),
            )
        layouts[name] = TensorLayout(
            channels=channels,
            height=height,
            width=width,
            pitch=pitches[same_pitch],
            offset=lowered.offsets[name],
        )
    return layouts


def best_pixels(
    config: AcceleratorConfig,
    filter_tile: FilterTile,
    positions: int,
    pitch: int,
    out_pitch: int,
) -> int:
    """The number of positions per group with the fewest cycles; if equal, the largest.

    Where groups wait for their drain, full turns of ``post_positions`` may be faster than full
    groups. The pitches are those of the source and of the target.
    """
    layer = filter_tile.layer
    if layer.one_group:
        return positions
    steps = layer_steps(config, layer)

    def cycles(pixels: int) -> int:
        interval = max(steps, config.drain_turns(pixels) * filter_tile.chunks)
        return -(-positions // pixels) * interval

    counts = {
        min(count, positions)
        for count in _pixel_counts(config, layer, pitch)
        if _writes_apart(config, layer, out_pitch, count)
    }
    return min(sorted(counts, reverse=True), key=cycles)


def _mean_pixels(config: AcceleratorConfig, layer: Layer, out_pitch: int) -> float:
    """Positions that a layer of several taps computes at once, on the average."""
    channels, rows, width = layer.out_shape
    chunks = -(-min(channels, config.lanes) // config.post_lanes)
    pixels, wide = cut_rows(config, layer, rows, chunks, out_pitch)
    return width * pixels / wide


def _mean_written(config: AcceleratorConfig, layer: Layer, out_pitch: int) -> float:
    """Positions that the parts of a layer write at once, on the average."""
    most = [
        max(
            count
            for count in range(1, config.post_positions + 1)
            if _writes_apart(config, part, out_pitch, count)
        )
        for part in layer.parts
    ]
    return sum(most) / len(most)


def _drains_apart(config: AcceleratorConfig, height: int, width: int, pitch: int) -> bool:
    """Whether any ``post_positions`` positions in a row are words in different banks."""
    rows, columns = np.divmod(np.arange(height * width), width)
    return _apart(config, rows * pitch + columns, config.post_positions)


def most_in_row(config: AcceleratorConfig, layer: Layer) -> int:
    """How many positions beside each other can be computed at once, whatever the pitches."""
    columns = np.arange(config.pixels)
    return max(
        count
        for count in range(1, config.pixels + 1)
        if _reads_apart(config, columns[:count] * layer.stride[1], count)
        and _turns_apart(config, columns[:count] * layer.out_step[1], count)
    )


def _writes_apart(config: AcceleratorConfig, layer: Layer, pitch: int, count: int) -> bool:
    """Whether the words of each turn are in different banks, with ``count`` positions a group."""
    if min(count, config.post_positions) == 1:
        return True
    return _turns_of_map_apart(config, layer.out_shape[1:], layer.out_step, pitch, count)


@cache
def _turns_of_map_apart(
    config: AcceleratorConfig, size: tuple[int, int], step: tuple[int, int], pitch: int, count: int
) -> bool:
    return all(_turns_apart(config, group, count) for group in _groups(size, step, pitch, count))


def _groups(
    size: tuple[int, int], step: tuple[int, int], pitch: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Words of positions, row by row, in groups of ``count``: the full groups, and the last one."""
    rows, columns = np.divmod(np.arange(size[0] * size[1]), size[1])
    words = rows * step[0] * pitch + columns * step[1]
    full = len(words) // count * count
    return words[:full].reshape(-1, count), words[full:].reshape(1, -1)


def _turns_apart(config: AcceleratorConfig, groups: np.ndarray, count: int) -> bool:
    """Whether the words of each turn, along the last axis of groups, are in different banks."""
    together = config.post_positions
    return all(
        _apart(config, groups[..., begin : begin + together], together)
        for begin in range(0, count, together)
    )


def _pixel_counts(config: AcceleratorConfig, layer: Layer, pitch: int) -> Iterator[int]:
    """Numbers of output positions whose input words are in different banks, the largest first.

    The last one is 1.
    """
    if layer.taps > 1:
        # Neighbours are in different banks, whatever the pitch.
        yield from range(config.tap_pixels if layer.stride[1] == 1 else 1, 1, -1)
        yield 1
        return
    for pixels in range(config.pixels, 1, -1):
        if _groups_of_map_apart(config, layer.out_shape[1:], layer.stride, pitch, pixels):
            yield pixels
    yield 1


@cache
def _groups_of_map_apart(
    config: AcceleratorConfig, size: tuple[int, int], step: tuple[int, int], pitch: int, count: int
) -> bool:
    return all(_reads_apart(config, group, count) for group in _groups(size, step, pitch, count))


def _reads_apart(config: AcceleratorConfig, words: np.ndarray, count: int) -> bool:
    """As :func:`_apart`, but positions may read the same word."""
    return not any(
        ((ahead != 0) & may_meet(ahead, config.banks)).any()
        for step in range(1, count)
        for ahead in (words[..., step:] - words[..., :-step],)
    )


def _apart(config: AcceleratorConfig, words: np.ndarray, count: int) -> bool:
    """Whether any ``count`` neighbouring words, along the last axis, are in different banks.

    It does not depend on where in the memory they begin.
    """
    return not any(
        may_meet(words[..., ahead:] - words[..., :-ahead], config.banks).any()
        for ahead in range(1, count)
    )
