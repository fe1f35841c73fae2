"""For cocotb benches of a whole accelerator: independent AXI models, cocotbext-axi, at all ports.

:class:`CocotbAccelerator` has the interface of :class:`sim.verilated.VerilatedAccelerator`, so the
same driver runs over both. Its methods wait for the simulation. So a driver runs in a thread of its
own, and takes turns with the simulation:

    from cocotb.task import bridge

    accelerator = await CocotbAccelerator.start(dut, memory_bytes=2**20)
    result = await bridge(run_network)(accelerator, image)
"""

import random
from collections.abc import Iterator
from typing import Self

import cocotb
import numpy as np
from cocotb.handle import HierarchyObject
from cocotb.task import resume
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import (
    AddressSpace,
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiSlave,
    MemoryRegion,
)

from hw.driver import BusError
from sim.streams import start

__all__ = ["CocotbAccelerator"]

_REGISTER_TIMEOUT_US = 20
_MOST_PORTS = 4


class _FaultyRegion(MemoryRegion):
    async def _read(self, address, length, **kwargs):
        raise RuntimeError("injected fault")

    async def _write(self, address, data, **kwargs):
        raise RuntimeError("injected fault")


class CocotbAccelerator:
    """A design with ``s_axi_*``, ``m_axi_*`` and ``irq`` between the models of cocotbext-axi.

    With several data ports they are ``m_axi0_*``, ``m_axi1_*`` and so on, all on one memory.

    Addresses outside the memory are answered with an error. Made with :meth:`start`.

    Attributes
    ----------
    memory : numpy.ndarray of uint8, shape (memory_bytes,)
    memory_base : int
    """

    def __init__(
        self, dut: HierarchyObject, memory_bytes: int, memory_base: int, stall_rate: float
    ):
        self._dut = dut
        prefixes = [
            prefix
            for prefix in ("m_axi", *(f"m_axi{index}" for index in range(_MOST_PORTS)))
            if hasattr(dut, f"{prefix}_araddr")
        ]
        self._space = AddressSpace(2 ** len(getattr(dut, f"{prefixes[0]}_araddr")))
        region = MemoryRegion(memory_bytes)
        self._space.register_region(region, memory_base)
        self.memory = np.frombuffer(region.mem, np.uint8)
        self.memory_base = memory_base
        self._master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self._slaves = [
            AxiSlave(AxiBus.from_prefix(dut, prefix), dut.clk, dut.rst, target=self._space)
            for prefix in prefixes
        ]
        for side in (self._master, *self._slaves):
            write, read = side.write_if, side.read_if
            for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                            read.r_channel):  # fmt: skip
                channel.set_pause_generator(_pauses(stall_rate))
        self._cycles = 0
        cocotb.start_soon(self._count())

    @classmethod
    async def start(
        cls,
        dut: HierarchyObject,
        *,
        memory_bytes: int,
        memory_base: int = 0,
        stall_rate: float = 0.0,
    ) -> Self:
        """Connects the models and takes the design through reset.

        ``stall_rate`` is the chance of a pause on every channel of every port in every cycle.
        """
        accelerator = cls(dut, memory_bytes, memory_base, stall_rate)
        await start(dut)
        return accelerator

    def inject_fault(self, begin: int, end: int) -> None:
        """Answers accesses to the addresses ``begin`` to ``end - 1`` with SLVERR.

        The range must be outside the memory.
        """
        self._space.register_region(_FaultyRegion(end - begin), begin)

    def read(self, offset: int) -> int:
        """Reads a register at a byte offset."""
        return resume(self._read)(offset)

    def write(self, offset: int, value: int) -> None:
        """Writes a register at a byte offset."""
        resume(self._write)(offset, value)

    def run(self, max_cycles: int, *, until_interrupt: bool = True) -> int:
        """Lets up to ``max_cycles`` pass, or until ``irq`` is high. Returns the cycles."""
        return resume(self._run)(max_cycles, until_interrupt)

    @property
    def irq(self) -> bool:
        """Whether the interrupt is high."""
        return bool(int(self._dut.irq.value))

    @property
    def cycles(self) -> int:
        """Cycles since the start, reset included."""
        return self._cycles

    async def _count(self) -> None:
        while True:
            await RisingEdge(self._dut.clk)
            self._cycles += 1

    async def _read(self, offset: int) -> int:
        reply = await with_timeout(self._master.read(offset, 4), _REGISTER_TIMEOUT_US, "us")
        if reply.resp != AxiResp.OKAY:
            raise BusError(f"read of register {offset:#x} was answered with {reply.resp.name}")
        return int.from_bytes(reply.data, "little")

    async def _write(self, offset: int, value: int) -> None:
        data = value.to_bytes(4, "little")
        reply = await with_timeout(self._master.write(offset, data), _REGISTER_TIMEOUT_US, "us")
        if reply.resp != AxiResp.OKAY:
            raise BusError(f"write of register {offset:#x} was answered with {reply.resp.name}")

    async def _run(self, max_cycles: int, until_interrupt: bool) -> int:
        for done in range(max_cycles):
            if until_interrupt and self.irq:
                return done
            await RisingEdge(self._dut.clk)
        return max_cycles


def _pauses(stall_rate: float) -> Iterator[bool]:
    while True:
        yield random.random() < stall_rate
