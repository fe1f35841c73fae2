"""Tables and registers around the array that can be counted: requantizers, drain, memories."""

from math import ceil

from hw.contract.config import MOST_TABLE_BITS, AcceleratorConfig
from hw.contract.isa import BODIES, DESCRIPTOR_BYTES, HEAD, Memory, Opcode
from hw.contract.structure import (
    DRAIN_CHOICE,
    EXCESS_BITS,
    EXCESS_CONDITIONS,
    activation_address_bits,
    drain_registers,
)
from hw.contract.words import (
    SHIFT_BITS,
    addend_bits,
    memories,
    table_shape,
    table_word_bits,
    word_beats,
    word_bits,
)
from hw.synth.area import Area

__all__ = ["memory_logic", "post_logic", "transfer_logic"]

#: Tables and registers that the requantizers of a channel share, for the shift.
_SHIFT_TABLES = 6
_SHIFT_REGISTERS = 12
#: Number of banks -> tables that choose a bit from one of them.
_CHOICE_TABLES = {2: 0.5, 4: 1, 8: 2, 16: 4, 32: 9}


def post_logic(config: AcceleratorConfig) -> Area:
    """Requantizers, and the registers and choices in front of them."""
    c = config
    total = _requantizers(c) * c.post_lanes
    for position in range(c.post_positions):
        pixels = len(range(position, c.pixels, c.post_positions))
        for register in drain_registers(c, pixels):
            total += Area(lut=register.tables, ff=register.bits) * c.post_lanes
    if c.tables:
        total += _tables(c) * c.post_lanes
    return total


def _tables(config: AcceleratorConfig) -> Area:
    """The tables of one channel, one for each position (:mod:`hw.rtl.post.table`)."""
    if config.act_bits > MOST_TABLE_BITS:
        return _knot_tables(config)
    shape, bits = table_shape(config), config.act_bits
    word_bits = shape.codes * bits
    address = (shape.words - 1).bit_length()
    # A choice of the code itself. A block memory contains the register behind it.
    own = _CHOICE_TABLES[2] * bits
    shared = Area(ff=bits * config.post_positions + word_bits + address + 1)
    if shape.codes > 1:
        return Area(lut=round(own), bram36=0.5) * config.post_positions + shared
    # Eight look-up tables hold 64 words of seven bits.
    own += 8 * ceil(bits / 7)
    return Area(lut=round(own), ff=bits) * config.post_positions + shared


def _knot_tables(config: AcceleratorConfig) -> Area:
    """Tables of knots of one channel (:mod:`hw.rtl.post.knot_table`); half a block memory each."""
    bits = config.act_bits
    fraction = bits - MOST_TABLE_BITS
    # Two tables move a bit up, one chooses a bit of the knot or code, one adds a bit. Code, knot
    # and fraction wait in shift registers.
    own = 2 * bits + bits + fraction + 2 + (fraction - 1) * (bits + 2) + bits
    own += 2 * bits + fraction - 1
    # Rise, what is added, parts; the code, moved and as the result, the knot, the fraction.
    ff = (max(0, fraction - 2) + fraction) * (bits + 1) + (fraction - 1) * (bits + 2)
    ff += 3 * bits + fraction
    shared = table_word_bits(config) + MOST_TABLE_BITS + 1 + 3
    number = config.post_positions
    return Area(lut=own * number, ff=ff * number + shared, bram36=0.5 * number)


