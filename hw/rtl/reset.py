"""Resets of their own for parts of a design."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Signal

from hw.rtl.component import Component

__all__ = ["RESET_CYCLES", "add_with_reset"]

#: Cycles by which the parts of the core are reset later than the top asks for it.
RESET_CYCLES = 2


def add_with_reset(m: Module, name: str, component: Component) -> None:
    """Adds a submodule whose reset is that of ``m`` a cycle later, out of a register of its own.

    So no reset has more loads than the part has, and none has to reach the whole chip in a cycle.
    """
    reset = Signal(name=f"{name}_reset", init=1, attrs={"keep": "true"})
    m.d.sync += reset.eq(0)
    domain = ClockDomain(name, local=True)
    domain.rst = reset
    m.domains += domain
    m.d.comb += domain.clk.eq(ClockSignal())
    m.submodules[name] = DomainRenamer(name)(component)
