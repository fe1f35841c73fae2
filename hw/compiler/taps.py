"""Channel-wise layers that take several taps in a step: which, and how their rows are cut."""

from dataclasses import replace
from math import ceil

from hw.compiler.layer import Layer, Lowered
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import MAX_FIELD, Unit

__all__ = ["cut_rows", "tapped"]


def tapped(config: AcceleratorConfig, lowered: Lowered) -> Lowered:
    """The layers, of which those take ``depthwise_taps`` taps in a step that are faster so."""
    if config.depthwise_taps == 1:
        return lowered
    return replace(lowered, layers=tuple(_tapped(config, layer) for layer in lowered.layers))


def cut_rows(
    config: AcceleratorConfig, layer: Layer, rows: int, chunks: int, most_width: int
) -> tuple[int, int]:
    """Positions of a group, and of a row, of a layer that takes several taps: the fastest.

    A group has positions of one row, beside each other. So a row is a number of groups: where its
    width is none, it gets positions beyond its end, up to ``most_width`` of them. Their results
    mean nothing; they go to the words between the rows of the target.

    rows : of a command. chunks : that are drained for each position.
    """
    width = layer.out_shape[2]
    most = config.tap_pixels if layer.stride[1] == 1 else 1
    options = []
    for pixels in range(1, most + 1):
        groups = -(-width // pixels)
        wide = groups * pixels
        if wide == width or (wide <= most_width and rows * wide <= MAX_FIELD):
            options.append((groups * _interval(config, layer, pixels, chunks), -pixels, wide))
    _, pixels, wide = min(options)
    return -pixels, wide


def _interval(config: AcceleratorConfig, layer: Layer, pixels: int, chunks: int) -> int:
    """Cycles from group to group."""
    passes = layer.passes or layer.weight.shape[1]
    steps = passes * layer.kernel[0] * layer.kernel_steps
    return max(steps, config.drain_turns(pixels) * chunks)


def _tapped(config: AcceleratorConfig, layer: Layer) -> Layer:
    """The layer with several taps, if it can take them and is faster so."""
    if (
        layer.unit is not Unit.SUM
        or layer.weight is None
        or len(layer.sources) > 1
        or layer.dilation[1] > 1
        or layer.more
        or layer.one_group
    ):
        return layer
    several = replace(layer, taps=config.depthwise_taps)
    channels, rows, width = layer.out_shape
    chunks = ceil(min(channels, config.lanes) / config.post_lanes)
    room = width + config.tap_pixels
    pixels, wide = cut_rows(config, several, rows, chunks, room)
    cycles = rows * wide // pixels * _interval(config, several, pixels, chunks)
    before = min(
        -(-rows * width // pixels) * _interval(config, layer, pixels, chunks)
        for pixels in range(1, config.pixels + 1)
    )
    return several if cycles < before else layer
