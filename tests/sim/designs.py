"""A small accelerator for the tests of the simulator: copies memory, and says when it is done."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract.register_map import Access, Register, RegisterMap
from hw.rtl.axi.bus import (
    AxiLiteSignature,
    AxiReadSignature,
    AxiWriteSignature,
    flat_members,
    flat_view,
)
from hw.rtl.axi.read_dma import AxiReader
from hw.rtl.axi.register_file import AxiLiteRegisters
from hw.rtl.axi.write_dma import AxiWriter
from hw.rtl.component import Component

#: Deliberate breaches of the protocol, by bits of the register ``fault``.
FAULTS = (
    "unstable",  # a write's address changes while it waits
    "withdrawn",  # data is withdrawn while it waits
    "wlast",  # a burst does not end
    "page",  # reads begin half a page further, less a beat
    "size",  # reads ask for beats of one byte
    "unaligned",  # writes begin at an odd address
    "fixed",  # reads do not increment the address
    "deaf",  # writes of registers are not answered
    # Not breaches for every memory: the one waits for what the other side need not do first.
    "after_address",  # data is offered only when no address waits
    "before_address",  # an address is offered only when some data was taken
)
COPIER_MAP = RegisterMap(
    (
        Register(name="identity", offset=0x00, access=Access.RO),
        Register(name="start", offset=0x04, access=Access.PULSE, width=1),
        # done, read error, write error
        Register(name="status", offset=0x08, access=Access.W1C, width=3),
        Register(name="source", offset=0x0C, access=Access.RW),
        Register(name="target", offset=0x10, access=Access.RW),
        Register(name="beats", offset=0x14, access=Access.RW, width=20),
        Register(name="cycles", offset=0x18, access=Access.RO),
        Register(name="fault", offset=0x1C, access=Access.RW, width=len(FAULTS)),
    )
)
IDENTITY = 0xC091_E5


class Copier(Component):
    """Copies ``beats`` beats from ``source`` to ``target`` at each start; ``status`` is the irq.

    Parameters
    ----------
    data_width : int
    """

    module_name = ""

    def __init__(self, data_width: int):
        self.data_width = data_width
        self.module_name = f"copier_d{data_width}"
        self.control_member = In(AxiLiteSignature(8))
        self.read_member = Out(AxiReadSignature(32, data_width))
        self.write_member = Out(AxiWriteSignature(32, data_width))
        super().__init__({
            **flat_members("s_axi", self.control_member),
            **flat_members("m_axi", self.read_member),
            **flat_members("m_axi", self.write_member),
            "irq": Out(1),
        })  # fmt: skip

    def build(self):
        m = Module()
        options = {
            "address_width": 32,
            "data_width": self.data_width,
            "outstanding": 8,
            "length_width": 20,
            "burst_beats": 16,
        }
        registers = AxiLiteRegisters(COPIER_MAP, 8, name="copier")
        m.submodules.registers = registers
        m.submodules.reader = reader = AxiReader(**options)
        m.submodules.writer = writer = AxiWriter(**options)
        wiring.connect(m, flat_view(self, "s_axi", self.control_member), registers.axi)
        wiring.connect(m, reader.axi, flat_view(self, "m_axi", self.read_member))
        wiring.connect(m, writer.axi, flat_view(self, "m_axi", self.write_member))
        pending_read = Signal()
        pending_write = Signal()
        cycles = Signal(32)
        m.d.comb += [
            registers.identity.eq(IDENTITY),
            registers.cycles.eq(cycles),
            reader.request.p.address.eq(registers.source),
            reader.request.p.beats.eq(registers.beats),
            reader.request.valid.eq(pending_read),
            writer.request.p.address.eq(registers.target),
            writer.request.p.beats.eq(registers.beats),
            writer.request.valid.eq(pending_write),
            writer.data.payload.eq(reader.data.p.data),
            writer.data.valid.eq(reader.data.valid),
            reader.data.ready.eq(writer.data.ready),
            registers.status_set.eq(Cat(writer.done, reader.error, writer.error)),
            self.irq.eq(registers.status[0]),
        ]
        with m.If(reader.request.ready):
            m.d.sync += pending_read.eq(0)
        with m.If(writer.request.ready):
            m.d.sync += pending_write.eq(0)
        with m.If(registers.start_strobe):
            m.d.sync += [pending_read.eq(1), pending_write.eq(1), cycles.eq(0)]
        with m.If(reader.busy | writer.busy):
            m.d.sync += cycles.eq(cycles + 1)
        half_page = 2048 - self.data_width // 8
        breaches = {
            "unstable": self.m_axi_awaddr.eq(writer.axi.awaddr ^ (cycles[0] << 4)),
            "withdrawn": self.m_axi_wvalid.eq(writer.axi.wvalid & cycles[0]),
            "wlast": self.m_axi_wlast.eq(0),
            "page": self.m_axi_araddr.eq(reader.axi.araddr + half_page),
            "size": self.m_axi_arsize.eq(0),
            "unaligned": self.m_axi_awaddr.eq(writer.axi.awaddr + 1),
            "fixed": self.m_axi_arburst.eq(0),
            "deaf": self.s_axi_bvalid.eq(0),
        }
        taken = Signal()
        with m.If(self.m_axi_wvalid & self.m_axi_wready):
            m.d.sync += taken.eq(1)
        with m.If(registers.start_strobe):
            m.d.sync += taken.eq(0)
        waiting = writer.axi.awvalid
        breaches["after_address"] = [
            self.m_axi_wvalid.eq(writer.axi.wvalid & ~waiting),
            writer.axi.wready.eq(self.m_axi_wready & ~waiting),
        ]
        breaches["before_address"] = [
            self.m_axi_awvalid.eq(waiting & taken),
            writer.axi.awready.eq(self.m_axi_awready & taken),
        ]
        for index, name in enumerate(FAULTS):
            with m.If(registers.fault[index]):
                m.d.comb += breaches[name]
        return m
