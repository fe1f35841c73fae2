"""cocotb cases for the reader and the writer, against the AXI4 memory of cocotbext-axi.

The memory model itself checks that bursts stay within 4 KiB; here data, order, ends, errors and
the number of bursts are compared with what was asked for.
"""

import random

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiResp, AxiSlave, MemoryRegion
from cocotbext.axi.address_space import AddressSpace

from sim.runner import parameters
from sim.streams import StreamSink, StreamSource, cycles, start
from tests.hw.rtl.axi.designs import ADDRESS_WIDTH

DATA_WIDTH = parameters()["data_width"]
BURST_BEATS = parameters()["burst_beats"]
OUTSTANDING = parameters()["outstanding"]
STEP = DATA_WIDTH // 8
SIZE = 2**16
#: Addresses from here on to the end of the memory answer with an error.
FAULTY = SIZE


class FaultyRegion(MemoryRegion):
    """Answers every access with an error."""

    async def _read(self, address, length, **kwargs):
        raise RuntimeError("faulty")

    async def _write(self, address, data, **kwargs):
        raise RuntimeError("faulty")


class Bench:
    """The design between streams and a memory model with random pauses."""

    def __init__(self, dut, stall_rate, memory_stall_rate):
        self.dut = dut
        self.space = AddressSpace(2**ADDRESS_WIDTH)
        region = MemoryRegion(SIZE)
        self.memory = region.mem
        self.space.register_region(region, 0)
        self.space.register_region(FaultyRegion(4096), FAULTY)
        slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, target=self.space)
        write, read = slave.write_if, slave.read_if
        for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                        read.r_channel):  # fmt: skip
            channel.set_pause_generator(pauses(memory_stall_rate))
        self.read_request = StreamSource(dut, "read_request", stall_rate=stall_rate)
        self.read_data = StreamSink(dut, "read_data", stall_rate=stall_rate)
        self.write_request = StreamSource(dut, "write_request", stall_rate=stall_rate)
        self.write_data = StreamSource(dut, "write_data", stall_rate=stall_rate)
        self.errors = {"read": [], "write": []}
        self.done = 0
        self.bursts = {"ar": [], "aw": []}
        cocotb.start_soon(self.watch())

    @classmethod
    async def start(cls, dut, stall_rate=0.0, memory_stall_rate=0.0):
        bench = cls(dut, stall_rate, memory_stall_rate)
        await start(dut, inputs=["cancel"])
        return bench

    async def watch(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            for side, errors in self.errors.items():
                if int(getattr(dut, f"{side}_error").value):
                    errors.append(int(getattr(dut, f"{side}_error_response").value))
            self.done += int(dut.write_done.value)
            for name, bursts in self.bursts.items():
                signal = {
                    part: getattr(dut, f"m_axi_{name}{part}")
                    for part in ("valid", "ready", "addr", "len", "size", "burst", "cache", "prot")
                }
                if int(signal["valid"].value) and int(signal["ready"].value):
                    bursts.append((int(signal["addr"].value), int(signal["len"].value) + 1))
                    assert 1 << int(signal["size"].value) == STEP
                    assert int(signal["burst"].value) == 1
                    assert int(signal["cache"].value) == 3
                    assert int(signal["prot"].value) == 0

    async def idle(self, *sides):
        """Waits until nothing is outstanding, and for the events of the last response."""
        for side in sides:
            await with_timeout(self._idle(side), 1, "ms")
        await cycles(self.dut, 2)

    async def _idle(self, side):
        while int(getattr(self.dut, f"{side}_busy").value):
            await RisingEdge(self.dut.clk)


def pauses(stall_rate):
    while True:
        yield random.random() < stall_rate


def request(address, beats):
    return address | beats << ADDRESS_WIDTH


def random_requests(count):
    """Of all lengths, at all places: some across pages, some of no beats, one of a whole page."""
    requests = [(4096 - STEP, 2), (STEP, 1), (0, 4096 // STEP), (8192, 0), (4096 - 5 * STEP, 40)]
    for _ in range(count):
        beats = random.choice([0, 1, 2, random.randint(1, 100)])
        address = random.randrange(0, SIZE - beats * STEP, STEP)
        requests.append((address, beats))
    random.shuffle(requests)
    return requests


def expected_bursts(requests):
    """An independent count: a burst ends at the next multiple of a full burst."""
    bursts = []
    for address, beats in requests:
        first, end = address // STEP, address // STEP + beats
        while first < end:
            stop = min(end, (first // BURST_BEATS + 1) * BURST_BEATS)
            bursts.append((first * STEP, stop - first))
            first = stop
    return bursts


RATES = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(rates=RATES)
async def reads(dut, rates):
    bench = await Bench.start(dut, *rates)
    content = random.randbytes(SIZE)
    bench.memory[: len(content)] = bytes(content)
    requests = random_requests(25)
    expected = []
    for address, beats in requests:
        for beat in range(beats):
            place = address + beat * STEP
            data = int.from_bytes(content[place : place + STEP], "little")
            expected.append(data | (beat == beats - 1) << DATA_WIDTH)
    cocotb.start_soon(bench.read_request.send(request(*item) for item in requests))
    received = await bench.read_data.receive(len(expected), timeout_us=4000)
    for index, (got, want) in enumerate(zip(received, expected, strict=True)):
        assert got == want, f"beat {index}: {got:#x}, not {want:#x}"
    await bench.idle("read")
    assert bench.bursts["ar"] == expected_bursts(requests)
    assert not bench.errors["read"]


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(rates=RATES)
async def writes(dut, rates):
    bench = await Bench.start(dut, *rates)
    content = bytearray(random.randbytes(SIZE))
    bench.memory[: len(content)] = bytes(content)
    requests = random_requests(25)
    beats = []
    for address, count in requests:
        data = random.randbytes(count * STEP)
        content[address : address + len(data)] = data
        beats += [int.from_bytes(data[i : i + STEP], "little") for i in range(0, len(data), STEP)]
    sending = cocotb.start_soon(bench.write_request.send(request(*item) for item in requests))
    await bench.write_data.send(beats, timeout_us=4000)
    # All data may be in the buffer before the last request is there.
    await sending
    await bench.idle("write")
    assert bench.memory[:] == content
    assert bench.bursts["aw"] == expected_bursts(requests)
    assert bench.done == sum(count > 0 for _, count in requests)
    assert not bench.errors["write"]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reads_and_writes_at_once(dut):
    """Neither side disturbs the other."""
    bench = await Bench.start(dut, 0.1, 0.2)
    content = random.randbytes(SIZE // 2)
    bench.memory[: len(content)] = bytes(content)
    count = 300
    data = random.randbytes(count * STEP)
    beats = [int.from_bytes(data[i : i + STEP], "little") for i in range(0, len(data), STEP)]
    cocotb.start_soon(bench.write_data.send(beats))
    cocotb.start_soon(bench.write_request.send([request(SIZE // 2, count)]))
    cocotb.start_soon(bench.read_request.send([request(STEP, count)]))
    received = await bench.read_data.receive(count)
    await bench.idle("read", "write")
    read = b"".join((beat % 2**DATA_WIDTH).to_bytes(STEP, "little") for beat in received)
    assert read == content[STEP : STEP + len(data)]
    assert bench.memory[SIZE // 2 : SIZE // 2 + len(data)] == data


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def error_responses(dut):
    """Transfers into a faulty region end, say so, and the next ones work."""
    bench = await Bench.start(dut, 0.2, 0.2)
    content = random.randbytes(64 * STEP)
    bench.memory[: len(content)] = bytes(content)
    beats = 20
    cocotb.start_soon(
        bench.read_request.send([request(FAULTY, beats), request(0, beats), request(2**31, 1)])
    )
    received = await bench.read_data.receive(2 * beats + 1)
    ends = [beat >> DATA_WIDTH for beat in received]
    assert ends == 2 * ([0] * (beats - 1) + [1]) + [1]
    await bench.idle("read")
    assert bench.errors["read"][:beats] == [AxiResp.SLVERR] * beats
    assert len(bench.errors["read"]) == beats + 1

    cocotb.start_soon(
        bench.write_request.send([request(FAULTY, beats), request(0, beats), request(2**31, 1)])
    )
    await bench.write_data.send(range(2 * beats + 1))
    await bench.idle("write")
    assert len(bench.errors["write"]) == len(expected_bursts([(FAULTY, beats)])) + 1
    assert bench.errors["write"][0] == AxiResp.SLVERR
    assert bench.done == 3
    assert bench.memory[5 * STEP] == beats + 5


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_slow_producer(dut):
    """A burst is announced when its last beat is there, not before."""
    bench = await Bench.start(dut)
    await bench.write_request.send([request(0, BURST_BEATS)])
    await bench.write_data.send(range(BURST_BEATS - 1))
    await cycles(dut, 20)
    assert not bench.bursts["aw"]
    await bench.write_data.send([BURST_BEATS - 1])
    await cycles(dut, 5)
    assert bench.bursts["aw"] == [(0, BURST_BEATS)]
    await bench.idle("write")
    assert bench.memory[(BURST_BEATS - 1) * STEP] == BURST_BEATS - 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_stuck_consumer(dut):
    """Bursts stop before the buffer overflows, and nothing is lost."""
    bench = await Bench.start(dut)
    content = random.randbytes(SIZE)
    bench.memory[: len(content)] = bytes(content)
    count = 3 * OUTSTANDING * BURST_BEATS
    await bench.read_request.send([request(0, count)])
    await cycles(dut, 2 * count)
    assert len(bench.bursts["ar"]) == OUTSTANDING
    assert int(dut.m_axi_rready.value) == 1
    received = await bench.read_data.receive(count)
    read = b"".join((beat % 2**DATA_WIDTH).to_bytes(STEP, "little") for beat in received)
    assert read == content[: count * STEP]


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BURST_BEATS * OUTSTANDING < 64)
async def throughput(dut):
    """A beat per cycle once under way, with nobody pausing, if bursts cover the latency."""
    bench = await Bench.start(dut)
    count = 400
    dut.read_data__ready.value = 1
    cocotb.start_soon(bench.read_request.send([request(0, count)]))
    gaps, seen, since = [], 0, 0
    while seen < count:
        await RisingEdge(dut.clk)
        since += 1
        if int(dut.read_data__valid.value):
            gaps.append(since)
            seen, since = seen + 1, 0
    # The first gap is the latency. (The memory model takes a cycle between bursts.)
    assert sum(gaps[1:]) <= count + 2 * count // BURST_BEATS, gaps

    cocotb.start_soon(bench.write_request.send([request(0, count)]))
    await bench.write_data.send(range(count // 2))
    begin = cocotb.utils.get_sim_time("ns")
    await bench.write_data.send(range(count // 2))
    spent = (cocotb.utils.get_sim_time("ns") - begin) / 10
    assert spent <= count // 2 + 2 * count // BURST_BEATS, spent


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(delay=range(2 * BURST_BEATS) if BURST_BEATS < 32 else [1, 30, 300])
async def cancel(dut, delay):
    """Whatever is under way is completed or dropped, and the next transfers are whole.

    At every cycle of two bursts, as what may go wrong takes a certain cycle.
    """
    bench = await Bench.start(dut, 0.0, 0.3 if delay % 2 else 0.0)
    content = random.randbytes(SIZE)
    bench.memory[: len(content)] = bytes(content)
    reading = cocotb.start_soon(bench.read_request.send([request(STEP, 200)] * 3))
    writing = cocotb.start_soon(bench.write_request.send([request(0, 200)] * 3))
    filling = cocotb.start_soon(bench.write_data.send(range(1000)))
    await cycles(dut, 10 + delay)
    for task in (reading, writing, filling):
        task.cancel()
    dut.cancel.value = 1
    await cycles(dut, 2)
    for name in ("read_request", "write_request", "write_data"):
        getattr(dut, f"{name}__valid").value = 0
    started = {name: len(bursts) for name, bursts in bench.bursts.items()}
    await bench.idle("read", "write")
    for name, bursts in bench.bursts.items():
        assert len(bursts) <= started[name] + 1, f"{name}: more than what was offered already"
    for index in range(200):
        place = index * STEP
        was = content[place : place + STEP]
        written = {(index + 200 * time).to_bytes(STEP, "little") for time in range(3)}
        assert bench.memory[place : place + STEP] in {was, *written}, f"beat {index}"
    dut.cancel.value = 0
    await cycles(dut, 1)
    bench.done = 0

    content = bench.memory[:]
    beats = 50
    cocotb.start_soon(bench.read_request.send([request(8192, beats)]))
    received = await bench.read_data.receive(beats)
    read = b"".join((beat % 2**DATA_WIDTH).to_bytes(STEP, "little") for beat in received)
    assert read == content[8192 : 8192 + beats * STEP]
    assert [beat >> DATA_WIDTH for beat in received] == [0] * (beats - 1) + [1]
    cocotb.start_soon(bench.write_request.send([request(SIZE // 2, beats)]))
    await bench.write_data.send(7 * index for index in range(beats))
    await bench.idle("write")
    assert bench.done == 1
    for index in range(beats):
        place = SIZE // 2 + index * STEP
        assert int.from_bytes(bench.memory[place : place + STEP], "little") == 7 * index
