"""Requantizers of every mode and several widths in one top module."""

from dataclasses import replace
from itertools import product

from hw.config import PRESETS
from hw.post.requantizer import Requantizer
from tests.hw.parts import Parts

__all__ = ["REQUANTIZERS", "requantizer_parts"]

REQUANTIZERS = {
    f"{requant}_s{acc_bits}_a{act_bits}": replace(
        PRESETS["tiny"], requant=requant, acc_bits=acc_bits, act_bits=act_bits
    )
    for requant, (acc_bits, act_bits) in product(
        ["shift", "scale"], [(20, 8), (24, 8), (24, 16), (10, 4), (40, 16)]
    )
}


def requantizer_parts() -> Parts:
    return Parts(
        "requantizer_parts", {name: Requantizer(config) for name, config in REQUANTIZERS.items()}
    )
