"""Top modules for the benches, with the flat AXI port names that the models look for."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.register_map import Access, Field, Register, RegisterArray, RegisterMap
from hw.rtl.axi.arbiter import ReadArbiter
from hw.rtl.axi.bursts import request_layout
from hw.rtl.axi.bus import (
    AxiLiteSignature,
    AxiReadSignature,
    AxiWriteSignature,
    flat_members,
    flat_view,
)
from hw.rtl.axi.read_dma import AxiReader, read_data_layout
from hw.rtl.axi.register_file import AxiLiteRegisters
from hw.rtl.axi.write_dma import AxiWriter
from hw.rtl.component import Component

ADDRESS_WIDTH = 32
LENGTH_WIDTH = 16


class Dma(Component):
    """A reader and a writer on one AXI4 port, their streams and events as ports."""

    module_name = ""

    def __init__(self, data_width: int, burst_beats: int, outstanding: int):
        self.data_width = data_width
        self.burst_beats = burst_beats
        self.outstanding = outstanding
        self.read_member = Out(AxiReadSignature(ADDRESS_WIDTH, data_width))
        self.write_member = Out(AxiWriteSignature(ADDRESS_WIDTH, data_width))
        self.module_name = f"dma_bench_d{data_width}_b{burst_beats}_o{outstanding}"
        request = stream.Signature(request_layout(ADDRESS_WIDTH, LENGTH_WIDTH))
        events = {
            f"{side}_{event}": Out(width)
            for side in ("read", "write")
            for event, width in (("error", 1), ("error_response", 2), ("busy", 1))
        }
        super().__init__({
            **flat_members("m_axi", self.read_member),
            **flat_members("m_axi", self.write_member),
            "read_request": In(request),
            "read_data": Out(stream.Signature(read_data_layout(data_width))),
            "write_request": In(request),
            "write_data": In(stream.Signature(data_width)),
            "write_done": Out(1),
            "cancel": In(1),
            **events,
        })  # fmt: skip

    def build(self):
        m = Module()
        options = {
            "address_width": ADDRESS_WIDTH,
            "data_width": self.data_width,
            "outstanding": self.outstanding,
            "length_width": LENGTH_WIDTH,
            "burst_beats": self.burst_beats,
        }
        m.submodules.reader = reader = AxiReader(**options)
        m.submodules.writer = writer = AxiWriter(**options)
        wiring.connect(m, reader.axi, flat_view(self, "m_axi", self.read_member))
        wiring.connect(m, writer.axi, flat_view(self, "m_axi", self.write_member))
        wiring.connect(m, reader.request, wiring.flipped(self.read_request))
        wiring.connect(m, reader.data, wiring.flipped(self.read_data))
        wiring.connect(m, writer.request, wiring.flipped(self.write_request))
        wiring.connect(m, writer.data, wiring.flipped(self.write_data))
        m.d.comb += self.write_done.eq(writer.done)
        for side, part in (("read", reader), ("write", writer)):
            m.d.comb += part.cancel.eq(self.cancel)
            for event in ("error", "error_response", "busy"):
                m.d.comb += getattr(self, f"{side}_{event}").eq(getattr(part, event))
        return m


class SharedReader(Component):
    """Three requesters on one reader."""

    requesters = 3
    data_width = 64
    module_name = "shared_reader_bench"

    def __init__(self):
        self.read_member = Out(AxiReadSignature(ADDRESS_WIDTH, self.data_width))
        request = stream.Signature(request_layout(ADDRESS_WIDTH, LENGTH_WIDTH))
        beat = stream.Signature(read_data_layout(self.data_width))
        members = flat_members("m_axi", self.read_member)
        for index in range(self.requesters):
            members |= {f"request_{index}": In(request), f"data_{index}": Out(beat)}
        super().__init__({**members, "cancel": In(1), "busy": Out(1)})

    def build(self):
        m = Module()
        widths = {
            "address_width": ADDRESS_WIDTH,
            "data_width": self.data_width,
            "length_width": LENGTH_WIDTH,
        }
        reader = AxiReader(outstanding=4, burst_beats=16, **widths)
        arbiter = ReadArbiter(requesters=self.requesters, **widths)
        m.submodules.reader = reader
        m.submodules.arbiter = arbiter
        wiring.connect(m, reader.axi, flat_view(self, "m_axi", self.read_member))
        wiring.connect(m, arbiter.request, reader.request)
        wiring.connect(m, reader.data, arbiter.reader_data)
        for index in range(self.requesters):
            request, data = getattr(self, f"request_{index}"), getattr(self, f"data_{index}")
            wiring.connect(m, wiring.flipped(request), arbiter.requests[index])
            wiring.connect(m, arbiter.data[index], wiring.flipped(data))
        m.d.comb += [
            reader.cancel.eq(self.cancel),
            arbiter.cancel.eq(self.cancel),
            self.busy.eq(reader.busy),
        ]
        return m


REGISTER_MAP = RegisterMap(
    (
        Register(name="identity", offset=0x00, access=Access.RO, doc="What this is."),
        Register(
            name="control",
            offset=0x04,
            access=Access.PULSE,
            width=12,
            doc="Commands.",
            fields=(
                Field(name="start", offset=0, doc="Begin."),
                Field(name="mode", offset=8, width=4, doc="How."),
            ),
        ),
        Register(name="status", offset=0x08, access=Access.W1C, width=10, reset=0x201),
        Register(name="base", offset=0x0C, access=Access.RW, reset=0x1234_5678, doc="Where."),
        Register(name="mask", offset=0x14, access=Access.RW, width=9),
    ),
    (RegisterArray(name="stamps", offset=0x40, words=12, doc="When."),),
)


class RegisterBench(Component):
    """The registers behind flat ports; the window shows three times its address plus 7."""

    module_name = "registers_bench"
    address_width = 8

    def __init__(self):
        self.registers = AxiLiteRegisters(REGISTER_MAP, self.address_width, name="bench")
        self.axi_member = In(AxiLiteSignature(self.address_width))
        members = flat_members("s_axi", self.axi_member)
        self.passed = [
            name
            for name in self.registers.signature.members
            if name != "axi" and not name.startswith("stamps")
        ]
        members |= {name: self.registers.signature.members[name] for name in self.passed}
        super().__init__(members)

    def build(self):
        m = Module()
        registers = self.registers
        m.submodules.registers = registers
        wiring.connect(m, flat_view(self, "s_axi", self.axi_member), registers.axi)
        for name in self.passed:
            mine, its = getattr(self, name), getattr(registers, name)
            flow = registers.signature.members[name].flow
            m.d.comb += its.eq(mine) if flow is In else mine.eq(its)
        m.d.sync += registers.stamps_data.eq(registers.stamps_address * 3 + 7)
        return m
