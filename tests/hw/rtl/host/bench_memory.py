"""cocotb cases for the shared memory, against the AXI4 master of cocotbext-axi."""

import random

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

from sim.streams import start
from tests.hw.rtl.host.designs import BENCH_WORDS

SIZE = 4 * BENCH_WORDS


def pauses(stall_rate):
    while True:
        yield random.random() < stall_rate


class Bench:
    """The memory out of reset, its master, the host's port."""

    def __init__(self, dut, stall_rate):
        self.dut = dut
        self.master = AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        write, read = self.master.write_if, self.master.read_if
        for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                        read.r_channel):  # fmt: skip
            channel.set_pause_generator(pauses(stall_rate))

    @classmethod
    async def start(cls, dut, stall_rate):
        bench = cls(dut, stall_rate)
        await start(dut, inputs=["host_address", "host_read", "host_write", "host_write_data"])
        return bench

    async def host(self, word, value=None):
        """One access of the host; the word if it is a read."""
        dut = self.dut
        dut.host_address.value = word
        dut.host_read.value = int(value is None)
        dut.host_write.value = int(value is not None)
        dut.host_write_data.value = value or 0
        await RisingEdge(dut.clk)
        dut.host_read.value = 0
        dut.host_write.value = 0
        for _ in range(3):
            await RisingEdge(dut.clk)
        return int(dut.host_read_data.value)


@cocotb.test(timeout_time=3, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.5])
async def bursts_and_host(dut, stall_rate):
    """Bursts up to the bench's size and the host's words in between, against a byte array."""
    bench = await Bench.start(dut, stall_rate)
    content = bytearray(random.randbytes(SIZE))
    await bench.master.write(0, content)
    half = SIZE // 2
    for _ in range(12):
        # The upper half for the host meanwhile, so that the order does not matter.
        begin = 4 * random.randrange(half // 4)
        size = 4 * random.randrange(1, 1 + min(300, (half - begin) // 4))
        data = random.randbytes(size)
        write = cocotb.start_soon(bench.master.write(begin, data))
        for _ in range(random.randrange(5)):
            word, value = random.randrange(half // 4, SIZE // 4), random.getrandbits(32)
            await bench.host(word, value)
            content[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
        reply = await write
        assert reply.resp == AxiResp.OKAY
        content[begin : begin + size] = data

        begin = 4 * random.randrange(SIZE // 4)
        size = 4 * random.randrange(1, 1 + min(300, (SIZE - begin) // 4))
        read = cocotb.start_soon(bench.master.read(begin, size))
        for _ in range(random.randrange(5)):
            word = random.randrange(SIZE // 4)
            found = await bench.host(word)
            assert found == int.from_bytes(content[4 * word : 4 * word + 4], "little")
        reply = await read
        assert reply.resp == AxiResp.OKAY
        assert reply.data == content[begin : begin + size]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def beyond_the_memory(dut):
    """Is answered with DECERR and changes nothing; what comes next is as ever."""
    bench = await Bench.start(dut, 0.2)
    data = random.randbytes(64)
    await bench.master.write(0, data)
    for address in (SIZE, 3 * SIZE, 1 << 31):
        assert (await bench.master.write(address, bytes(64))).resp == AxiResp.DECERR
        assert (await bench.master.read(address, 64)).resp == AxiResp.DECERR
        assert (await bench.master.read(0, 64)).data == data


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def read_in_the_next_cycle(dut):
    """What was written one cycle before is read; and so is the word beside it, as it was."""
    bench = await Bench.start(dut, 0.0)
    content = [await bench.host(word) for word in range(8)]
    for word, beside, value in (
        (3, 0, 0xFFFFFFFF),
        (4, 1, 0),
        (3, 0, 0),
        (6, 1, 7),
        (6, 0, 1 << 31),
    ):
        dut.host_address.value = word
        dut.host_write_data.value = value
        dut.host_write.value = 1
        await RisingEdge(dut.clk)
        dut.host_write.value = 0
        content[word] = value
        assert await bench.host(word ^ beside) == content[word ^ beside]
    assert [await bench.host(word) for word in range(8)] == content
