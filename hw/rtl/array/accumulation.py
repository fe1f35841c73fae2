"""Additions of a step's terms, and the accumulator behind them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from hw.contract.reduction import Reduction
from hw.rtl.attributes import NOT_MERGED
from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component

__all__ = ["Accumulating", "offset_bits"]


def offset_bits(term: Value) -> Value:
    """A signed term plus half its range, which is unsigned. An unsigned term stays as it is."""
    return Cat(term[:-1], ~term[-1]) if term.shape().signed else term


class Accumulating(Component):
    """A component that adds the terms of each step in a tree and accumulates the steps.

    It has the members ``valid``, ``first``, ``last`` and ``acc`` of
    :class:`~hw.rtl.array.svpe.ProcessingElement`, and ``grow`` and ``whole`` as described there.

    The logic between the registers is in the methods ``_sum`` and ``_accumulate``.
    :mod:`hw.rtl.ultrascale.elements` replaces them by explicit cells.
    """

    acc_bits: int
    radix_bits: int = 0
    exact: bool = False

    def _sum(self, m: Module, name: str, terms: list[Value], width: int) -> Value:
        """The sum of two or three terms; to signed ones half their range is added."""
        return sum(map(offset_bits, terms))[:width]

    def _accumulate(
        self,
        m: Module,
        running: Value,
        first: Value,
        terms: list[Value],
        exponent: int,
    ) -> Value:
        """``running`` (0 at the first step) plus the last terms: one signed term, or two.

        If there are two, half their range is added to signed ones and ``2**exponent`` is subtracted
        from the sum. The second term has at most ``exponent`` bits, so the subtraction is a sign
        bit above it.
        """
        if len(terms) == 2:
            wide, narrow = map(offset_bits, terms)
            above = Const(1 << (exponent - len(narrow)), exponent - len(narrow) + 1)
            terms = [wide, Cat(narrow, above).as_signed()]
        return Mux(first, 0, running) + sum(terms)

    def _accumulated(self, m: Module, terms: list[Value], exponent: int, stages: int) -> None:
        """Accumulates a step's last terms, which come ``stages`` cycles after its flags."""
        # The step's flags travel along with its sum. The reset keeps tools from making them shift
        # registers in tables: that would take three tables for each element. They drive whole
        # accumulators, so every element has its own.
        valid = Signal(stages, name="valid_stages", attrs=NOT_MERGED)
        first = Signal(stages, name="first_stages", attrs=NOT_MERGED)
        last = Signal(stages, name="last_stages", attrs=NOT_MERGED)
        m.d.sync += [
            valid.eq(Cat(self.valid, valid)),
            first.eq(Cat(self.first, first)),
            last.eq(Cat(self.last, last)),
        ]

        running = Signal(signed(self.acc_bits))
        before = running
        if self.radix_bits:
            grow = Signal(stages, name="grow_stages", attrs=NOT_MERGED)
            m.d.sync += grow.eq(Cat(self.grow, grow))
            grown = (running << self.radix_bits)[: self.acc_bits].as_signed()
            before = Mux(grow[-1], grown, running)
        total = Signal(signed(self.acc_bits))
        terms = sorted(terms, key=len, reverse=True)
        if self.exact:
            # In a bit below all others, so that one addition takes it.
            inverted = Signal()
            whole = Signal()
            names, flags = ("inverted_before", "whole_before"), (self.weight[0][-1], self.whole)
            late = delayed(m, names, flags, stages - 1, domain="data")
            m.d.data += [inverted.eq(late[0]), whole.eq(late[1])]
            before = Cat(1, before).as_signed()
            terms = [Cat(inverted & whole, *terms).as_signed()]
        summed = self._accumulate(m, before, first[-1], terms, exponent)
        m.d.comb += total.eq(summed[1:] if self.exact else summed)
        with m.If(valid[-1]):
            m.d.data += running.eq(total)
        with m.If(last[-1]):
            m.d.data += self.acc.eq(total)

    def _added(self, m: Module, plan: Reduction, terms: list[Value]) -> list[Value]:
        """The terms, added level by level until the accumulator's are left."""
        if plan.constant:
            terms.append(Const(plan.constant))
        for level, (groups, widths) in enumerate(zip(plan.levels, plan.widths, strict=True)):
            sums = []
            for index, (group, width) in enumerate(zip(groups, widths, strict=True)):
                added = [terms[term] for term in group]
                if len(added) == 1 and isinstance(added[0], Const):
                    sums += added
                    continue
                name = f"sum_{level}_{index}"
                shape = added[0].shape() if len(added) == 1 else width
                register = Signal(shape, name=name)
                total = added[0]
                if len(added) > 1:
                    total = self._sum(m, name, added, width)
                m.d.data += register.eq(total)
                sums.append(register)
            terms = sums
        return terms
