"""A memory written by transfers and read by the array: weights and requantizer parameters."""

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component

__all__ = ["WideMemory"]


class WideMemory(Component):
    """One write and one read per cycle; reads take two cycles (the block RAM's output register).

    Members
    -------
    write_address, write_data, write_enable : ``In``
    read_address : ``In(range(depth))``
    read_data : ``Out(width)``, two cycles after its address
    """

    #: From address to data.
    latency = 2

    def __init__(self, *, width: int, depth: int):
        self.width = width
        self.depth = depth
        super().__init__({
            "write_address": In(range(depth)),
            "write_data": In(width),
            "write_enable": In(1),
            "read_address": In(range(depth)),
            "read_data": Out(width),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.read_address),
            read.en.eq(1),
        ]
        m.d.data += self.read_data.eq(read.data)
        return m
