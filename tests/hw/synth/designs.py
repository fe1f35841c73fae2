"""Small hierarchical designs whose area is known or easy to compare."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["LANES", "Element", "Elements", "Multiplier", "Storage", "Top"]

#: Lanes of one :class:`Element`.
LANES = 4


class Element(Component):
    """Selects 0, ±a or ±2a per lane, adds four lanes and accumulates: a processing element."""

    module_name = "element"

    def __init__(self):
        super().__init__({"act": In(LANES * 8), "weight": In(LANES * 3), "acc": Out(signed(20))})

    def build(self):
        m = Module()
        products = []
        for lane in range(LANES):
            act = self.act.word_select(lane, 8).as_signed()
            weight = self.weight.word_select(lane, 3)
            shifted = Array([0, act, act << 1, act << 2])[weight[:2]]
            product = Signal(signed(11), name=f"product{lane}")
            m.d.sync += product.eq(Mux(weight[2], ~shifted, shifted))
            products.append(product)
        m.d.sync += self.acc.eq(self.acc + sum(products))
        return m


class Elements(Component):
    """Four elements on the same activations: stands for the array."""

    module_name = "nbqnn_pe_array_test"

    def __init__(self):
        super().__init__(
            {"act": In(LANES * 8), "weight": In(4 * LANES * 3), "acc": Out(signed(22))}
        )

    def build(self):
        m = Module()
        elements = [Element() for _ in range(4)]
        for i, element in enumerate(elements):
            m.submodules[f"element{i}"] = element
            m.d.comb += [
                element.act.eq(self.act),
                element.weight.eq(self.weight.word_select(i, LANES * 3)),
            ]
        m.d.sync += self.acc.eq(sum(element.acc for element in elements))
        return m


class Multiplier(Component):
    """A registered 16-bit product: one DSP."""

    module_name = "multiplier"

    def __init__(self):
        super().__init__({"a": In(signed(16)), "b": In(signed(16)), "p": Out(signed(32))})

    def build(self):
        m = Module()
        m.d.sync += self.p.eq(self.a * self.b)
        return m


class Storage(Component):
    """1,024 words of 36 bits, read synchronously: exactly one 36-Kbit block memory."""

    module_name = "storage"

    def __init__(self):
        super().__init__({"address": In(10), "write": In(1), "i": In(36), "o": Out(36)})

    def build(self):
        m = Module()
        m.submodules.memory = memory = Memory(shape=36, depth=1024, init=[])
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.address),
            write.addr.eq(self.address),
            write.en.eq(self.write),
            write.data.eq(self.i),
            self.o.eq(read.data),
        ]
        return m


class Top(Component):
    """The array, two multipliers and a block memory."""

    module_name = "nbqnn"

    def __init__(self):
        super().__init__(
            {
                "act": In(LANES * 8),
                "weight": In(4 * LANES * 3),
                "address": In(10),
                "write": In(1),
                "acc": Out(signed(22)),
                "o": Out(36),
                "p": Out(signed(32)),
                "q": Out(signed(32)),
            }
        )

    def build(self):
        m = Module()
        array, storage = Elements(), Storage()
        multipliers = [Multiplier(), Multiplier()]
        m.submodules.array = array
        m.submodules.storage = storage
        m.submodules.multiplier_p = multipliers[0]
        m.submodules.multiplier_q = multipliers[1]
        m.d.comb += [
            array.act.eq(self.act),
            array.weight.eq(self.weight),
            self.acc.eq(array.acc),
            storage.address.eq(self.address),
            storage.write.eq(self.write),
            storage.i.eq(array.acc),
            self.o.eq(storage.o),
            multipliers[0].a.eq(storage.o[:16]),
            multipliers[0].b.eq(storage.o[16:32]),
            multipliers[1].a.eq(array.acc[:16]),
            multipliers[1].b.eq(storage.o[20:]),
            self.p.eq(multipliers[0].p),
            self.q.eq(multipliers[1].p),
        ]
        return m
