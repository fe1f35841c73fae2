"""A table behind a lane's requantizers: any function of one activation."""

from amaranth.hdl import Module, Signal, Value, signed
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
    so that none waits. A word that is written counts from the third cycle after.

    Parameters
    ----------
    positions : int

    Members
    -------
    write : ``In(WideWriteSignature(...))``, of words as from :func:`hw.contract.words.pack_table`
    use : ``In(1)``, codes pass through the table
    code : ``In(data.ArrayLayout(signed(act_bits), positions))``
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
        for position in range(self.positions):
            code = self.code[position]
            memory = Memory(shape=len(word), depth=shape.words, init=[])
            m.submodules[f"memory_{position}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(row),
                write.data.eq(word),
                write.en.eq(enable),
                read.addr.eq(code[:row_bits]),
            ]
            codes = [read.data[i * bits :][:bits] for i in range(shape.codes)]
            found = self._chosen(m, f"choice_{position}", codes, code[row_bits:])
            result = self._chosen(m, f"result_{position}", [code, found], self.use)
            m.d.data += self.result[position].eq(result)
        return m

    def _chosen(self, m: Module, name: str, words: list[Value], select: Value) -> Value:
        if len(words) == 1:
            return words[0]
        choice = Choice(ways=len(words), width=self.config.act_bits)
        m.submodules[name] = choice
        m.d.comb += [
            *(way.eq(word) for way, word in zip(choice.words, words, strict=True)),
            choice.select.eq(select),
        ]
        return choice.chosen
