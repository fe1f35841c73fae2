"""The top: the core behind an AXI4-Lite slave and an AXI4 master, with an interrupt."""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.axi.arbiter import ReadArbiter
from hw.axi.bus import (
    AxiLiteSignature,
    AxiReadSignature,
    AxiWriteSignature,
    flat_members,
    flat_view,
)
from hw.axi.read_dma import AxiReader
from hw.axi.registers import AxiLiteRegisters
from hw.axi.write_dma import AxiWriter
from hw.config import AcceleratorConfig
from hw.control.fetch import CommandFault
from hw.control.transfer import LENGTH_BITS
from hw.core import Core
from hw.isa import Region
from hw.registers import IDENTITY, LAYERS, REGISTERS, VERSION, ErrorCause
from hw.verilog import submodule

__all__ = ["TOP", "Accelerator"]

TOP = "nbqnn"
_CONTROL_ADDRESS_BITS = 12
_OUTSTANDING = 8


class Accelerator(wiring.Component):
    """Everything between the host's buses.

    Ports: ``s_axi_*`` (AXI4-Lite, 32 bits), ``m_axi_*`` (AXI4), ``irq`` (level, active high).
    Bus outputs are registered. A run starts with ``control.start`` and ends with ``status.done`` or
    ``status.error``. After an error, and on ``control.reset``, the core is reset while reader and
    writer bring open AXI transfers to their end; then the accelerator is idle again.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        width, data_width = config.axi_address_width, config.axi_data_width
        self._control = In(AxiLiteSignature(_CONTROL_ADDRESS_BITS))
        self._read = Out(AxiReadSignature(width, data_width))
        self._write = Out(AxiWriteSignature(width, data_width))
        super().__init__(
            flat_members("s_axi", self._control)
            | flat_members("m_axi", self._write)
            | flat_members("m_axi", self._read)
            | {"irq": Out(1)}
        )

    @property
    def module_name(self) -> str:
        return TOP

    def elaborate(self, platform):
        m = Module()
        c = self.config
        width, data_width = c.axi_address_width, c.axi_data_width
        registers = AxiLiteRegisters(REGISTERS, _CONTROL_ADDRESS_BITS)
        transfer = {
            "address_width": width,
            "data_width": data_width,
            "length_width": LENGTH_BITS,
        }
        reader = AxiReader(**transfer, outstanding=_OUTSTANDING)
        writer = AxiWriter(**transfer, outstanding=_OUTSTANDING)
        arbiter = ReadArbiter(**transfer, requesters=2)
        core = Core(c)

        # The core has a reset of its own; buses and registers outlive it.
        abort = Signal()
        m.domains.core = ClockDomain(local=True)
        m.d.comb += [
            ClockSignal("core").eq(ClockSignal()),
            ResetSignal("core").eq(ResetSignal() | abort),
        ]
        m.submodules.core = DomainRenamer("core")(submodule(platform, core))
        for name, component in (
            ("registers", registers),
            ("reader", reader),
            ("writer", writer),
            ("arbiter", arbiter),
        ):
            m.submodules[name] = submodule(platform, component)

        wiring.connect(m, flat_view(self, "s_axi", self._control), registers.axi)
        wiring.connect(m, reader.axi, flat_view(self, "m_axi", self._read))
        wiring.connect(m, writer.axi, flat_view(self, "m_axi", self._write))
        wiring.connect(m, arbiter.request, reader.request)
        wiring.connect(m, reader.data, arbiter.reader_data)
        for index, (request, beats) in enumerate(
            ((core.fetch_request, core.fetch_data), (core.load_request, core.load_data))
        ):
            wiring.connect(m, request, arbiter.requests[index])
            wiring.connect(m, arbiter.data[index], beats)
        wiring.connect(m, core.store_request, writer.request)
        wiring.connect(m, core.store_data, writer.data)
        m.d.comb += [
            core.store_done.eq(writer.done),
            core.length.eq(registers.program_length),
            core.bases.eq(
                Cat(
                    Cat(
                        getattr(registers, f"{region.name.lower()}_base_low"),
                        getattr(registers, f"{region.name.lower()}_base_high"),
                    )[:width]
                    for region in Region
                )
            ),
            reader.cancel.eq(abort),
            writer.cancel.eq(abort),
            arbiter.cancel.eq(abort),
        ]

        # State: idle, running, or aborting until the buses are quiet.
        running, done, error = Signal(), Signal(), Signal()
        cause = Signal(ErrorCause)
        index = Signal(16)
        start, reset = Signal(), Signal()
        failure = Signal(ErrorCause)
        m.d.comb += [
            start.eq(registers.control_strobe & registers.control_data[0] & ~running & ~abort),
            reset.eq(registers.control_strobe & registers.control_data[1]),
            core.start.eq(start),
            registers.status.eq(Cat(running | abort, done, error)),
            registers.error_cause.eq(cause),
            registers.error_index.eq(index),
        ]
        with m.If(running):
            with m.If(reader.error):
                m.d.comb += failure.eq(ErrorCause.READ)
            with m.Elif(writer.error):
                m.d.comb += failure.eq(ErrorCause.WRITE)
            with m.Elif(core.fault != CommandFault.NONE):
                m.d.comb += failure.eq(core.fault)
        with m.If(registers.control_strobe & registers.control_data[0] & running):
            m.d.sync += [cause.eq(ErrorCause.BUSY), index.eq(core.index)]
            m.d.comb += registers.irq_status_set[1].eq(1)
        with m.If(running & core.done):
            m.d.sync += [running.eq(0), done.eq(1)]
            m.d.comb += registers.irq_status_set[0].eq(1)
        with m.If(failure != ErrorCause.NONE):
            m.d.sync += [
                running.eq(0),
                abort.eq(1),
                error.eq(1),
                cause.eq(failure),
                index.eq(core.index),
            ]
            m.d.comb += registers.irq_status_set[1].eq(1)
        # One cycle later than the cancellation reached them.
        quiet = Signal()
        m.d.sync += quiet.eq(abort & ~reader.busy & ~writer.busy)
        with m.If(abort & quiet):
            m.d.sync += [abort.eq(0), quiet.eq(0)]
        with m.If(start):
            m.d.sync += [running.eq(1), done.eq(0), error.eq(0), cause.eq(ErrorCause.NONE)]
        with m.If(reset):
            m.d.sync += [
                running.eq(0),
                done.eq(0),
                error.eq(0),
                cause.eq(ErrorCause.NONE),
                abort.eq(1),
            ]
        m.d.sync += self.irq.eq((registers.irq_status & registers.irq_enable).any())

        # What the accelerator is, and how it spends its time.
        m.d.comb += [
            registers.identity.eq(IDENTITY),
            registers.version.eq(VERSION),
            registers.digest.eq(c.digest),
            registers.array_shape.eq(
                c.lanes | c.filters << 10 | c.pixels << 20 | int(c.pe == "multiply") << 26
            ),
        ]
        for name, event in (
            ("cycles", 1),
            ("array_cycles", core.stepping),
            ("compute_cycles", core.compute_busy),
            ("load_cycles", core.load_busy),
            ("store_cycles", core.store_busy),
        ):
            counter = Signal(32, name=f"{name}_counter")
            m.d.comb += getattr(registers, name).eq(counter)
            with m.If(start):
                m.d.sync += counter.eq(0)
            with m.Elif(running):
                m.d.sync += counter.eq(counter + event)
            if name == "cycles":
                cycles = counter

        m.submodules.layer_cycles = stamps = Memory(shape=32, depth=LAYERS, init=[])
        write, read = stamps.write_port(), stamps.read_port()
        m.d.comb += [
            write.addr.eq(core.layer),
            write.data.eq(cycles),
            write.en.eq(core.layer_done),
            read.addr.eq(registers.layer_cycles_address),
            registers.layer_cycles_data.eq(read.data),
        ]
        return m
