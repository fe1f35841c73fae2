"""cocotb cases for several requesters on one reader, against the AXI4 memory of cocotbext-axi."""

import random

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiRamRead, AxiReadBus

from sim.streams import StreamSink, StreamSource, cycles, start
from tests.hw.rtl.axi.designs import ADDRESS_WIDTH, SharedReader

STEP = SharedReader.data_width // 8
SIZE = 2**16
REQUESTERS = range(SharedReader.requesters)


class Bench:
    def __init__(self, dut, stall_rate):
        self.dut = dut
        self.ram = AxiRamRead(AxiReadBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=SIZE)
        self.content = random.randbytes(SIZE)
        self.ram.write(0, self.content)
        self.ram.r_channel.set_pause_generator(pauses(stall_rate))
        self.sources = [
            StreamSource(dut, f"request_{index}", stall_rate=stall_rate) for index in REQUESTERS
        ]
        self.sinks = [
            StreamSink(dut, f"data_{index}", stall_rate=stall_rate) for index in REQUESTERS
        ]

    @classmethod
    async def start(cls, dut, stall_rate=0.0):
        bench = cls(dut, stall_rate)
        await start(dut, inputs=["cancel"])
        return bench

    def expected(self, requests):
        beats = []
        for address, count in requests:
            for place in range(address, address + count * STEP, STEP):
                beats.append(int.from_bytes(self.content[place : place + STEP], "little"))
            if count:
                beats[-1] |= 1 << SharedReader.data_width
        return beats

    async def run(self, index, requests):
        """One requester's requests, and what it gets."""
        packed = [address | count << ADDRESS_WIDTH for address, count in requests]
        sending = cocotb.start_soon(self.sources[index].send(packed))
        expected = self.expected(requests)
        assert await self.sinks[index].receive(len(expected)) == expected, f"requester {index}"
        await sending


def pauses(stall_rate):
    while True:
        yield random.random() < stall_rate


def random_requests(count):
    requests = []
    for _ in range(count):
        beats = random.choice([0, 1, 1, 2, random.randint(1, 40)])
        requests.append((random.randrange(0, SIZE - beats * STEP, STEP), beats))
    return requests


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.3])
async def each_gets_its_own(dut, stall_rate):
    bench = await Bench.start(dut, stall_rate)
    tasks = [cocotb.start_soon(bench.run(index, random_requests(40))) for index in REQUESTERS]
    for task in tasks:
        await task
    await cycles(dut, 2)
    assert not int(dut.busy.value)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def turns_are_fair(dut):
    """With all asking all the time, nobody is served twice before the others."""
    bench = await Bench.start(dut)
    served = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            for index in REQUESTERS:
                ready = int(getattr(dut, f"request_{index}__ready").value)
                if ready and int(getattr(dut, f"request_{index}__valid").value):
                    served.append(index)

    cocotb.start_soon(watch())
    requests = [[(64 * STEP * (index + 1), 3)] * 20 for index in REQUESTERS]
    tasks = [cocotb.start_soon(bench.run(index, requests[index])) for index in REQUESTERS]
    for task in tasks:
        await task
    assert served == [served[index % len(REQUESTERS)] for index in range(20 * len(REQUESTERS))]


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(delay=range(0, 40, 5))
async def cancel(dut, delay):
    """After a cancel in the middle of anything, everyone gets whole transfers again."""
    bench = await Bench.start(dut, 0.2)
    sending = [
        cocotb.start_soon(source.send([200 << ADDRESS_WIDTH] * 4)) for source in bench.sources
    ]
    dut.data_0__ready.value = 1
    await cycles(dut, 10 + delay)
    dut.cancel.value = 1
    for task in sending:
        task.cancel()
    await cycles(dut, 2)
    for index in REQUESTERS:
        getattr(dut, f"request_{index}__valid").value = 0

    async def idle():
        while int(dut.busy.value):
            await RisingEdge(dut.clk)

    await with_timeout(idle(), 100, "us")
    await cycles(dut, 2)
    dut.data_0__ready.value = 0
    dut.cancel.value = 0
    await cycles(dut, 1)
    tasks = [cocotb.start_soon(bench.run(index, random_requests(5))) for index in REQUESTERS]
    for task in tasks:
        await task
