"""The top: the core behind an AXI4-Lite slave and an AXI4 master, with an interrupt."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    DomainRenamer,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.causes import CommandFault, ErrorCause, Stall
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Region
from hw.contract.registers import IDENTITY, LAYERS, REGISTERS, VERSION
from hw.contract.timing import OUTSTANDING_BURSTS
from hw.rtl.axi.arbiter import ReadArbiter
from hw.rtl.axi.bursts import page_bits
from hw.rtl.axi.bus import (
    AxiLiteSignature,
    AxiReadSignature,
    AxiWriteSignature,
    flat_members,
    flat_view,
)
from hw.rtl.axi.register_file import AxiLiteRegisters
from hw.rtl.axi.stripes import StripedReader, StripedWriter
from hw.rtl.component import Component
from hw.rtl.control.transfer import LENGTH_BITS
from hw.rtl.core import Core

__all__ = ["TOP", "Accelerator", "data_ports"]

#: Name of the top module.
TOP = "nbqnn"
_CONTROL_ADDRESS_BITS = 12


def data_ports(config: AcceleratorConfig) -> tuple[str, ...]:
    """The prefixes of the AXI4 ports' signals, in the order of their stripes."""
    if config.axi_ports == 1:
        return ("m_axi",)
    return tuple(f"m_axi{index}" for index in range(config.axi_ports))


