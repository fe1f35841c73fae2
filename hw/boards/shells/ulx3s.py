"""The accelerator on a ULX3S: clock, reset, serial line, memory."""

from math import gcd

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    DomainRenamer,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.boards.ulx3s import BOARD
from hw.contract.config import AcceleratorConfig, ConfigError
from hw.contract.registers import ADDRESS_BITS
from hw.rtl.accelerator import Accelerator
from hw.rtl.axi.bus import AxiLiteSignature, AxiReadSignature, AxiWriteSignature
from hw.rtl.component import Component
from hw.rtl.host.bridge import Bridge
from hw.rtl.host.memory import AxiMemory
from hw.rtl.host.uart import UartReceiver, UartTransmitter

__all__ = ["CRYSTAL_MHZ", "MEMORY_BYTES", "Ulx3s"]

CRYSTAL_MHZ = 25
#: Program, weights, input and output together.
MEMORY_BYTES = 1 << 16
_DATA_WIDTH = 32
#: Lattice FPGA-DS-02012: slowest clock at the phase detector, the oscillator's range, and the
#: fastest clock that leaves the loop, in MHz.
_LEAST_PHASE_MHZ = 3.125
_OSCILLATOR_MHZ = (400, 800)
_FASTEST_MHZ = 400
#: Cycles for which the reset stays on after the clock is stable.
_RESET_CYCLES = 64
_LEDS = 8


