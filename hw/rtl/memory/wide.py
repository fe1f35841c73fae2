"""The memory of weights, and that of params: transfers write it, the array or drain reads it."""

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from hw.rtl.component import Component
from hw.rtl.memory.ports import WideReadSignature, WideWriteSignature

__all__ = ["WideMemory"]


class WideMemory(Component):
    """One write and one read per cycle; reads take two cycles (the block RAM's output register).

    Members
    -------
    write : ``In(WideWriteSignature(width))``
    read : ``In(WideReadSignature(width))``
    """

    #: Cycles from an address to its data.
    latency = 2

    def __init__(self, *, width: int, depth: int):
        self.width = width
        self.depth = depth
        super().__init__({
            "write": In(WideWriteSignature(width)),
            "read": In(WideReadSignature(width)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            write.en.eq(self.write.enable),
            read.addr.eq(self.read.address),
            read.en.eq(1),
        ]
        m.d.data += self.read.data.eq(read.data)
        return m
