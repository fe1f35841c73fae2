"""Requantizers of every mode and several widths in one top module, drains in another."""

from dataclasses import replace
from itertools import product

from hw.boards.presets import PRESETS
from hw.rtl.post.drain import Drain
from hw.rtl.post.requantizer import Requantizer
from tests.hw.parts import Parts

__all__ = ["DRAINS", "POSITIONS", "REQUANTIZERS", "TERMS", "drain_parts", "requantizer_parts"]

REQUANTIZERS = {
    f"{requant}_s{acc_bits}_a{act_bits}": replace(
        PRESETS["tiny"], requant=requant, acc_bits=acc_bits, act_bits=act_bits
    )
    for requant, (acc_bits, act_bits) in product(
        ["shift", "scale"], [(20, 8), (24, 8), (24, 16), (10, 4), (40, 16)]
    )
}

#: Accumulators that a requantizer takes in a cycle, and of how many numbers each is the OR.
POSITIONS, TERMS = 2, 3

#: Two words of filters; two chunks in a word; fewer positions in the last turn of most groups.
#: With one position a maximum shares a register with sums.
DRAINS = {
    f"positions_{positions}": replace(
        PRESETS["tiny"],
        lanes=4,
        filters=8,
        post_lanes=2,
        pixels=pixels,
        post_positions=positions,
        tables=act_bits > 0,
        act_bits=act_bits or 8,
    )
    # Bits of a table, which has knots where they are more than eight; 0 for none.
    for pixels, positions, act_bits in ((4, 1, 16), (3, 2, 8), (5, 3, 0), (4, 4, 9))
}


def requantizer_parts() -> Parts:
    parts = {
        name: Requantizer(config, positions=POSITIONS, terms=TERMS)
        for name, config in REQUANTIZERS.items()
    }
    return Parts("requantizer_parts", parts)


def drain_parts() -> Parts:
    return Parts("drain_parts", {name: Drain(config) for name, config in DRAINS.items()})
