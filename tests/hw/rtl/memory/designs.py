"""Activation memories for one to five pixels, and a wide memory, in one top module."""

from dataclasses import replace

from hw.boards.presets import PRESETS
from hw.rtl.memory.activations import ActivationMemory
from hw.rtl.memory.wide import WideMemory
from tests.hw.parts import Parts

__all__ = ["ACTIVATIONS", "WIDE", "memory_parts"]

ACTIVATIONS = {
    f"pixels_{pixels}": replace(
        PRESETS["tiny"],
        lanes=4,
        pixels=pixels,
        post_lanes=post_lanes,
        post_positions=positions,
        act_depth=depth,
    )
    for pixels, post_lanes, positions, depth in (
        (1, 4, 1, 64),
        (2, 2, 2, 32),
        (3, 1, 1, 64),
        (5, 2, 5, 64),
        (4, 1, 3, 64),
    )
}
WIDE = {"width": 77, "depth": 32}


def memory_parts() -> Parts:
    parts = {name: ActivationMemory(config) for name, config in ACTIVATIONS.items()}
    return Parts("memory_parts", {**parts, "wide": WideMemory(**WIDE)})
