"""A tree of resets: each part of a design has its own register."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Signal

from hw.rtl.attributes import NOT_MERGED
from hw.rtl.component import Component

__all__ = ["RESET_CYCLES", "add_with_reset"]

#: Cycles from the top's request for a reset to the reset of the core's parts.
RESET_CYCLES = 2


def add_with_reset(m: Module, name: str, component: Component) -> None:
    """Adds a submodule that is reset one cycle after ``m``, by a register of its own.

    So a reset's loads are those of one part, and no reset crosses the whole chip in a cycle.
    """
    reset = Signal(name=f"{name}_reset", init=1, attrs=NOT_MERGED)
    m.d.sync += reset.eq(0)
    domain = ClockDomain(name, local=True)
    domain.rst = reset
    m.domains += domain
    m.d.comb += domain.clk.eq(ClockSignal())
    m.submodules[name] = DomainRenamer(name)(component)
