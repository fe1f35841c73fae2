"""The components of :mod:`hw.rtl.cells` as explicit tables, carry chains and multiplexers.

By itself, synthesis shares no table between two functions and uses no multiplexer behind tables.
These modules take the place of those with the same names, like those of
:mod:`hw.rtl.ultrascale.elements`.
"""

from amaranth.hdl import Cat, Instance, Module, Signal, unsigned

from hw.rtl.cells.addition import Addition
from hw.rtl.cells.advance import Advance
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.comparison import Comparison
from hw.rtl.cells.factor_step import FactorStep
from hw.rtl.cells.halving import Halving
from hw.rtl.cells.total import Total
from hw.rtl.cells.union import Union
from hw.rtl.ultrascale.elements import Sum
from hw.rtl.ultrascale.tables import BitFunction, carry_chain, dual_table, place_tables

__all__ = [
    "UltrascaleAddition",
    "UltrascaleAdvance",
    "UltrascaleChoice",
    "UltrascaleComparison",
    "UltrascaleFactorStep",
    "UltrascaleHalving",
    "UltrascaleTotal",
    "UltrascaleUnion",
]

#: Terms that one table of an addition takes.
_TERMS = 5
#: Words that one table chooses from.
_TABLE_WAYS = 4
#: Numbers of words that a choice has explicit cells for.
_EXPLICIT_WAYS = (2, 4, 8, 16)


class UltrascaleAddition(Addition, replaces=Addition):
    """:class:`Addition`: the addend's bits go to the carry chain's own inputs."""

    @classmethod
    def fits(cls, *, count: int, **_: int) -> bool:
        return count <= _TERMS

    def build(self) -> Module:
        m = Module()
        select, carry = [], []
        for bit in range(self.width + 1):
            own, shared = min(bit, self.width - 1), min(bit, self.bits - 1)
            inputs = {"addend": self.addend[own]} | {
                f"term{i}": self.terms[i][shared] for i in range(self.count)
            }

            def parity(values):
                return values["addend"] ^ any(values[f"term{i}"] for i in range(self.count))

            select.append(Signal(name=f"select_{bit}"))
            carry.append(self.addend[own])
            place_tables(m, f"bit_{bit}", [BitFunction(select[-1], inputs, parity)])
        total, _ = carry_chain(m, Cat(*select), Cat(*carry))
        m.d.comb += self.total.eq(total)
        return m


class UltrascaleComparison(Comparison, replaces=Comparison):
    """:class:`Comparison`: one table for two bits."""

    def build(self) -> Module:
        m = Module()
        select, greater = [], []
        for low in range(0, self.bits, 2):
            high = min(low + 2, self.bits)
            bits = range(low, high)
            inputs = {f"{name}{i}": getattr(self, name)[i] for i in bits for name in "ab"}

            def number(values, name, bits=bits):
                # The sign bit counts negatively.
                return sum(
                    values[f"{name}{i}"] << i - bits[0] for i in bits if i != self.bits - 1
                ) - sum(values[f"{name}{i}"] << i - bits[0] for i in bits if i == self.bits - 1)

            def equal(values, number=number):
                return values["override"] | (number(values, "a") == number(values, "b"))

            def larger(values, number=number):
                return int(number(values, "a") > number(values, "b"))

            select.append(Signal(name=f"select_{low}"))
            greater.append(Signal(name=f"greater_{low}"))
            dual_table(
                m,
                f"bits_{low}",
                BitFunction(select[-1], inputs | {"override": self.override}, equal),
                BitFunction(greater[-1], inputs, larger),
            )
        _, carry = carry_chain(m, Cat(*select), Cat(*greater), self.value)
        m.d.comb += self.result.eq(carry)
        return m


