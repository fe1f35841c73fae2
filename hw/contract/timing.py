"""Cycles that the components take: what the RTL is built to, and the cycle model counts with."""

from hw.contract.config import AcceleratorConfig

__all__ = [
    "ACTIVATION_READ_LATENCY",
    "ADDER_TERMS",
    "CHECKSUM_WORDS",
    "LAST_TERMS",
    "array_latency",
    "check_cycles",
    "drain_latency",
    "pe_latency",
    "requantizer_latency",
    "sum_stages",
    "tree_levels",
]

#: From the address of a word of the activation memory to the word.
ACTIVATION_READ_LATENCY = 4
#: Terms that one addition takes: a row of six-input tables with its carry chain adds three.
ADDER_TERMS = 3
#: Terms that the accumulator takes beside its own value.
LAST_TERMS = 2
#: Words of a descriptor that are added in one cycle.
CHECKSUM_WORDS = 4


def tree_levels(lanes: int) -> int:
    """Levels of additions between the products of ``lanes`` lanes and the accumulator."""
    # A number of lanes that is no power of two takes a constant more.
    terms = lanes + (lanes & (lanes - 1) != 0)
    levels = 0
    while LAST_TERMS * ADDER_TERMS**levels < terms:
        levels += 1
    return levels


def pe_latency(lanes: int) -> int:
    """Cycles from a last step to its sum: products, levels of additions, accumulator."""
    return tree_levels(lanes) + 2


def array_latency(config: AcceleratorConfig) -> int:
    """Cycles from a step with ``last`` to ``acc``: the tile's registers and the element."""
    return pe_latency(config.lanes) + 1


def requantizer_latency(config: AcceleratorConfig) -> int:
    """Cycles: add, shift, compare, select; scale mode multiplies first (in the DSP's registers)."""
    return 5 if config.requant == "scale" else 4


def drain_latency(config: AcceleratorConfig) -> int:
    """Cycles from a result to its write: taken, requantized."""
    return 1 + requantizer_latency(config)


def check_cycles(config: AcceleratorConfig) -> int:
    """Cycles from a descriptor's last beat until its sum has been compared."""
    return 3 + sum_stages(config.axi_beat_bits // 32)


def sum_stages(words: int) -> int:
    """Cycles in which ``words`` words become one."""
    stages = 1
    while CHECKSUM_WORDS**stages < words:
        stages += 1
    return stages
