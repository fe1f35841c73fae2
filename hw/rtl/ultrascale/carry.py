"""Carry chains as explicit cells: CARRY8 of UltraScale+, CARRY4 of the 7 series."""

from typing import ClassVar

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["CarryChain", "Series7CarryChain"]


class CarryChain(Component):
    """Bit i of the sum is ``select[i]`` xor the carry into it; logic without registers.

    The carry out of a bit is the carry into it where ``select[i]`` is set, else ``carry[i]``.

    Members
    -------
    select, carry : ``In(width)``; carry_in : ``In(1)``, into the lowest bit
    total : ``Out(width)``; carry_out : ``Out(1)``, of the highest bit
    """

    #: Bits of one cell.
    cell_bits: ClassVar[int] = 8

    def __init__(self, *, width: int):
        self.width = width
        super().__init__({
            "select": In(width), "carry": In(width), "carry_in": In(1),
            "total": Out(width), "carry_out": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        bits = self.cell_bits
        sums, carry_in = [], self.carry_in
        for start in range(0, self.width, bits):
            select, carry = self.select[start : start + bits], self.carry[start : start + bits]
            unused = Const(0, bits - len(select))
            total = Signal(bits, name=f"total_{start}")
            carries = Signal(bits, name=f"carries_{start}")
            m.submodules[f"cell_{start}"] = self._cell(
                carry_in,
                first=start == 0,
                i_S=Cat(select, unused),
                i_DI=Cat(carry, unused),
                o_O=total,
                o_CO=carries,
            )
            sums.append(total[: len(select)])
            carry_in = carries[len(select) - 1]
        m.d.comb += [self.total.eq(Cat(*sums)), self.carry_out.eq(carry_in)]
        return m

    def _cell(self, carry_in: Value, *, first: bool, **ports: Value) -> Instance:
        """A cell of :attr:`cell_bits` bits; its carry comes from a cell unless it is the first."""
        return Instance("CARRY8", i_CI=carry_in, i_CI_TOP=Const(0, 1), **ports)


class Series7CarryChain(CarryChain, replaces=CarryChain):
    """:class:`CarryChain` in the cells of the 7 series.

    Only another cell reaches a cell's ``CI``; what begins a chain comes in by ``CYINIT``.
    """

    cell_bits = 4

    def _cell(self, carry_in: Value, *, first: bool, **ports: Value) -> Instance:
        none = Const(0, 1)
        return Instance(
            "CARRY4",
            i_CI=none if first else carry_in,
            i_CYINIT=carry_in if first else none,
            **ports,
        )
