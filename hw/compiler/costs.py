"""Cycles that a layer takes, roughly: for choices that are made before there are commands."""

from hw.compiler.layer import Layer
from hw.compiler.tiles import filter_group_width, layer_steps, weight_words
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import DESCRIPTOR_BYTES, Memory
from hw.contract.words import word_beats

__all__ = ["command_cycles", "compute_cycles", "weight_cycles"]


def compute_cycles(config: AcceleratorConfig, layer: Layer) -> int:
    """Cycles that a layer computes."""
    cycles = 0
    for part in layer.parts:
        channels, rows, width = part.out_shape
        groups = -(-rows * width // config.pixels)
        filter_groups = -(-channels // filter_group_width(config, part))
        chunks = -(-min(channels, filter_group_width(config, part)) // config.post_lanes)
        interval = max(layer_steps(config, part), config.drain_turns(config.pixels) * chunks)
        cycles += filter_groups * groups * interval
    return cycles


def weight_cycles(config: AcceleratorConfig, layer: Layer) -> int:
    """Cycles that a layer's weights are loaded once."""
    words = 0
    for part in layer.parts:
        filter_groups = -(-part.out_shape[0] // filter_group_width(config, part))
        words += weight_words(config, part) * (1 if part.shared_weight else filter_groups)
    return words * word_beats(config, Memory.WEIGHT)


def command_cycles(config: AcceleratorConfig, layer: Layer) -> int:
    """Cycles in which the commands of a layer's parts are fetched: two loads and a computation."""
    beats = -(-DESCRIPTOR_BYTES * 8 // config.axi_beat_bits)
    return 3 * len(layer.parts) * beats
