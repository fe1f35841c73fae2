"""The accelerator's top: the core behind an AXI4-Lite slave and AXI4 masters, with an interrupt."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    DomainRenamer,
    Module,
    Mux,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.causes import CommandFault, ErrorCause, Stall
from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Region
from hw.contract.registers import ADDRESS_BITS, IDENTITY, LAYERS, REGISTERS, VERSION
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
from hw.rtl.reset import RESET_CYCLES

__all__ = ["TOP", "Accelerator", "data_ports"]

#: Name of the top module.
TOP = "nbqnn"


def data_ports(config: AcceleratorConfig) -> tuple[str, ...]:
    """The prefixes of the AXI4 ports' signals, in the order of their stripes."""
    if config.axi_ports == 1:
        return ("m_axi",)
    return tuple(f"m_axi{index}" for index in range(config.axi_ports))


class Accelerator(Component):
    """The whole accelerator.

    Ports: ``s_axi_*`` (AXI4-Lite, 32 bits); ``m_axi_*`` (AXI4; several ports are ``m_axi0_*`` and
    so on); ``irq`` (level, active high). Bus outputs are registered.

    A run starts with ``control.start`` and ends with ``status.done`` or ``status.error``. After an
    error, and on ``control.reset``, the core is reset while reader and writer finish open AXI
    transfers. Then the accelerator is idle again.
    """

    module_name = TOP

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        width, data_width = config.axi_address_width, config.axi_data_width
        self._control = In(AxiLiteSignature(ADDRESS_BITS))
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
        self.registers = AxiLiteRegisters(REGISTERS, ADDRESS_BITS)
        transfer = {"address_width": c.axi_address_width, "length_width": LENGTH_BITS}
        ports = {
            "data_width": c.axi_data_width,
            "ports": c.axi_ports,
            "outstanding": OUTSTANDING_BURSTS,
        }
        self.reader = StripedReader(**transfer, **ports)
        self.writer = StripedWriter(**transfer, **ports)
        self.arbiter = ReadArbiter(**transfer, data_width=c.axi_beat_bits, requesters=2)
        self.core = Core(c)
        for name in ("registers", "reader", "writer", "arbiter"):
            m.submodules[name] = getattr(self, name)
        run = _Run(c)
        self._reset_core(m, run)
        self._connect_buses(m)
        self._connect_core(m, run)
        self._find_failures(m, run)
        self._show_state(m, run)
        self._change_state(m, run)
        self._identify(m)
        self._count(m, run)
        return m

    def _reset_core(self, m: Module, run: "_Run") -> None:
        """Resets the core while ``abort`` is high; buses and registers are not reset.

        The reset passes one register here and one in front of each part of the core. So it reaches
        the parts ``RESET_CYCLES`` cycles late, and leaves them as late. ``abort`` lasts until it
        has reached them, because until then they still request and send. No run starts before it
        has left them (``settling``).
        """
        resets = Signal(RESET_CYCLES, init=-1)
        m.domains.core = core = ClockDomain(local=True)
        m.d.sync += [resets.eq(Cat(run.abort, resets)), run.still.eq(run.abort & resets.all())]
        m.d.comb += [
            core.clk.eq(ClockSignal()),
            core.rst.eq(resets[0]),
            run.settling.eq(run.abort | resets.any()),
        ]
        m.submodules.core = DomainRenamer("core")(self.core)

    def _connect_buses(self, m: Module) -> None:
        reader, writer, arbiter = self.reader, self.writer, self.arbiter
        wiring.connect(m, flat_view(self, "s_axi", self._control), self.registers.axi)
        for port, prefix in enumerate(data_ports(self.config)):
            wiring.connect(m, reader.axi[port], flat_view(self, prefix, self._read))
            wiring.connect(m, writer.axi[port], flat_view(self, prefix, self._write))
        wiring.connect(m, arbiter.request, reader.request)
        wiring.connect(m, reader.data, arbiter.reader_data)
        for side in (reader, writer):
            m.d.comb += [
                side.stripe.eq(self._page("stripe")),
                side.window_first.eq(self._page("window_first")),
                side.window_last.eq(self._page("window_last")),
            ]

    def _connect_core(self, m: Module, run: "_Run") -> None:
        core, arbiter, writer = self.core, self.arbiter, self.writer
        for index, (request, beats) in enumerate(
            ((core.fetch_request, core.fetch_data), (core.load_request, core.load_data))
        ):
            wiring.connect(m, request, arbiter.requests[index])
            wiring.connect(m, arbiter.data[index], beats)
        wiring.connect(m, core.store_request, writer.request)
        wiring.connect(m, core.store_data, writer.data)
        bases = (self._address(f"{region.name.lower()}_base") for region in Region)
        m.d.comb += [
            core.store_done.eq(writer.done),
            core.length.eq(self.registers.program_length),
            *(base.eq(value) for base, value in zip(core.bases, bases, strict=True)),
            core.start.eq(run.start),
            self.reader.cancel.eq(~run.reads),
            *(part.cancel.eq(run.abort) for part in (writer, arbiter)),
        ]

    def _address(self, name: str) -> Value:
        """The address in two registers, in the width of the bus."""
        low, high = (getattr(self.registers, f"{name}_{half}") for half in ("low", "high"))
        return Cat(low, high)[: self.config.axi_address_width]

    def _page(self, name: str) -> Value:
        width = self.config.axi_address_width
        return self._address(name)[width - page_bits(width) :]

    def _find_failures(self, m: Module, run: "_Run") -> None:
        """Finds out why a run has to end. If there are several reasons, that of the bus counts.

        The reason is known one cycle late: addresses come from far away.
        """
        reader, writer, core = self.reader, self.writer, self.core
        # One cycle late is early enough: a start takes effect later than a length written before.
        no_program = Signal()
        m.d.sync += no_program.eq(self.registers.program_length == 0)
        found = run.found
        address = Signal.like(run.failure_address)
        with m.If(reader.error):
            m.d.comb += [found.eq(ErrorCause.READ), address.eq(reader.error_address)]
        with m.Elif(writer.error):
            m.d.comb += [found.eq(ErrorCause.WRITE), address.eq(writer.error_address)]
        with m.Elif(reader.outside | writer.outside):
            m.d.comb += [
                found.eq(ErrorCause.WINDOW),
                address.eq(Mux(reader.outside, reader.outside_address, writer.outside_address)),
            ]
        with m.Elif(core.fault != CommandFault.NONE):
            m.d.comb += found.eq(core.fault)
        # No descriptor would be fetched, so the run would never end.
        with m.Elif(no_program):
            m.d.comb += found.eq(ErrorCause.LENGTH)
        # The first one counts. In the next cycle it has ended the run.
        some = found != ErrorCause.NONE
        first = run.running & ~run.failed
        m.d.sync += [run.failed.eq(first & some), run.failure.eq(found)]
        m.d.data += run.failure_address.eq(address)

    def _show_state(self, m: Module, run: "_Run") -> None:
        registers = self.registers
        events, enabled = registers.irq_status, registers.irq_enable
        m.d.comb += [
            registers.status.busy.eq(run.running | run.settling),
            registers.status.done.eq(run.done),
            registers.status.error.eq(run.error),
            registers.error_cause.eq(run.cause),
            registers.error_index.eq(run.index),
            registers.error_address_low.eq(run.error_address[:32]),
            registers.error_address_high.eq(run.error_address[32:]),
        ]
        m.d.sync += self.irq.eq((events.done & enabled.done) | (events.error & enabled.error))

    def _change_state(self, m: Module, run: "_Run") -> None:
        """Changes between idle, running and aborting.

        ``abort`` lasts until the buses are quiet and the core is in reset. A run that reaches its
        end aborts too, because commands may have requested data that nobody took. It is done as
        soon as the buses are quiet.
        """
        strobe, control = self.registers.control_strobe, self.registers.control_data
        event, index = self.registers.irq_status_set, self.core.index
        asked = Signal()
        reset = Signal()
        m.d.comb += [
            asked.eq(strobe & control.start),
            reset.eq(strobe & control.reset),
        ]
        # A register: a start clears counters all over the chip.
        m.d.sync += run.start.eq(asked & ~reset & ~run.running & ~run.settling)
        with m.If(asked & (run.running | run.settling)):
            m.d.comb += event.error.eq(1)
            # While aborting, the cause that led to it stays.
            with m.If(run.running | (run.cause == ErrorCause.NONE)):
                m.d.sync += [run.cause.eq(ErrorCause.BUSY), run.index.eq(index)]
        # A register, so that it is true only after reader and writer have seen the cancellation.
        quiet = Signal()
        reader, writer = self.reader, self.writer
        loud = reader.busy | writer.busy | reader.error | writer.error
        m.d.sync += quiet.eq(run.abort & ~loud)
        m.d.comb += run.aborts.eq(run.abort)
        m.d.sync += [run.abort.eq(run.aborts), run.reads.eq(~run.aborts)]
        with m.If(run.abort & quiet):
            with m.If(run.still):
                m.d.comb += run.aborts.eq(0)
                m.d.sync += quiet.eq(0)
            with m.If(run.ending):
                m.d.sync += [run.ending.eq(0), run.running.eq(0), run.done.eq(1)]
                m.d.comb += event.done.eq(1)
        with m.If(run.running & self.core.done):
            m.d.comb += run.aborts.eq(1)
            m.d.sync += run.ending.eq(1)
        with m.If(run.failed):
            m.d.comb += run.aborts.eq(1)
            m.d.sync += [*run.stopped(), run.error.eq(1), run.cause.eq(run.failure)]
            m.d.sync += [run.error_address.eq(run.failure_address), run.index.eq(index)]
            m.d.comb += event.error.eq(1)
        with m.If(run.start):
            m.d.sync += [run.running.eq(1), run.done.eq(0), run.error.eq(0)]
            m.d.sync += run.cause.eq(ErrorCause.NONE)
        with m.If(reset):
            m.d.comb += run.aborts.eq(1)
            m.d.sync += [*run.stopped(), run.done.eq(0), run.error.eq(0)]
            m.d.sync += [run.cause.eq(ErrorCause.NONE), run.failed.eq(0)]

    def _identify(self, m: Module) -> None:
        """Puts the accelerator's identity and shape into its registers."""
        c, registers = self.config, self.registers
        m.d.comb += [
            registers.identity.eq(IDENTITY),
            registers.version.eq(VERSION),
            registers.digest.eq(c.digest),
            registers.axi_shape.ports.eq(c.axi_ports),
            registers.axi_shape.data_width.eq(c.axi_data_width),
            registers.array_shape.lanes.eq(c.lanes),
            registers.array_shape.filters.eq(c.filters),
            registers.array_shape.pixels.eq(c.pixels),
            registers.array_shape.multiply.eq(c.pe == "multiply"),
        ]

    def _count(self, m: Module, run: "_Run") -> None:
        """Counts cycles, and stamps the completion of each layer."""
        core, registers = self.core, self.registers
        counters = {}
        for name, event in (
            ("cycles", 1),
            ("array_cycles", core.stepping),
            ("compute_cycles", core.compute_busy),
            ("load_cycles", core.load_busy),
            ("store_cycles", core.store_busy),
            *((f"stall_{cause.name.lower()}", core.stalls[cause]) for cause in Stall),
        ):
            counters[name] = counter = Signal(32, name=f"{name}_counter")
            m.d.comb += getattr(registers, name).eq(counter)
            with m.If(run.start):
                m.d.sync += counter.eq(0)
            with m.Elif(run.running):
                m.d.sync += counter.eq(counter + event)

        m.submodules.layer_cycles = stamps = Memory(shape=32, depth=LAYERS, init=[])
        write, read = stamps.write_port(), stamps.read_port()
        m.d.comb += [
            write.addr.eq(core.layer),
            write.data.eq(counters["cycles"]),
            write.en.eq(core.layer_done),
            read.addr.eq(registers.layer_cycles_address),
        ]
        m.d.data += registers.layer_cycles_data.eq(read.data)


class _Run:
    """The state of a run in registers, and signals that change it."""

    def __init__(self, config: AcceleratorConfig):
        width = config.axi_address_width
        self.running = Signal()
        self.done = Signal()
        self.error = Signal()
        #: Reader and writer are cancelled, the core is reset; ``ending``: the run reached its end.
        self.abort = Signal()
        self.ending = Signal()
        self.cause = Signal(ErrorCause)
        self.index = Signal(16)
        self.error_address = Signal(width)
        #: All parts of the core have been in reset for a cycle.
        self.still = Signal()
        #: The run has to end; why and where.
        self.failed = Signal()
        self.failure = Signal(ErrorCause)
        self.failure_address = Signal(width)
        #: A run starts.
        self.start = Signal()
        #: The opposite of ``abort``, for the reader: a second register has fewer loads. Tools would
        #: make one of two that are equal.
        self.reads = Signal(init=1)
        # These are no registers.
        #: ``abort`` in the next cycle.
        self.aborts = Signal()
        self.settling = Signal()
        self.found = Signal(ErrorCause)

    def stopped(self) -> list:
        """Assignments that end a run early."""
        return [self.running.eq(0), self.ending.eq(0)]
