"""cocotb cases for the register file, against the AXI4-Lite master of cocotbext-axi."""

import random

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from sim.streams import cycles, start
from tests.hw.rtl.axi.designs import REGISTER_MAP

ADDRESS = {item.name: item.offset for item in (*REGISTER_MAP.registers, *REGISTER_MAP.arrays)}


class Bench:
    """The design out of reset, its master, and a record of the events it gave."""

    def __init__(self, dut, stall_rate):
        self.dut = dut
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        write, read = self.master.write_if, self.master.read_if
        for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                        read.r_channel):  # fmt: skip
            channel.set_pause_generator(pauses(stall_rate))
        self.events = []
        cocotb.start_soon(self.watch())

    @classmethod
    async def start(cls, dut, stall_rate=0.0):
        bench = cls(dut, stall_rate)
        await start(dut, inputs=["identity", "status_set"])
        return bench

    async def watch(self):
        while True:
            await RisingEdge(self.dut.clk)
            if int(self.dut.control_strobe.value):
                self.events.append(int(self.dut.control_data.value))

    async def read(self, name, offset=0):
        reply = await self.master.read(ADDRESS[name] + offset, 4)
        assert reply.resp == AxiResp.OKAY, f"{name}: {reply.resp!r}"
        return int.from_bytes(reply.data, "little")

    async def write(self, name, value):
        reply = await self.master.write(ADDRESS[name], value.to_bytes(4, "little"))
        assert reply.resp == AxiResp.OKAY, f"{name}: {reply.resp!r}"


def pauses(stall_rate):
    while True:
        yield random.random() < stall_rate


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def resets(dut):
    """Values after reset are those of the map, in the registers and at the hardware's side."""
    bench = await Bench.start(dut)
    assert await bench.read("base") == 0x1234_5678 == int(dut.base.value)
    assert await bench.read("status") == 0x201 == int(dut.status.value)
    assert await bench.read("mask") == 0
    assert await bench.read("control") == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.5])
async def read_write_and_read_only(dut, stall_rate):
    bench = await Bench.start(dut, stall_rate)
    for _ in range(30):
        base, mask, identity = (random.getrandbits(32) for _ in range(3))
        dut.identity.value = identity
        await bench.write("base", base)
        await bench.write("mask", mask)
        assert await bench.read("base") == base == int(dut.base.value)
        assert await bench.read("mask") == mask & 0x1FF == int(dut.mask.value)
        assert await bench.read("identity") == identity


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def byte_strobes(dut):
    """Only the bytes written change; a command's other bytes are zero."""
    bench = await Bench.start(dut)
    expected = bytearray(0x1234_5678.to_bytes(4, "little"))
    for _ in range(20):
        first = random.randrange(4)
        data = random.randbytes(random.randint(1, 4 - first))
        await bench.master.write(ADDRESS["base"] + first, data)
        expected[first : first + len(data)] = data
        assert await bench.read("base") == int.from_bytes(expected, "little")
    await bench.master.write(ADDRESS["control"] + 1, b"\xff")
    await bench.master.write(ADDRESS["control"], b"\xff")
    await cycles(dut, 2)
    assert bench.events == [0xF00, 0x0FF]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.5])
async def commands(dut, stall_rate):
    """Each write is one event, in order."""
    bench = await Bench.start(dut, stall_rate)
    values = [random.getrandbits(32) for _ in range(20)]
    for value in values:
        await bench.write("control", value)
    await cycles(dut, 2)
    assert bench.events == [value & 0xFFF for value in values]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def set_and_clear(dut):
    """Hardware sets, software clears what it writes as one; setting wins in the same cycle."""
    bench = await Bench.start(dut)
    dut.status_set.value = 0x0F0
    await cycles(dut, 1)
    dut.status_set.value = 0
    assert await bench.read("status") == 0x2F1
    await bench.write("status", 0x0F1)
    assert await bench.read("status") == 0x200
    dut.status_set.value = 0x003
    await bench.write("status", 0x3FF)
    assert await bench.read("status") == 0x003
    dut.status_set.value = 0
    await bench.write("status", 0x3FF)
    assert await bench.read("status") == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def setting_wins_over_clearing(dut):
    """A bit that the hardware sets is seen in the next cycle, whatever software does."""
    bench = await Bench.start(dut)

    async def set_bits():
        while True:
            bits = random.getrandbits(10) & random.getrandbits(10)
            dut.status_set.value = bits
            await RisingEdge(dut.clk)
            dut.status_set.value = 0
            await RisingEdge(dut.clk)
            assert int(dut.status.value) & bits == bits

    cocotb.start_soon(set_bits())
    for _ in range(50):
        await bench.write("status", 0x3FF)
        await cycles(dut, random.randrange(3))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def bytes_without_strobe(dut):
    """Data on lanes without a strobe is ignored; written by hand, as the master sends zeros."""
    for name in ("identity", "status_set", "s_axi_awvalid", "s_axi_wvalid", "s_axi_bready",
                 "s_axi_arvalid", "s_axi_rready", "s_axi_awprot"):  # fmt: skip
        getattr(dut, name).value = 0
    await start(dut)
    dut.s_axi_bready.value = 1
    dut.s_axi_wdata.value = 0xFFFF_FFFF
    for name, strobe in (("base", 0b0100), ("status", 0b0001), ("mask", 0b0010)):
        dut.s_axi_wstrb.value = strobe
        dut.s_axi_awaddr.value = ADDRESS[name]
        dut.s_axi_awvalid.value = 1
        dut.s_axi_wvalid.value = 1
        await cycles(dut, 1)
        dut.s_axi_awvalid.value = 0
        dut.s_axi_wvalid.value = 0
        await cycles(dut, 5)
    assert int(dut.base.value) == 0x12FF_5678
    assert int(dut.status.value) == 0x200
    assert int(dut.mask.value) == 0x100


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.5])
async def window(dut, stall_rate):
    bench = await Bench.start(dut, stall_rate)
    for index in [*range(12), 3, 11, 0]:
        assert await bench.read("stamps", 4 * index) == 3 * index + 7


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall_rate=[0.0, 0.5])
async def unmapped_addresses(dut, stall_rate):
    """An error response, no change, and the next transfer works."""
    bench = await Bench.start(dut, stall_rate)
    readable = {item.offset for item in REGISTER_MAP.registers} | set(range(0x40, 0x70, 4))
    writable = {ADDRESS[name] for name in ("control", "status", "base", "mask")}
    for address in range(0, 256, 4):
        reply = await bench.master.read(address, 4)
        good = address in readable
        assert reply.resp == (AxiResp.OKAY if good else AxiResp.SLVERR), hex(address)
        if not good:
            assert reply.data == bytes(4)
        if address not in writable:
            reply = await bench.master.write(address, b"\xff\xff\xff\xff")
            assert reply.resp == AxiResp.SLVERR, hex(address)
    assert await bench.read("base") == 0x1234_5678
    assert await bench.read("mask") == 0
    assert bench.events == []
