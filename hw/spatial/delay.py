"""How many additions fit between registers: a rough estimate for UltraScale+.

Medians of public routed reports at speed grade -2: clock to output 0.08 ns, a table 0.09, a net
inside a block of logic 0.25, into a carry chain 0.16 and along eight bits of it 0.03, setup with
clock uncertainty and skew 0.2. Nothing here was placed or routed.
"""

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["estimated_mhz", "levels_for"]

#: Registers at both ends: clock to output, the net from there, setup, uncertainty, skew; ns.
_ENDS_NS = 0.08 + 0.25 + 0.2
#: One addition of up to 16 bits: a table, the carry chain, the net to the next one; ns.
_ADDITION_NS = 0.09 + 0.16 + 0.06 + 0.25


def levels_for(clock_mhz: int) -> int:
    """Additions between registers at a clock.

    Raises :class:`NbqnnError` for a clock that a single addition does not reach.
    """
    levels = int((1000 / clock_mhz - _ENDS_NS) / _ADDITION_NS)
    if levels < 1:
        raise NbqnnError(
            f"clock must be at most {int(estimated_mhz(1))} MHz, what one addition between "
            f"registers is estimated to reach, not {clock_mhz} MHz"
        )
    return levels


def estimated_mhz(levels: int) -> float:
    """The clock that ``levels`` additions between registers are estimated to reach."""
    return 1000 / (_ENDS_NS + levels * _ADDITION_NS)