class Ulx3s(Component):
    """Top of the board: pins only.

    Ports: ``clk`` is the crystal, ``rst`` a button (high when pressed); ``rx`` and ``tx`` as seen
    from the FPGA; ``led``: 0 the clock is stable, 1 a request is being answered, 2 interrupt;
    ``wifi_gpio0`` keeps the board's other processor from taking the serial line over.

    Raises
    ------
    ConfigError
        The configuration does not have exactly one data port of 32 bits, or its clock cannot be
        made from the crystal's.
    """

    module_name = BOARD.shell.top

    def __init__(self, config: AcceleratorConfig):
        if config.axi_data_width != _DATA_WIDTH:
            raise ConfigError(
                f"axi_data_width must be {_DATA_WIDTH} for the board ulx3s, "
                f"not {config.axi_data_width}"
            )
        if config.axi_ports != 1:
            raise ConfigError(f"axi_ports must be 1 for the board ulx3s, not {config.axi_ports}")
        self.config = config
        self.dividers = _dividers(config.clock_mhz)
        super().__init__({
            "rx": In(1),
            "tx": Out(1),
            "led": Out(_LEDS),
            "wifi_gpio0": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        # Domains of the loop's clock: one without a reset, which makes the reset, and the core's.
        m.domains.start = ClockDomain(local=True, reset_less=True)
        m.domains.core = core = ClockDomain(local=True)
        clock, locked = self._clock(m)
        m.d.comb += [ClockSignal("start").eq(clock), core.clk.eq(clock)]
        reset = self._reset(m, locked)
        m.d.comb += core.rst.eq(reset)
        self._connect(m)
        m.d.comb += [self.led[0].eq(~reset), self.wifi_gpio0.eq(1)]
        return m

    def _clock(self, m: Module) -> tuple[Signal, Signal]:
        """The clock that the loop makes of the crystal's, and whether it is stable."""
        input_divider, feedback_divider, output_divider = self.dividers
        locked = Signal()
        clock = Signal()
        # The loop closes over the output: clock = crystal / input_divider * feedback_divider.
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=output_divider,
            p_CLKOP_CPHASE=output_divider // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=input_divider,
            p_CLKFB_DIV=feedback_divider,
            i_CLKI=ClockSignal("sync"),
            i_CLKFB=clock,
            i_RST=0,
            i_STDBY=0,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=1,
            i_PHASESTEP=1,
            i_PHASELOADREG=1,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_CLKOP=clock,
            o_LOCK=locked,
            a_FREQUENCY_PIN_CLKI=str(CRYSTAL_MHZ),
            a_FREQUENCY_PIN_CLKOP=str(self.config.clock_mhz),
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
        )
        return clock, locked

    def _reset(self, m: Module, locked: Signal) -> Signal:
        """The core's reset. It ends with a clock edge, some time after the last cause is gone."""
        pressed = Signal.like(locked)
        m.d.comb += pressed.eq(ResetSignal("sync"))
        quiet = Signal(2)
        waited = Signal(range(_RESET_CYCLES))
        reset = Signal(init=1)
        m.d.start += [
            quiet.eq(Cat(locked & ~pressed, quiet[0])),
            reset.eq(waited != _RESET_CYCLES - 1),
        ]
        with m.If(~quiet[1]):
            m.d.start += waited.eq(0)
        with m.Elif(waited != _RESET_CYCLES - 1):
            m.d.start += waited.eq(waited + 1)
        return reset

    def _connect(self, m: Module) -> None:
        c = self.config
        words = MEMORY_BYTES * 8 // _DATA_WIDTH
        accelerator = Accelerator(c)
        memory = AxiMemory(address_width=c.axi_address_width, words=words)
        bridge = Bridge(memory_words=words, clock_khz=c.clock_mhz * 1000)
        receiver, transmitter = UartReceiver(), UartTransmitter()
        for name, component in (
            ("accelerator", accelerator),
            ("memory", memory),
            ("bridge", bridge),
            ("receiver", receiver),
            ("transmitter", transmitter),
        ):
            m.submodules[name] = DomainRenamer("core")(component)
        wiring.connect(m, receiver.o, bridge.rx)
        wiring.connect(m, bridge.tx, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            receiver.divisor.eq(bridge.divisor),
            transmitter.divisor.eq(bridge.divisor),
            bridge.line_error.eq(receiver.line_error),
            bridge.tx_busy.eq(transmitter.busy),
            bridge.interrupt.eq(accelerator.irq),
            memory.host_address.eq(bridge.memory_address),
            memory.host_read.eq(bridge.memory_read),
            memory.host_write.eq(bridge.memory_write),
            memory.host_write_data.eq(bridge.memory_write_data),
            bridge.memory_read_data.eq(memory.host_read_data),
            self.tx.eq(transmitter.tx),
            self.led[1].eq(transmitter.busy),
            self.led[2].eq(accelerator.irq),
        ]
        registers = AxiLiteSignature(ADDRESS_BITS)
        read = AxiReadSignature(c.axi_address_width, _DATA_WIDTH)
        write = AxiWriteSignature(c.axi_address_width, _DATA_WIDTH)
        for prefix, signature, near, far in (
            ("s_axi", registers, bridge.registers, accelerator),
            ("m_axi", read, memory.read, accelerator),
            ("m_axi", write, memory.write, accelerator),
        ):
            # Signatures as the master has them: the bridge is a master, and so is the accelerator.
            for name, member in signature.members.items():
                port, other = getattr(far, f"{prefix}_{name}"), getattr(near, name)
                from_bridge = near is bridge.registers
                if (member.flow is Out) == from_bridge:
                    m.d.comb += port.eq(other)
                else:
                    m.d.comb += other.eq(port)


def _dividers(clock_mhz: int) -> tuple[int, int, int]:
    """Input, feedback and output divider of the phase-locked loop for a clock in MHz."""
    phase_mhz = gcd(CRYSTAL_MHZ, clock_mhz)
    low, high = _OSCILLATOR_MHZ
    for output in range(1, 129):
        possible = phase_mhz >= _LEAST_PHASE_MHZ and clock_mhz <= _FASTEST_MHZ
        if possible and low <= clock_mhz * output <= high:
            return CRYSTAL_MHZ // phase_mhz, clock_mhz // phase_mhz, output
    raise ConfigError(
        f"clock_mhz must be a multiple of 5 from 5 to 400 for the board ulx3s, not {clock_mhz}"
    )
