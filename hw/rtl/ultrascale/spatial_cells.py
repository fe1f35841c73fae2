"""The cells of circuits (:mod:`hw.spatial`) as explicit tables and carry chains of UltraScale+."""

from amaranth.hdl import Cat, Const, Module, Signal

from hw.rtl.cells.saturation import Saturation
from hw.rtl.cells.signed_total import SignedTotal
from hw.rtl.ultrascale.tables import BitFunction, carry_chain, dual_table, place_tables

__all__ = ["UltrascaleSaturation", "UltrascaleSignedTotal"]

#: Inputs of a table.
_INPUTS = 6


class UltrascaleSignedTotal(SignedTotal, replaces=SignedTotal):
    """:class:`SignedTotal`: one table per bit, added as in :mod:`hw.rtl.ultrascale.elements`."""

    def build(self) -> Module:
        m = Module()
        count = self.plain + self.inverted
        select, carry = [], []
        below = Const(0, 1)
        for bit in range(self.width):
            words = {f"word{i}": self.terms[i * self.width + bit] for i in range(count)}
            inputs = words | ({"below": below} if bit and count == 3 else {})

            def ones(values: dict) -> int:
                plain = sum(values[f"word{i}"] for i in range(self.plain))
                return plain + sum(1 - values[f"word{i}"] for i in range(self.plain, count))

            def parity(values: dict, ones=ones) -> int:
                return (ones(values) + values.get("below", 0)) & 1

            def majority(values: dict, ones=ones) -> int:
                return int(ones(values) >= 2)

            select.append(Signal(name=f"select_{bit}"))
            function = BitFunction(select[-1], inputs, parity)
            # The chain's second row: the majority of the bit below if there are three words, else
            # one of the two words.
            carry.append(below if count == 3 else words["word0"])
            if count == 3 and bit + 1 < self.width:
                below = Signal(name=f"majority_{bit}")
                dual_table(m, f"bit_{bit}", function, BitFunction(below, words, majority))
            else:
                place_tables(m, f"bit_{bit}", [function])
        if count == 1:
            m.d.comb += self.total.eq(Cat(*select))
            return m
        # An inverted word goes inverted to the chain's own input, too.
        if count == 2 and self.plain == 0:
            carry = [~bit for bit in carry]
        total, _ = carry_chain(m, Cat(*select), Cat(*carry))
        m.d.comb += self.total.eq(total)
        return m

    @classmethod
    def fits(cls, *, plain: int, inverted: int, **_: int) -> bool:
        """Not two inverted words: they would need inverters in front of the carry chain."""
        return (plain, inverted) != (0, 2)


class UltrascaleSaturation(Saturation, replaces=Saturation):
    """:class:`Saturation`: one or two tables find out what does not fit; then two bits a table."""

    @classmethod
    def fits(cls, *, width: int, bits: int, signed: bool) -> bool:
        return not signed and width - bits <= _INPUTS

    def build(self) -> Module:
        m = Module()
        above = {f"above{i}": bit for i, bit in enumerate(self.value[self.bits : -1])}
        negative = self.value[-1]
        over = Signal()
        if above:
            place_tables(
                m,
                "over",
                [BitFunction(over, above, lambda values: int(any(values.values())))],
            )
        functions = []
        for bit in range(self.bits):
            inputs = {f"value{bit}": self.value[bit], "negative": negative, "over": over}

            def result(values: dict, name: str = f"value{bit}") -> int:
                return int(not values["negative"] and (values["over"] or values[name]))

            functions.append(BitFunction(self.result[bit], inputs, result))
        place_tables(m, "bit", functions)
        return m
