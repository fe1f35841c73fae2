"""Sizes and latencies of the components, for the RTL and the cycle model alike.

Figures below ``# Paths`` are cycles on ways through several components. They follow from how the
components are built. The tests that compare the model with the RTL check them.
"""

from hw.contract.config import MOST_TABLE_BITS, AcceleratorConfig
from hw.contract.isa import Opcode, Unit

__all__ = [
    "ACTIVATION_READ_LATENCY",
    "ADDER_TERMS",
    "BURST_BEATS",
    "CHECKSUM_WORDS",
    "DESCRIPTORS_AHEAD",
    "DONE_CYCLES",
    "FETCH_REQUEST_CYCLES",
    "FIRST_GROUP_CYCLES",
    "LAST_TERMS",
    "LOAD_REQUEST_CYCLES",
    "LOAD_WRITE_CYCLES",
    "OUTSTANDING_BURSTS",
    "QUAD_CYCLES",
    "QUEUED_COMMANDS",
    "QUEUE_CYCLES",
    "REACHED_CYCLES",
    "READ_PATH_CYCLES",
    "REQUEST_INTERVAL",
    "SECTION_FILTERS",
    "SHIFT_CYCLES",
    "START_CYCLES",
    "STEP_CYCLES",
    "STORE_AHEAD",
    "STORE_END_CYCLES",
    "STORE_READ_CYCLES",
    "array_latency",
    "block_wait",
    "cascade_delays",
    "check_cycles",
    "drain_latency",
    "pe_latency",
    "requantizer_latency",
    "result_latency",
    "section_latency",
    "sum_latency",
    "sum_stages",
    "table_latency",
    "tree_levels",
    "unit_latency",
]

#: Cycles from the address of a word of the activation memory to the word.
ACTIVATION_READ_LATENCY = 4
#: Terms of one addition: a row of six-input tables with its carry chain adds three.
ADDER_TERMS = 3
#: Terms that the accumulator takes beside its own value.
LAST_TERMS = 2
#: Words of a descriptor that are added in one cycle.
CHECKSUM_WORDS = 4
#: Descriptors asked for and not yet handed to an engine.
DESCRIPTORS_AHEAD = 2
#: Commands that wait in the queue of each engine.
QUEUED_COMMANDS = 4
#: Words that a store reads ahead of the word that leaves it: two round trips of the memory.
STORE_AHEAD = 2 * ACTIVATION_READ_LATENCY
#: Most bursts under way at once in each direction of an AXI port, and most beats of a burst.
OUTSTANDING_BURSTS = 8
BURST_BEATS = 16
#: Filters that share a copy of the activation registers in front of the array.
SECTION_FILTERS = 8

#: Cycles that a shift register in a look-up table delays by.
SHIFT_CYCLES = 32
#: Cycles by which a DSP block's products come after those of tables.
QUAD_CYCLES = 2

# Paths

#: From the write of START to the cycle in which counting begins.
START_CYCLES = 4
#: From a descriptor's turn to its request on the bus, and from a load's command to its own.
FETCH_REQUEST_CYCLES = 2
LOAD_REQUEST_CYCLES = 4
#: From one request on the bus to the next.
REQUEST_INTERVAL = 3
#: From a request to its first beat, without the memory's own latency.
READ_PATH_CYCLES = 9
#: From a command that is handed on to the engine's end of the queue.
QUEUE_CYCLES = 3
#: From a command's completion to the start of one that waits for it, by the engine that waits.
REACHED_CYCLES = {Opcode.LOAD: 3, Opcode.COMPUTE: 1, Opcode.STORE: 3}
#: From a load's last beat to the on-chip memory.
LOAD_WRITE_CYCLES = 1
#: From a compute command to its first group, without a cycle for each of the group's positions.
FIRST_GROUP_CYCLES = 3
#: From a step to the unit's first register, without the activation memory.
STEP_CYCLES = 1
#: From a store's command to its first read, and from its last read to the end of the store, without
#: the memory's own latency.
STORE_READ_CYCLES = 3
STORE_END_CYCLES = ACTIVATION_READ_LATENCY + 12
#: From the last command's completion to the interrupt.
DONE_CYCLES = 6