def _requantizers(config: AcceleratorConfig) -> Area:
    """The requantizers of one channel, one for each position (:mod:`hw.rtl.post.requantizer`)."""
    c = config
    width = addend_bits(c)
    # Bits of the total without its sign.
    left = width
    shift_bits = min(SHIFT_BITS, left.bit_length())
    tables, excesses = 0.0, 0
    for top in range(shift_bits - 1, -1, -2):
        low = max(0, top - 1)
        ways = 1 << (top + 1 - low)
        kept = c.act_bits - 1 + (1 << low) - 1
        tables += kept / 2 if ways == 2 else kept
        for way in range(ways):
            above = min(left - kept - (way << low), 1 << low)
            excesses += -(-max(0, above) // EXCESS_BITS)
        left = kept
    # Two comparisons, and the choice of the code or a limit.
    tables += excesses + (excesses > EXCESS_CONDITIONS) + 2 * -(-c.act_bits // 2) + c.act_bits
    registers = width + 1 + 3 * c.act_bits + 2 + min(excesses, EXCESS_CONDITIONS)
    if c.requant == "shift":
        tables += c.acc_bits + 2
    else:
        # Tables gather the product's operand. The sum has registers in front of it.
        tables += c.acc_bits + width + 1
        registers += width
    own = Area(lut=round(tables), ff=registers)
    common = Area(lut=_SHIFT_TABLES, ff=_SHIFT_REGISTERS + 2 * c.act_bits)
    if c.requant == "scale":
        common += Area(ff=width + shift_bits)
    return own * c.post_positions + common


def memory_logic(config: AcceleratorConfig) -> Area:
    """Logic in front of and behind the activation memory's banks, and the maximum unit.

    As in :mod:`hw.rtl.memory.activations` and :mod:`hw.rtl.array.vector_max`.
    """
    c = config
    word, banks = c.act_word_bits, c.banks
    row_bits = activation_address_bits(c) - (banks - 1).bit_length()
    chunks = c.lanes // c.post_lanes
    chunk_bits = c.post_lanes * c.act_bits
    choices = [
        min(DRAIN_CHOICE, c.post_positions - first)
        for first in range(0, c.post_positions, DRAIN_CHOICE)
    ]
    # Reads: for each bank, for each pixel and for the store. Padding has a sign of its own.
    choice = _CHOICE_TABLES[banks]
    tables = (c.read_words + 1) * choice * word + c.read_words * c.lanes / 2
    registers = (banks + c.read_words + 1) * word
    # Writes: a choice of positions for each bank, then combined with a transfer's word.
    tables += banks * sum(number > 1 for number in choices) * (chunk_bits + row_bits)
    tables += banks * (-(-chunks // 2) * chunk_bits + row_bits)
    registers += banks * (len(choices) * (chunk_bits + row_bits) + word + 2 * row_bits)
    registers += 2 * (word + row_bits)
    # Maxima: a table compares two bits. Registers hold the running and the complete maximum.
    tables += c.pixels * c.lanes * -(-c.act_bits // 2)
    registers += 2 * c.pixels * word
    return Area(lut=round(tables), ff=registers)


def transfer_logic(config: AcceleratorConfig) -> Area:
    """Logic between the ports and the memories, and the counters of the groups' positions.

    As in :mod:`hw.rtl.stream.gearbox` and :mod:`hw.rtl.control`.
    """
    c = config
    beat, act_beats = c.axi_beat_bits, word_beats(c, Memory.ACT)
    # Words gathered from beats; those of weights and params again behind their memories.
    registers = sum(
        (1 if memory is Memory.ACT else 2) * word_bits(c, memory)
        + (word_beats(c, memory) - 1) * beat
        for memory in memories(c)
    )
    # Stores: eight words of memory in tables, a word behind it and a word that is shifted out.
    tables = c.act_word_bits / 2 + (act_beats - 1) * beat
    registers += 2 * c.act_word_bits
    # Only those bits of a descriptor are kept that a queue takes.
    used = sum(HEAD.values()) + sum(BODIES[Opcode.COMPUTE].values())
    registers += used + min(used, DESCRIPTOR_BYTES * 8 - beat)
    # Two beats in front of the memories and at the ports, one beat of writes and one of descriptors
    # behind buffers. A descriptor's words are added three at a time.
    registers += 6 * beat + beat // 3
    # Rows, columns and addresses of reads and writes, in the walker, the sequencer and behind it.
    address_bits = activation_address_bits(c)
    position = 2 * 16 + 2 * address_bits
    walker = position if c.post_positions == 1 else 2 * (position + 17)
    registers += c.pixels * (walker + position + 2 * address_bits)
    return Area(lut=round(tables), ff=registers)
