"""cocotb cases for the stream components: what goes in comes out, regrouped, in order."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from sim.streams import StreamSink, StreamSource, cycles, start
from tests.hw.rtl.stream.designs import BEAT_WIDTH, PARTS


def words(beats, group):
    """Groups of beats as words, the first beat lowest."""
    return [
        sum(beat << BEAT_WIDTH * place for place, beat in enumerate(beats[first : first + group]))
        for first in range(0, len(beats), group)
    ]


async def begin(dut, name, stall_in=0.0, stall_out=0.0):
    source = StreamSource(dut, f"{name}_i", stall_rate=stall_in)
    sink = StreamSink(dut, f"{name}_o", stall_rate=stall_out)
    await start(dut, inputs=["clear"])
    return source, sink


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(name=list(PARTS), rates=[(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.5, 0.5)])
async def order_and_content(dut, name, rates):
    _, group_in, group_out = PARTS[name]
    source, sink = await begin(dut, name, *rates)
    beats = [random.getrandbits(BEAT_WIDTH) for _ in range(40 * group_in * group_out)]
    cocotb.start_soon(source.send(words(beats, group_in)))
    expected = words(beats, group_out)
    assert await sink.receive(len(expected)) == expected


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=list(PARTS))
async def full_throughput(dut, name):
    """A beat per cycle on the narrow side."""
    _, group_in, group_out = PARTS[name]
    source, _ = await begin(dut, name)
    beats = [index % 256 for index in range(100 * group_in * group_out)]
    getattr(dut, f"{name}_o__ready").value = 1
    cocotb.start_soon(source.send(words(beats, group_in)))
    taken, gaps, since = 0, [], 0
    while taken < len(beats) // group_out:
        await RisingEdge(dut.clk)
        since += 1
        if int(getattr(dut, f"{name}_o__valid").value):
            gaps.append(since)
            taken, since = taken + 1, 0
    assert set(gaps[1:]) == {group_out}


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=["packer_1", "packer_4", "unpacker_1", "unpacker_4"])
async def clear(dut, name):
    """Forgets what is inside; words after that are whole."""
    _, group_in, group_out = PARTS[name]
    source, sink = await begin(dut, name)
    await source.send([1] * (2 * group_out - 1) if group_out > 1 else [1])
    dut.clear.value = 1
    await cycles(dut, 1)
    dut.clear.value = 0
    beats = [random.getrandbits(BEAT_WIDTH) for _ in range(3 * group_in * group_out)]
    cocotb.start_soon(source.send(words(beats, group_in)))
    expected = words(beats, group_out)
    assert await sink.receive(len(expected)) == expected


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=["fifo_3", "fifo_7"])
async def a_full_queue(dut, name):
    """Holds exactly its depth while nobody takes anything."""
    depth = int(name.removeprefix("fifo_"))
    source, sink = await begin(dut, name)
    await source.send(range(depth))
    cocotb.start_soon(source.send([depth]))
    await cycles(dut, 5)
    assert not int(getattr(dut, f"{name}_i__ready").value)
    assert await sink.receive(depth + 1) == list(range(depth + 1))