class Accelerator(Component):
    """Everything between the host's buses.

    Ports: ``s_axi_*`` (AXI4-Lite, 32 bits), ``m_axi_*`` (AXI4; with several, ``m_axi0_*`` and so
    on), ``irq`` (level, active high).
    Bus outputs are registered. A run starts with ``control.start`` and ends with ``status.done`` or
    ``status.error``. After an error, and on ``control.reset``, the core is reset while reader and
    writer bring open AXI transfers to their end; then the accelerator is idle again.
    """

    module_name = TOP

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        width, data_width = config.axi_address_width, config.axi_data_width
        self._control = In(AxiLiteSignature(_CONTROL_ADDRESS_BITS))
        self._read = Out(AxiReadSignature(width, data_width))
        self._write = Out(AxiWriteSignature(width, data_width))
        super().__init__(
            flat_members("s_axi", self._control)
            | {
                name: member
                for prefix in data_ports(config)
                for side in (self._write, self._read)
                for name, member in flat_members(prefix, side).items()
            }
            | {"irq": Out(1)}
        )

    def build(self) -> Module:
        m = Module()
        c = self.config
        width, data_width = c.axi_address_width, c.axi_data_width
        registers = AxiLiteRegisters(REGISTERS, _CONTROL_ADDRESS_BITS)
        transfer = {"address_width": width, "length_width": LENGTH_BITS}
        ports = {"ports": c.axi_ports, "data_width": data_width, "outstanding": OUTSTANDING_BURSTS}
        reader = StripedReader(**transfer, **ports)
        writer = StripedWriter(**transfer, **ports)
        arbiter = ReadArbiter(**transfer, data_width=c.axi_beat_bits, requesters=2)
        core = Core(c)

        # The core has a reset of its own; buses and registers outlive it.
        abort = Signal()
        m.domains.core = ClockDomain(local=True)
        m.d.comb += [
            ClockSignal("core").eq(ClockSignal()),
            ResetSignal("core").eq(ResetSignal() | abort),
        ]
        m.submodules.core = DomainRenamer("core")(core)
        for name, component in (
            ("registers", registers),
            ("reader", reader),
            ("writer", writer),
            ("arbiter", arbiter),
        ):
            m.submodules[name] = component

        wiring.connect(m, flat_view(self, "s_axi", self._control), registers.axi)
        for port, prefix in enumerate(data_ports(c)):
            wiring.connect(m, reader.axi[port], flat_view(self, prefix, self._read))
            wiring.connect(m, writer.axi[port], flat_view(self, prefix, self._write))
        wiring.connect(m, arbiter.request, reader.request)
        wiring.connect(m, reader.data, arbiter.reader_data)
        for index, (request, beats) in enumerate(
            ((core.fetch_request, core.fetch_data), (core.load_request, core.load_data))
        ):
            wiring.connect(m, request, arbiter.requests[index])
            wiring.connect(m, arbiter.data[index], beats)
        wiring.connect(m, core.store_request, writer.request)
        wiring.connect(m, core.store_data, writer.data)

        def address(name: str) -> Value:
            low, high = (getattr(registers, f"{name}_{half}") for half in ("low", "high"))
            return Cat(low, high)[:width]

        def page(name: str) -> Value:
            return address(name)[width - page_bits(width) :]

        m.d.comb += [
            core.store_done.eq(writer.done),
            core.length.eq(registers.program_length),
            core.bases.eq(Cat(address(f"{region.name.lower()}_base") for region in Region)),
            reader.cancel.eq(abort),
            writer.cancel.eq(abort),
            arbiter.cancel.eq(abort),
        ]
        for side in (reader, writer):
            m.d.comb += [
                side.stripe.eq(page("stripe")),
                side.window_first.eq(page("window_first")),
                side.window_last.eq(page("window_last")),
            ]

        # State: idle, running, or aborting until the buses are quiet. A run that reaches its end is
        # ended in the same way: commands may have asked for data that nobody took.
        running, done, error = Signal(), Signal(), Signal()
        ending = Signal()
        cause = Signal(ErrorCause)
        index = Signal(16)
        failure_address, error_address = Signal(width), Signal(width)
        start, reset = Signal(), Signal()
        failure = Signal(ErrorCause)
        m.d.comb += [
            start.eq(registers.control_strobe & registers.control_data.start & ~running & ~abort),
            reset.eq(registers.control_strobe & registers.control_data.reset),
            core.start.eq(start),
            registers.status.busy.eq(running | abort),
            registers.status.done.eq(done),
            registers.status.error.eq(error),
            registers.error_cause.eq(cause),
            registers.error_index.eq(index),
            registers.error_address_low.eq(error_address[:32]),
            registers.error_address_high.eq(error_address[32:]),
        ]
        # A start takes effect later than a length that was written right before it.
        no_program = Signal()
        m.d.sync += no_program.eq(registers.program_length == 0)
        with m.If(running):
            with m.If(reader.error):
                m.d.comb += [
                    failure.eq(ErrorCause.READ),
                    failure_address.eq(reader.error_address),
                ]
            with m.Elif(writer.error):
                m.d.comb += [
                    failure.eq(ErrorCause.WRITE),
                    failure_address.eq(writer.error_address),
                ]
            with m.Elif(reader.outside | writer.outside):
                m.d.comb += [
                    failure.eq(ErrorCause.WINDOW),
                    failure_address.eq(
                        Mux(reader.outside, reader.outside_address, writer.outside_address)
                    ),
                ]
            with m.Elif(core.fault != CommandFault.NONE):
                m.d.comb += failure.eq(core.fault)
            # Nothing would be fetched, and nothing end.
            with m.Elif(no_program):
                m.d.comb += failure.eq(ErrorCause.LENGTH)
        with m.If(registers.control_strobe & registers.control_data.start & (running | abort)):
            m.d.comb += registers.irq_status_set.error.eq(1)
            # What made the accelerator abort says more.
            with m.If(running | (cause == ErrorCause.NONE)):
                m.d.sync += [cause.eq(ErrorCause.BUSY), index.eq(core.index)]
        # One cycle later than the cancellation reached them.
        quiet = Signal()
        m.d.sync += quiet.eq(abort & ~reader.busy & ~writer.busy)
        with m.If(abort & quiet):
            m.d.sync += [abort.eq(0), quiet.eq(0), ending.eq(0)]
            with m.If(ending):
                m.d.sync += [running.eq(0), done.eq(1)]
                m.d.comb += registers.irq_status_set.done.eq(1)
        with m.If(running & core.done):
            m.d.sync += [abort.eq(1), ending.eq(1)]
        with m.If(failure != ErrorCause.NONE):
            m.d.sync += [
                running.eq(0),
                ending.eq(0),
                abort.eq(1),
                error.eq(1),
                cause.eq(failure),
                error_address.eq(failure_address),
                index.eq(core.index),
            ]
            m.d.comb += registers.irq_status_set.error.eq(1)
        with m.If(start):
            m.d.sync += [running.eq(1), done.eq(0), error.eq(0), cause.eq(ErrorCause.NONE)]
        with m.If(reset):
            m.d.sync += [
                running.eq(0),
                ending.eq(0),
                done.eq(0),
                error.eq(0),
                cause.eq(ErrorCause.NONE),
                abort.eq(1),
            ]
        events, enabled = registers.irq_status, registers.irq_enable
        m.d.sync += self.irq.eq((events.done & enabled.done) | (events.error & enabled.error))

        # What the accelerator is, and how it spends its time.
        m.d.comb += [
            registers.identity.eq(IDENTITY),
            registers.version.eq(VERSION),
            registers.digest.eq(c.digest),
            registers.axi_shape.ports.eq(c.axi_ports),
            registers.axi_shape.data_width.eq(data_width),
            registers.array_shape.lanes.eq(c.lanes),
            registers.array_shape.filters.eq(c.filters),
            registers.array_shape.pixels.eq(c.pixels),
            registers.array_shape.multiply.eq(c.pe == "multiply"),
        ]
        for name, event in (
            ("cycles", 1),
            ("array_cycles", core.stepping),
            ("compute_cycles", core.compute_busy),
            ("load_cycles", core.load_busy),
            ("store_cycles", core.store_busy),
            *((f"stall_{cause.name.lower()}", core.stalls[cause]) for cause in Stall),
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