class UltrascaleChoice(Choice, replaces=Choice):
    """:class:`Choice`: a table takes two bits of 2 words or one of 4; multiplexers join tables."""

    @classmethod
    def fits(cls, *, ways: int, **_: int) -> bool:
        return ways in _EXPLICIT_WAYS

    def build(self) -> Module:
        m = Module()
        if self.ways == 2:
            self._pairs(m)
        else:
            self._multiplexers(m)
        return m

    def _pairs(self, m: Module) -> None:
        functions = []
        for bit in range(self.width):
            inputs = {f"word{i}_{bit}": self.words[i][bit] for i in range(2)}

            def chosen(values, bit=bit):
                return values[f"word{values['select']}_{bit}"]

            functions.append(
                BitFunction(self.chosen[bit], inputs | {"select": self.select}, chosen)
            )
        for low in range(0, self.width, 2):
            place_tables(m, f"bits_{low}", functions[low : low + 2])

    def _multiplexers(self, m: Module) -> None:
        for bit in range(self.width):
            level = []
            for first in range(0, self.ways, _TABLE_WAYS):
                inputs = {f"word{i}": self.words[first + i][bit] for i in range(_TABLE_WAYS)} | {
                    f"select{i}": self.select[i] for i in range(2)
                }
                level.append(Signal(name=f"bit_{bit}_from_{first}"))
                function = BitFunction(
                    level[-1],
                    inputs,
                    lambda values: values[f"word{values['select0'] + 2 * values['select1']}"],
                )
                place_tables(m, f"bit_{bit}_{first}", [function])
            for stage, cell in enumerate(("MUXF7", "MUXF8")):
                if len(level) == 1:
                    break
                outputs = []
                for pair in range(0, len(level), 2):
                    outputs.append(Signal(name=f"bit_{bit}_stage_{stage}_{pair}"))
                    m.submodules[f"mux_{bit}_{stage}_{pair}"] = Instance(
                        cell,
                        i_I0=level[pair],
                        i_I1=level[pair + 1],
                        i_S=self.select[2 + stage],
                        o_O=outputs[-1],
                    )
                level = outputs
            m.d.comb += self.chosen[bit].eq(level[0])


class UltrascaleFactorStep(FactorStep, replaces=FactorStep):
    """:class:`FactorStep`: two bits in a table."""

    def build(self) -> Module:
        m = Module()
        functions = []
        for bit in range(self.width):
            code = min(bit, self.act_bits - 1)
            inputs = {"take": self.take, f"act{code}": self.act[code]}
            if code == self.act_bits - 1:
                inputs["offset"] = self.offset
            if bit >= self.shift:
                inputs[f"left{bit}"] = self.left[bit - self.shift]

            def value(values, bit=bit, code=code):
                if not values["take"]:
                    return values.get(f"left{bit}", 0)
                if code == bit < self.act_bits - 1:
                    return values[f"act{bit}"]
                if code == bit:
                    return values[f"act{bit}"] ^ values["offset"]
                return values[f"act{code}"] & ~values["offset"]

            functions.append(BitFunction(self.result[bit], inputs, value))
        place_tables(m, "bit", functions)
        return m


class UltrascaleHalving(Halving, replaces=Halving):
    """:class:`Halving`: one table for two neighbouring bits."""

    def build(self) -> Module:
        m = Module()
        for low in range(0, self.width, 2):
            functions = []
            for bit in range(low, min(low + 2, self.width)):
                inputs = {f"value{i}": self.value[i] for i in (bit, bit + 1)}

                def half(values, bit=bit):
                    return values[f"value{bit + values['halve']}"]

                functions.append(
                    BitFunction(self.result[bit], inputs | {"halve": self.halve}, half)
                )
            place_tables(m, f"bits_{low}", functions)
        return m


class UltrascaleAdvance(Advance, replaces=Advance):
    """:class:`Advance`: the value's bits go to the carry chain's own inputs."""

    def build(self) -> Module:
        m = Module()
        select = Signal(self.width)
        for bit in range(self.width):
            inputs = {
                "value": self.value[bit],
                "increment0": self.increments[0][bit],
                "increment1": self.increments[1][bit],
                "second": self.second,
            }

            def parity(values):
                return values["value"] ^ values[f"increment{values['second']}"]

            place_tables(m, f"bit_{bit}", [BitFunction(select[bit], inputs, parity)])
        total, _ = carry_chain(m, select, self.value)
        m.d.comb += self.total.eq(total)
        return m


class UltrascaleTotal(Total, replaces=Total):
    """:class:`Total`: the same cells as a sum of three in a processing element."""

    def build(self) -> Module:
        m = Module()
        m.submodules.sum = cell = Sum(terms=(unsigned(self.width),) * 3, width=self.width)
        m.d.comb += [getattr(cell, f"term_{i}").eq(self.terms[i]) for i in range(3)]
        m.d.comb += self.total.eq(cell.total)
        return m


class UltrascaleUnion(Union, replaces=Union):
    """:class:`Union`: one table for two parts."""

    def build(self) -> Module:
        m = Module()
        for bit in range(self.width):
            common = {f"common{i}": self.common[i][bit] for i in range(self.terms)}
            functions = []
            for part in range(self.count):

                def combined(values, part=part):
                    either = any(values[f"common{i}"] for i in range(self.terms))
                    return int(either or (values["enable"] and values[f"part{part}"]))

                inputs = common | {"enable": self.enable, f"part{part}": self.parts[part][bit]}
                functions.append(BitFunction(self.combined[part][bit], inputs, combined))
            place_tables(m, f"bit_{bit}", functions)
        return m
