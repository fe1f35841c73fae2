"""For cocotb benches: both ends of an Amaranth stream with random pauses, and a common start."""

import random
from collections.abc import Iterable, Sequence

from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge, with_timeout

__all__ = ["StreamSink", "StreamSource", "cycles", "start"]


async def start(dut: HierarchyObject, *, inputs: Sequence[str] = ()) -> None:
    """Starts the clock (10 ns), sets the named inputs to zero and holds the reset for a while."""
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await cycles(dut, 4)
    dut.rst.value = 0
    await cycles(dut, 1)


async def cycles(dut: HierarchyObject, count: int) -> None:
    """Waits for ``count`` rising edges of the clock."""
    for _ in range(count):
        await RisingEdge(dut.clk)


class StreamSource:
    """Drives a stream into the design.

    Parameters
    ----------
    dut : HierarchyObject
        The design.
    prefix : str
        The stream's name: ports ``PREFIX__payload``, ``__valid`` and ``__ready``.
    stall_rate : float
        Chance that no offer is made, in each cycle without one.
    """

    def __init__(self, dut: HierarchyObject, prefix: str, *, stall_rate: float = 0.0):
        self._clock = dut.clk
        self._payload = getattr(dut, f"{prefix}__payload")
        self._valid = getattr(dut, f"{prefix}__valid")
        self._ready = getattr(dut, f"{prefix}__ready")
        self._valid.value = 0
        self.stall_rate = stall_rate

    async def send(self, payloads: Iterable[int], *, timeout_us: float = 10_000) -> None:
        """Offers the payloads in turn; returns when the last one has been taken."""
        await with_timeout(self._send(payloads), timeout_us, "us")

    async def _send(self, payloads: Iterable[int]) -> None:
        for payload in payloads:
            while random.random() < self.stall_rate:
                await RisingEdge(self._clock)
            self._payload.value = payload
            self._valid.value = 1
            await RisingEdge(self._clock)
            while not int(self._ready.value):
                await RisingEdge(self._clock)
            self._valid.value = 0


class StreamSink:
    """Takes a stream from the design, and checks that an offer stands until it is taken.

    Parameters
    ----------
    dut, prefix
        As for :class:`StreamSource`.
    stall_rate : float
        Chance of not being ready, in each cycle.
    """

    def __init__(self, dut: HierarchyObject, prefix: str, *, stall_rate: float = 0.0):
        self._clock = dut.clk
        self._payload = getattr(dut, f"{prefix}__payload")
        self._valid = getattr(dut, f"{prefix}__valid")
        self._ready = getattr(dut, f"{prefix}__ready")
        self._ready.value = 0
        self._prefix = prefix
        self.stall_rate = stall_rate

    async def receive(self, count: int, *, timeout_us: float = 10_000) -> list[int]:
        """The next ``count`` payloads, unsigned."""
        return await with_timeout(self._receive(count), timeout_us, "us")

    async def _receive(self, count: int) -> list[int]:
        payloads: list[int] = []
        offered = None
        while len(payloads) < count:
            ready = random.random() >= self.stall_rate
            self._ready.value = ready
            await RisingEdge(self._clock)
            valid = int(self._valid.value)
            payload = int(self._payload.value) if valid else None
            if offered is not None:
                assert payload == offered, f"{self._prefix}: offer changed before it was taken"
            offered = None if ready else payload
            if valid and ready:
                payloads.append(payload)
        self._ready.value = 0
        return payloads
