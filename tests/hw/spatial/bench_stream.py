"""cocotb cases for a circuit between the AXI4-Streams of cocotbext-axi."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from sim.runner import parameters


def _pauses(rate):
    while True:
        yield random.random() < rate


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(rates=[(0.0, 0.0), (0.5, 0.0), (0.0, 0.7), (0.4, 0.4)])
async def matches_the_interpreter(dut, rates):
    """Every image is a frame; frames come out whole, in order, and none is lost or invented."""
    given = parameters()
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    source.set_pause_generator(_pauses(rates[0]))
    sink.set_pause_generator(_pauses(rates[1]))
    for image in given["inputs"]:
        await source.send(AxiStreamFrame(bytes(image)))
    for number, expected in enumerate(given["outputs"]):
        frame = await with_timeout(sink.recv(), 100, "us")
        assert list(frame.tdata) == expected, f"image {number}"
    await ClockCycles(dut.clk, 200)
    assert sink.empty()
    assert source.empty()
