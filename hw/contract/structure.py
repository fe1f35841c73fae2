"""How parts of the core are put together: for the RTL, and for the model of its area."""

from itertools import product
from typing import NamedTuple

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit

__all__ = [
    "DRAIN_CHOICE",
    "EXCESS_BITS",
    "EXCESS_CONDITIONS",
    "UnitRegisters",
    "activation_address_bits",
    "drain_registers",
    "pixels_in_tables",
]

#: Numbers whose OR a table of the requantizer's addition takes beside the addend.
_TERMS = 5
#: Bits that one table of a requantizer compares with the sign, with room for a condition.
EXCESS_BITS = 4
#: Conditions, each from such a table, that one table of a requantizer combines.
EXCESS_CONDITIONS = 6
#: Positions of the drain that one table in front of a bank chooses from. The bank ORs the tables.
DRAIN_CHOICE = 4


def activation_address_bits(config: AcceleratorConfig) -> int:
    """Bits of the address of a word of the activation memory: its bank and its row there."""
    return (config.act_depth - 1).bit_length()


def pixels_in_tables(config: AcceleratorConfig) -> AcceleratorConfig:
    """The array of the pixels that are not in DSP blocks, as a configuration of its own."""
    return AcceleratorConfig(
        name="tables",
        lanes=config.lanes,
        filters=config.filters,
        pixels=config.pixels - config.dsp_pixels,
        post_lanes=1,
        act_bits=config.act_bits,
        weight_bits=config.weight_bits,
        acc_bits=config.acc_bits,
    )


class UnitRegisters(NamedTuple):
    """Registers in front of a lane's requantizer for the results of one unit."""

    #: How many registers there are.
    number: int
    #: Bits of a register.
    bits: int
    #: Look-up tables in front of a register.
    tables: int
    #: Chunks that share a register.
    size: int


def drain_registers(config: AcceleratorConfig, pixels: int) -> dict[Unit, UnitRegisters]:
    """Registers that take the chunks of one position, which is one of ``pixels`` pixels.

    A requantizer's first addition takes the OR of five registers at no cost. Chunks that share a
    register need tables to choose between them. So there are at most five registers, shared in the
    way that takes the fewest tables.
    """
    units = {
        Unit.ARRAY: (config.filters, config.acc_bits),
        Unit.SUM: (config.lanes, config.acc_bits),
        Unit.MAX: (config.lanes, config.act_bits),
    }
    options = []
    for channels, bits in units.values():
        most = pixels << (channels // config.post_lanes - 1).bit_length()
        sizes = (1 << i for i in range((most - 1).bit_length() + 1))
        options.append(
            [
                UnitRegisters(-(-most // size), bits, bits * -(-(size - 1) // 3), size)
                for size in sizes
            ]
        )
    fitting = (
        choice for choice in product(*options) if sum(unit.number for unit in choice) <= _TERMS
    )
    best = min(fitting, key=lambda choice: sum(unit.number * unit.tables for unit in choice))
    return dict(zip(units, best, strict=True))
