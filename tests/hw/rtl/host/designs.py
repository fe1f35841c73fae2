"""The host's side of a serial board, without an accelerator; a board's pins."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract.register_map import Access, Register, RegisterArray, RegisterMap
from hw.contract.registers import ADDRESS_BITS
from hw.rtl.axi.bus import AxiReadSignature, AxiWriteSignature, flat_members, flat_view
from hw.rtl.axi.register_file import AxiLiteRegisters
from hw.rtl.component import Component
from hw.rtl.host.bridge import Bridge
from hw.rtl.host.memory import AxiMemory
from hw.rtl.host.uart import UartReceiver, UartTransmitter

__all__ = ["BENCH_WORDS", "CLOCK_KHZ", "REGISTER_MAP", "WORDS", "HostBoard", "MemoryBench"]

CLOCK_KHZ = 2_304
WORDS = 1024
BENCH_WORDS = 2048

REGISTER_MAP = RegisterMap(
    (
        Register(name="identity", offset=0x0, access=Access.RO),
        Register(name="base", offset=0x4, access=Access.RW, reset=0x1234),
        Register(name="irq", offset=0x8, access=Access.RW, width=1),
    ),
    (RegisterArray(name="stamps", offset=0x40, words=8),),
)


class HostBoard(Component):
    """``rx`` and ``tx`` to registers and a memory; the register ``irq`` is the interrupt."""

    module_name = "host_board"

    def __init__(self):
        super().__init__({"rx": In(1), "tx": Out(1), "led": Out(8)})

    def build(self):
        m = Module()
        bridge = Bridge(memory_words=WORDS, clock_khz=CLOCK_KHZ)
        memory = AxiMemory(address_width=32, words=WORDS)
        registers = AxiLiteRegisters(REGISTER_MAP, ADDRESS_BITS, name="host_board")
        receiver, transmitter = UartReceiver(), UartTransmitter()
        for name, component in (
            ("bridge", bridge),
            ("memory", memory),
            ("registers", registers),
            ("receiver", receiver),
            ("transmitter", transmitter),
        ):
            m.submodules[name] = component
        wiring.connect(m, receiver.o, bridge.rx)
        wiring.connect(m, bridge.tx, transmitter.i)
        wiring.connect(m, bridge.registers, registers.axi)
        stamp = Signal(32)
        m.d.sync += stamp.eq(registers.stamps_address + 7)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            receiver.divisor.eq(bridge.divisor),
            transmitter.divisor.eq(bridge.divisor),
            bridge.line_error.eq(receiver.line_error),
            bridge.tx_busy.eq(transmitter.busy),
            bridge.interrupt.eq(registers.irq),
            memory.host_address.eq(bridge.memory_address),
            memory.host_read.eq(bridge.memory_read),
            memory.host_write.eq(bridge.memory_write),
            memory.host_write_data.eq(bridge.memory_write_data),
            bridge.memory_read_data.eq(memory.host_read_data),
            registers.identity.eq(0x4E42514E),
            registers.stamps_data.eq(stamp),
            self.tx.eq(transmitter.tx),
            self.led.eq(registers.irq),
        ]
        return m


class MemoryBench(Component):
    """The memory behind flat AXI ports, and the host's port."""

    module_name = "memory_bench"

    def __init__(self):
        self.memory = AxiMemory(address_width=32, words=BENCH_WORDS)
        self.read_member = In(AxiReadSignature(32, 32))
        self.write_member = In(AxiWriteSignature(32, 32))
        super().__init__({
            **flat_members("s_axi", self.write_member),
            **flat_members("s_axi", self.read_member),
            "host_address": In(range(BENCH_WORDS)),
            "host_read": In(1),
            "host_write": In(1),
            "host_write_data": In(32),
            "host_read_data": Out(32),
        })  # fmt: skip

    def build(self):
        m = Module()
        m.submodules.memory = memory = self.memory
        wiring.connect(m, flat_view(self, "s_axi", self.read_member), memory.read)
        wiring.connect(m, flat_view(self, "s_axi", self.write_member), memory.write)
        for name in ("host_address", "host_read", "host_write", "host_write_data"):
            m.d.comb += getattr(memory, name).eq(getattr(self, name))
        m.d.comb += self.host_read_data.eq(memory.host_read_data)
        return m
