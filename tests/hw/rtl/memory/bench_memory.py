"""cocotb cases for the on-chip memories against a list of words."""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from hw.contract.structure import activation_address_bits
from hw.rtl.memory.activations import ActivationMemory
from hw.rtl.memory.wide import WideMemory
from sim.streams import start
from tests.hw.rtl.memory.designs import ACTIVATIONS, WIDE

CYCLES = 3000
#: What a pixel has that reads nothing: what it had before.
HELD = object()
PORTS = {
    "read": "valid address padded pad_lowest",
    "store": "valid address ready data",
    "drain": "valid address sub data",
    "load": "valid address bank data ready",
}


def bank(c, address):
    """Every other row of words has each two banks swapped."""
    row, place = divmod(address, c.banks)
    return place ^ 1 if row % 2 else place


class Model:
    """Words as a list; what a read that starts now will give, None where that is open.

    Reads that start in the cycle of a write, or less than ``visible`` after it, may see either
    content.
    """

    def __init__(self, depth, visible=1):
        self.words = [None] * depth
        #: The writes of this cycle, the latest first, and of those before it.
        self.writes = deque([{}], visible)

    def read(self, address):
        return None if any(address in writes for writes in self.writes) else self.words[address]

    def write(self, address, word):
        self.words[address] = word
        self.writes[0][address] = word

    def tick(self):
        self.writes.appendleft({})


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=list(ACTIVATIONS), busy=[0.15, 0.9])
async def activations(dut, name, busy):
    """All four ports at once: contents, latencies, priorities, padding."""
    c = ACTIVATIONS[name]
    ports = {
        f"{port}_{signal}": getattr(dut, f"{name}_{port}__{signal}")
        for port, signals in PORTS.items()
        for signal in signals.split()
    } | {"read_data": getattr(dut, f"{name}_read_data")}
    await start(dut, inputs=[f"{name}_{port}__valid" for port in PORTS])
    bits, word_bits = activation_address_bits(c), c.act_word_bits
    chunk_bits, chunks = c.post_lanes * c.act_bits, c.lanes // c.post_lanes
    lowest = random.getrandbits(1)
    pad = lowest << c.act_bits - 1
    ports["read_pad_lowest"].value = lowest
    padded_word = sum(pad << c.act_bits * lane for lane in range(c.lanes))
    model = Model(c.act_depth, visible=3)
    upcoming, upcoming_sub, upcoming_data = [None] * c.post_positions, 0, [0] * c.post_positions
    drained = padding = 0
    before = [0] * c.pixels
    reads = deque([[None] * c.pixels] * ActivationMemory.latency)
    stores = deque([None] * ActivationMemory.latency)
    seen = dict.fromkeys(("reads", "stores", "store waits", "load waits", "conflicts"), 0)
    load = store = None
    for cycle in range(CYCLES):
        # Before anything is asserted every word is written once.
        filling = cycle < c.act_depth

        def wants(filling=filling):
            return not filling and random.random() < busy

        # A transfer that had to wait stands unchanged.
        if load is None and (filling or wants()):
            address = cycle if filling else random.randrange(c.act_depth)
            load = address, random.getrandbits(word_bits)
        if store is None and wants():
            store = random.randrange(c.act_depth)
        # Addresses are a cycle ahead of what a transfer sees of them, in different banks.
        drain, sub, drain_data = upcoming, upcoming_sub, upcoming_data
        upcoming, upcoming_sub = [None] * c.post_positions, random.randrange(chunks)
        free = list(range(c.act_depth))
        for position in range(c.post_positions):
            if wants():
                upcoming[position] = random.choice(free)
                used = bank(c, upcoming[position])
                free = [address for address in free if bank(c, address) != used]
        pixels = [random.randrange(c.act_depth) if wants() else None for _ in range(c.pixels)]
        padded = [random.random() < 0.2 for _ in pixels]

        ports["load_valid"].value = load is not None
        if load is not None:
            ports["load_address"].value, ports["load_data"].value = load
            ports["load_bank"].value = bank(c, load[0])
        ports["store_valid"].value = store is not None
        ports["store_address"].value = random.randrange(c.act_depth) if store is None else store
        ports["drain_valid"].value = sum((a is not None) << p for p, a in enumerate(upcoming))
        ports["drain_address"].value = sum((a or 0) << bits * p for p, a in enumerate(upcoming))
        ports["drain_sub"].value = upcoming_sub
        upcoming_data = [random.getrandbits(chunk_bits) for _ in upcoming]
        # Two cycles after the addresses.
        ports["drain_data"].value = drained
        drained = sum(d << chunk_bits * p for p, d in enumerate(drain_data))
        addresses = [random.randrange(c.act_depth) if p is None else p for p in pixels]
        ports["read_address"].value = sum(a << bits * p for p, a in enumerate(addresses))
        ports["read_valid"].value = sum((a is not None) << p for p, a in enumerate(pixels))
        # A cycle after the addresses.
        ports["read_padded"].value = padding
        padding = sum(value << p for p, value in enumerate(padded))
        await RisingEdge(dut.clk)

        # Priorities are those of this cycle.
        busy_banks = {bank(c, address) for address in pixels if address is not None}
        if store is not None:
            ready = bank(c, store) not in busy_banks
            assert int(ports["store_ready"].value) == ready
            seen["store waits"] += not ready
        if load is not None:
            ready = bank(c, load[0]) not in {bank(c, a) for a in drain if a is not None}
            assert int(ports["load_ready"].value) == ready
            seen["load waits"] += not ready
            if ready:
                model.write(*load)
        for address, chunk in zip(drain, drain_data, strict=True):
            if address is None:
                continue
            old = model.words[address]
            mask = ((1 << chunk_bits) - 1) << sub * chunk_bits
            model.write(address, old & ~mask | chunk << sub * chunk_bits)
        if load is not None and ready:
            load = None
        expected, taken = [], {}
        for address, is_padded in zip(pixels, padded, strict=True):
            word = None
            if address is not None:
                winner = taken.setdefault(bank(c, address), address)
                seen["conflicts"] += winner != address
                # The lower pixel gets its word; of the other only padding is defined.
                word = model.read(address) if winner == address else None
                word = padded_word if is_padded else word
            expected.append(HELD if address is None else word)
        reads.append(expected)
        stores.append(None)
        if store is not None and int(ports["store_ready"].value):
            stores[-1] = model.read(store)
            store = None
        model.tick()

        data = int(ports["read_data"].value)
        for pixel, word in enumerate(reads.popleft()):
            actual = (data >> word_bits * pixel) & ((1 << word_bits) - 1)
            if word is HELD:
                assert actual == before[pixel], f"cycle {cycle}, pixel {pixel} changed"
            elif word is not None:
                assert actual == word, f"cycle {cycle}, pixel {pixel}: {actual:#x}, not {word:#x}"
                seen["reads"] += 1
            before[pixel] = actual
        if (word := stores.popleft()) is not None:
            assert int(ports["store_data"].value) == word
            seen["stores"] += 1
    if c.pixels == 1:
        assert seen.pop("conflicts") == 0
    assert min(seen.values()) > CYCLES * busy**2 / 50, seen


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def wide(dut):
    await start(dut, inputs=["wide_write__enable"])
    depth, width = WIDE["depth"], WIDE["width"]
    model = Model(depth)
    reads = deque([None] * WideMemory.latency)
    compared = 0
    for _ in range(1000):
        read = random.randrange(depth)
        dut.wide_read__address.value = read
        enable = random.random() < 0.5
        address, word = random.randrange(depth), random.getrandbits(width)
        dut.wide_write__enable.value = enable
        dut.wide_write__address.value, dut.wide_write__data.value = address, word
        await RisingEdge(dut.clk)
        if enable:
            model.write(address, word)
        reads.append(model.read(read))
        model.tick()
        if (expected := reads.popleft()) is not None:
            assert int(dut.wide_read__data.value) == expected
            compared += 1
    assert compared > 700