def tree_levels(lanes: int) -> int:
    """Levels of additions between the products of ``lanes`` lanes and the accumulator."""
    # A number of lanes that is not a power of two takes a constant as one more term.
    terms = lanes + (lanes & (lanes - 1) != 0)
    levels = 0
    while LAST_TERMS * ADDER_TERMS**levels < terms:
        levels += 1
    return levels


def pe_latency(lanes: int) -> int:
    """Cycles from a last step to its sum: products, levels of additions, accumulator."""
    return tree_levels(lanes) + 2


def sum_latency(config: AcceleratorConfig) -> int:
    """Cycles from a last step of channel-wise sums to its result. Several taps are added first."""
    return pe_latency(1) + (config.depthwise_taps > 1)


def array_latency(config: AcceleratorConfig) -> int:
    """Cycles from a step with ``last`` to ``acc``.

    Where pixels are in DSP blocks, the others wait for them.
    """
    return block_wait(config) + section_latency(config)


def block_wait(config: AcceleratorConfig) -> int:
    """Cycles that the other pixels wait for those in DSP blocks."""
    if not config.dsp_pixels:
        return 0
    return QUAD_CYCLES if config.quads else SHIFT_CYCLES


def section_latency(config: AcceleratorConfig) -> int:
    """Cycles from a step with ``last`` to ``acc``, through a section's registers and an element."""
    return pe_latency(config.lanes) + 1


def cascade_delays(config: AcceleratorConfig) -> tuple[int, int]:
    """For pixels in cascades: delay of a cascade's first lane, registers behind the cascade.

    Every lane comes a cycle later than the one before. So that the sums come with those of the
    other pixels, a section's register, four of a block and the accumulator's are counted.
    """
    plan = config.cascades
    left = array_latency(config) - 6 - tree_levels(plan.count)
    last = min(SHIFT_CYCLES, left)
    return last - plan.lanes + 1, left - last


def unit_latency(config: AcceleratorConfig, unit: Unit) -> int:
    """Cycles from a unit's last step to its result."""
    match unit:
        case Unit.ARRAY:
            return array_latency(config)
        case Unit.SUM:
            return sum_latency(config)
        case Unit.MAX:
            return 2


def result_latency(config: AcceleratorConfig, unit: Unit) -> int:
    """Cycles from the read of a group's last step to the write of its first result."""
    inside = unit_latency(config, unit)
    return STEP_CYCLES + ACTIVATION_READ_LATENCY + inside + drain_latency(config)


def requantizer_latency(config: AcceleratorConfig) -> int:
    """Cycles to add, shift, compare, select. Scale mode multiplies first, in a DSP's registers."""
    return 5 if config.requant == "scale" else 4


def drain_latency(config: AcceleratorConfig) -> int:
    """Cycles from a result to its write: it is taken, requantized, looked up in the table."""
    return 1 + requantizer_latency(config) + table_latency(config)


def table_latency(config: AcceleratorConfig) -> int:
    """Cycles of a table; between knots every bit of a fraction takes one."""
    if not config.tables:
        return 0
    return 1 if config.act_bits <= MOST_TABLE_BITS else config.act_bits - MOST_TABLE_BITS + 4


def check_cycles(config: AcceleratorConfig) -> int:
    """Cycles from a descriptor's last beat until its sum has been compared."""
    return 3 + sum_stages(config.axi_beat_bits // 32)


def sum_stages(words: int) -> int:
    """Cycles in which ``words`` words are added to one."""
    stages = 1
    while CHECKSUM_WORDS**stages < words:
        stages += 1
    return stages
