"""A table behind a lane's requantizers: any function of one activation."""

from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.words import table_shape, table_word_bits
from hw.rtl.cells.choice import Choice
from hw.rtl.component import Component
from hw.rtl.memory.ports import WideWriteSignature

__all__ = ["Table"]


class Table(Component):
    """A code for every code, of several positions at once, or the codes as they are.

    Latency one cycle, one code of each position per cycle. Every position has a copy of the table,
    so that none waits: half a block memory where look-up tables would be many, that is, where a
    word has several codes. A memory takes a code in the cycle before. A word that is written counts
    from the third cycle after.

    Parameters
    ----------
    positions : int

    Members
    -------
    write : ``In(WideWriteSignature(...))``, of words as from :func:`hw.contract.words.pack_table`
    use : ``In(1)``, codes pass through the table
    code : ``In(data.ArrayLayout(signed(act_bits), positions))``
    next_code : ``In(...)`` likewise, what ``code`` is in the next cycle
    result : ``Out(...)`` likewise, registered
    """

    config_fields = ("act_bits",)

    def __init__(self, config: AcceleratorConfig, *, positions: int):
        self.config = config
        self.positions = positions
        codes = data.ArrayLayout(signed(config.act_bits), positions)
        super().__init__({
            "write": In(WideWriteSignature(table_word_bits(config))),
            "use": In(1),
            "code": In(codes),
            "next_code": In(codes),
            "result": Out(codes),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        shape, bits = table_shape(self.config), self.config.act_bits
        row_bits = (shape.words - 1).bit_length()
        # Near the memories, of which there are many on the chip.
        enable = Signal()
        row = Signal(row_bits)
        word = Signal(shape.codes * bits)
        m.d.sync += enable.eq(self.write.enable)
        m.d.data += [row.eq(self.write.address), word.eq(self.write.data)]
        attributes = {"ram_style": "block"} if shape.codes > 1 else {}
        for position in range(self.positions):
            memory = Memory(shape=bits, depth=1 << bits, init=[], attrs=attributes)
            m.submodules[f"memory_{position}"] = memory
            # The codes of a word are neighbours there: a port that writes wider than it reads.
            for number in range(shape.codes):
                write = memory.write_port()
                m.d.comb += [
                    write.addr.eq(Cat(Const(number, bits - row_bits), row)),
                    write.data.eq(word[number * bits :][:bits]),
                    write.en.eq(enable),
                ]
            read = memory.read_port()
            following = self.next_code[position]
            m.d.comb += [
                read.addr.eq(Cat(following[row_bits:], following[:row_bits])),
                read.en.eq(1),
            ]
            m.submodules[f"result_{position}"] = choice = Choice(ways=2, width=bits)
            m.d.comb += [
                choice.words[0].eq(self.code[position]),
                choice.words[1].eq(read.data),
                choice.select.eq(self.use),
            ]
            m.d.data += self.result[position].eq(choice.chosen)
        return m
