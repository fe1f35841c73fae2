"""cocotb cases for the tests of the runner, some of which must fail."""

import cocotb
from cocotb.triggers import RisingEdge, Timer

from sim.runner import parameters
from sim.streams import StreamSink, StreamSource, start


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def good(dut):
    """Words pass a skid buffer in order."""
    assert parameters() == {"answer": 42}
    source = StreamSource(dut, "i", stall_rate=0.3)
    sink = StreamSink(dut, "o", stall_rate=0.3)
    await start(dut)
    cocotb.start_soon(source.send(range(100)))
    assert await sink.receive(100) == list(range(100))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def wrong(dut):
    await start(dut)
    assert int(dut.o__valid.value) == 1, "nothing was sent"


@cocotb.test(timeout_time=1, timeout_unit="us")
async def stuck(dut):
    await start(dut)
    await StreamSink(dut, "o").receive(1)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def background(dut):
    """A failure in a task that nobody waits for is a failure."""

    async def check():
        await RisingEdge(dut.clk)
        raise AssertionError("in the background")

    await start(dut)
    cocotb.start_soon(check())
    await Timer(100, "ns")


@cocotb.test()
async def endless(dut):
    await start(dut)
    while True:
        await RisingEdge(dut.clk)
