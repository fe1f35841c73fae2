"""How parts of the core are put together: for the RTL, and for the model of its area."""

from math import ceil
from typing import NamedTuple

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Unit

__all__ = [
    "DRAIN_CHOICE",
    "EXCESS_BITS",
    "EXCESS_CONDITIONS",
    "ArrayPart",
    "DrainRegister",
    "activation_address_bits",
    "array_parts",
    "drain_registers",
    "memory_parts",
    "pixels_in_tables",
]

#: Numbers whose OR a table of the requantizer's addition takes beside the addend.
_TERMS = 5
#: Chunks that a table in front of such a register chooses from beside what comes out of another.
_MORE = 3
#: Bits that one table of a requantizer compares with the sign, with room for a condition.
EXCESS_BITS = 4
#: Conditions, each from such a table, that one table of a requantizer combines.
EXCESS_CONDITIONS = 6
#: Positions of the drain that one table in front of a bank chooses from. The bank ORs the tables.
DRAIN_CHOICE = 4
#: Words of a block memory that has fewer bits in half of it than half its bits -> both.
_BITS_AND_HALF = {4096: (9, 4), 8192: (4, 2), 16384: (2, 1)}


def activation_address_bits(config: AcceleratorConfig) -> int:
    """Bits of the address of a word of the activation memory: its bank and its row there."""
    return (config.act_depth - 1).bit_length()


def memory_parts(width: int, depth: int) -> tuple[int, ...]:
    """Bits of one memory, or of two that take half a block memory less together.

    Synthesis makes a memory of blocks of one kind. So what is left over of whole blocks is a memory
    of its own if half a block holds it.
    """
    bits, half = _BITS_AND_HALF.get(depth, (width, 0))
    left = width % bits
    return (width - left, left) if 0 < left <= half and left < width else (width,)


class ArrayPart(NamedTuple):
    """Filters that have equally many pixels in DSP blocks."""

    filters: int
    #: The last pixels.
    dsp_pixels: int


def array_parts(config: AcceleratorConfig) -> list[ArrayPart]:
    """The parts of an array with pixels in DSP blocks, in the order of their filters."""
    more = config.dsp_pixels + config.block_pixels
    parts = [
        ArrayPart(config.dsp_filters, more),
        ArrayPart(config.filters - config.dsp_filters, config.dsp_pixels),
    ]
    return [part for part in parts if part.filters]


def pixels_in_tables(config: AcceleratorConfig, part: ArrayPart) -> AcceleratorConfig:
    """The part's pixels that are not in DSP blocks, as a configuration of its own."""
    return AcceleratorConfig(
        name="tables",
        lanes=config.lanes,
        filters=part.filters,
        pixels=config.pixels - part.dsp_pixels,
        post_lanes=1,
        act_bits=config.act_bits,
        weight_bits=config.weight_bits,
        acc_bits=config.acc_bits,
    )


class DrainRegister(NamedTuple):
    """A register in front of each lane's requantizer, and the chunks that it takes one of."""

    #: Bits for each lane.
    bits: int
    #: For each chunk: its unit, its pixel among those of the position, its number.
    sources: tuple[tuple[Unit, int, int], ...]

    @property
    def tables(self) -> int:
        """Look-up tables in front of a lane's register: each chooses from three more chunks."""
        return self.bits * ceil((len(self.sources) - 1) / _MORE)


def drain_registers(config: AcceleratorConfig, pixels: int) -> list[DrainRegister]:
    """Registers that take the chunks of one position, which is one of ``pixels`` pixels.

    A requantizer's first addition takes the OR of five registers at no cost. Chunks that share a
    register need tables to choose between them. So there are at most five registers, shared in the
    way that takes the fewest tables. Maxima are narrower than sums: they share with one another, or
    take the places that sums leave.
    """
    chunks = {
        Unit.ARRAY: config.filters // config.post_lanes,
        Unit.SUM: config.lanes // config.post_lanes,
        Unit.MAX: config.lanes // config.post_lanes,
    }
    sources = {
        unit: [(unit, pixel, chunk) for pixel in range(pixels) for chunk in range(count)]
        for unit, count in chunks.items()
    }
    sums, maxima = sources[Unit.ARRAY] + sources[Unit.SUM], sources[Unit.MAX]
    options = []
    for wide in range(1, _TERMS):
        beside = _room(len(sums), wide) - len(sums)
        for narrow in range(1, _TERMS - wide + 1):
            options.append(
                _shared(sums + maxima[:beside], wide, config.acc_bits)
                + _shared(maxima[beside:], narrow, config.act_bits)
            )
    return min(
        options,
        key=lambda chosen: (
            sum(register.tables for register in chosen),
            max(len(register.sources) for register in chosen),
        ),
    )


def _room(chunks: int, registers: int) -> int:
    """Chunks that so many registers can take with the fewest tables for these."""
    return registers + _MORE * ceil(max(0, chunks - registers) / _MORE)


def _shared(sources: list, count: int, bits: int) -> list[DrainRegister]:
    """Up to ``count`` registers that take these chunks."""
    tables = (_room(len(sources), count) - count) // _MORE
    registers, left = [], list(sources)
    for number in range(count):
        size = 1 + _MORE * (tables // count + (number < tables % count))
        registers.append(DrainRegister(bits, tuple(left[:size])))
        left = left[size:]
    return [register for register in registers if register.sources]
