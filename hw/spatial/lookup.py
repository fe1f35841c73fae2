"""Functions of one code: a table as logic."""

import hashlib

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.flow import flow

__all__ = ["Lookup", "LookupWord"]


def _name(component: "LookupWord | Lookup") -> str:
    content = ",".join(map(str, component.table)).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"nbqnn_lookup_{component.bits}_{component.out_bits}_{digest}"


class LookupWord(Component):
    """``o = table[i]``, from a register: latency one cycle.

    Parameters
    ----------
    table : the result for each value of ``i``, read as unsigned, from 0 upwards.
    bits, out_bits : bits of ``i`` and of ``o``.

    Members
    -------
    i : ``In(bits)``; o : ``Out(out_bits)``
    """

    def __init__(self, table: tuple[int, ...], bits: int, out_bits: int):
        self.table = table
        self.bits = bits
        self.out_bits = out_bits
        super().__init__({"i": In(bits), "o": Out(out_bits)})

    @property
    def module_name(self) -> str:
        return _name(self)

    def build(self) -> Module:
        m = Module()
        mask = (1 << self.out_bits) - 1
        with m.Switch(self.i):
            for code, result in enumerate(self.table):
                with m.Case(code):
                    m.d.sync += self.o.eq(result & mask)
        return m


class Lookup(Component):
    """:class:`LookupWord` for each channel of a flow. Latency one cycle.

    Members
    -------
    i : a :func:`flow` of ``words * bits``; o : a :func:`flow` of ``words * out_bits``
    """

    latency = 1

    def __init__(self, table: tuple[int, ...], words: int, bits: int, out_bits: int):
        self.table = table
        self.words = words
        self.bits = bits
        self.out_bits = out_bits
        super().__init__({"i": In(flow(words * bits)), "o": Out(flow(words * out_bits))})

    @property
    def module_name(self) -> str:
        return f"{_name(self)}_words{self.words}"

    def build(self) -> Module:
        m = Module()
        results = []
        for number in range(self.words):
            word = LookupWord(self.table, self.bits, self.out_bits)
            m.submodules[f"word_{number}"] = word
            m.d.comb += word.i.eq(self.i.payload.data.word_select(number, self.bits))
            results.append(word.o)
        first = Signal(reset_less=True)
        m.d.sync += [self.o.valid.eq(self.i.valid), first.eq(self.i.payload.first)]
        m.d.comb += [self.o.payload.first.eq(first), self.o.payload.data.eq(Cat(results))]
        return m
