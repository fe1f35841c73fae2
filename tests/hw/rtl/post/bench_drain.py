"""cocotb cases for the drain: every write's cycle, place and codes, group after group."""

import math
import random
from collections import deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.contract.isa import BODIES, DRAIN_FIELDS, Opcode, Unit
from hw.contract.structure import activation_address_bits
from hw.contract.timing import drain_latency
from hw.contract.words import PRE_SHIFT, addend_bits
from hw.rtl.memory.wide import WideMemory
from hw.rtl.post.requantizer import param_layout
from nbqnn_train.graph import requantize
from sim.streams import StreamSource, start
from tests.hw.rtl.post.designs import DRAINS

COMMANDS = 25
PARAMS = 16


def packed(values):
    """(value, bits) in order, lowest first."""
    word, at = 0, 0
    for value, bits in values:
        word |= (value & ((1 << bits) - 1)) << at
        at += bits
    return word


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


class Work:
    """Random commands with their groups, and what they write."""

    def __init__(self, config, spread):
        self.c = config
        self.bits = activation_address_bits(config)
        limit = 1 << config.acc_bits + PRE_SHIFT
        self.params = [
            [
                (random.randrange(-limit, limit), random.randrange(6, 26))
                for _ in range(config.post_lanes)
            ]
            for _ in range(PARAMS)
        ]
        half = 1 << config.act_bits - 1
        #: A stored code for every stored code, the lowest first.
        self.table = [random.randrange(-half, half) for _ in range(min(256, 2 * half))]
        if config.act_bits > 8:
            # A knot and the next of each row, whose difference takes all bits in some.
            ends = [-half, half - 1]
            knots = [random.choice([*ends, code]) for code in self.table]
            self.table = [(knot, random.choice([*ends, 0, knot])) for knot in knots]
        self.commands, self.drains = [], []
        #: (unit, sums, expected cycles of writes) of each group, and the cycle it appears in.
        self.groups = []
        cycle = 60
        for _ in range(COMMANDS):
            for group in self.command():
                self.groups.append((cycle, *group))
                cycle += len(group[2]) + (random.randrange(8) if random.random() < spread else 0)

    def command(self):
        c = self.c
        unit = random.choice(list(Unit))
        low, high = sorted(random.sample(range(-(1 << c.act_bits - 1), 1 << c.act_bits - 1), 2))
        subs = c.lanes // c.post_lanes
        most = c.filters // c.post_lanes if unit is Unit.ARRAY else subs
        fields = {
            "unit": unit,
            "chunks": random.randrange(1, most + 1),
            "sub": random.randrange(subs),
            "out_plane": random.randrange(1 << self.bits),
            "param_base": random.randrange(PARAMS),
            "param_step": random.randrange(2),
            "low": low,
            "high": high,
            "table": random.randrange(2) * c.tables * (1 + 2 * random.randrange(c.act_bits - 7)),
        }
        assert set(fields) == set(DRAIN_FIELDS)
        self.commands.append(
            packed((fields[name], BODIES[Opcode.COMPUTE][name]) for name in DRAIN_FIELDS)
        )
        sub, plane, param = fields["sub"], 0, fields["param_base"]
        filter_groups = random.randrange(1, 4)
        for filter_group in range(filter_groups):
            groups = random.randrange(1, 4)
            for number in range(groups):
                count = c.pixels if number + 1 < groups else random.randrange(1, c.pixels + 1)
                filter_end = number + 1 == groups
                end = filter_end and filter_group + 1 == filter_groups
                outs = [random.randrange(1 << self.bits) for _ in range(c.pixels)]
                self.drains.append(
                    packed(
                        [(out, self.bits) for out in outs]
                        + [(count, c.pixels.bit_length()), (filter_end, 1), (end, 1)]
                    )
                )
                sums, writes = self.results(fields, outs[:count], sub, plane, param)
                yield unit, sums, writes, end
            for _ in range(fields["chunks"]):
                param += fields["param_step"]
                sub, plane = (
                    (0, plane + fields["out_plane"]) if sub + 1 == subs else (sub + 1, plane)
                )

    def looked_up(self, code, shift):
        bits = self.c.act_bits
        if bits <= 8:
            return self.table[code + (1 << bits - 1)]
        row, fraction = divmod((code << shift) % (1 << bits), 1 << bits - 8)
        knot, following = self.table[row]
        return knot + math.floor((following - knot) * fraction / 2 ** (bits - 8) + 0.5)

    def results(self, fields, outs, sub, plane, param):
        """Sums of all pixels, and for each cycle the writes [(address, sub, codes), ...]."""
        c = self.c
        unit, subs = fields["unit"], c.lanes // c.post_lanes
        width = c.filters if unit is Unit.ARRAY else c.lanes
        bits = c.act_bits if unit is Unit.MAX else c.acc_bits
        sums = [
            [signed(random.getrandbits(bits), bits) for _ in range(width)] for _ in range(c.pixels)
        ]
        writes = []
        for first in range(0, len(outs), c.post_positions):
            at_sub, at_plane = sub, plane
            for chunk in range(fields["chunks"]):
                params = self.params[(param + chunk * fields["param_step"]) % PARAMS]
                addends, shifts = np.array(params).T
                cycle = []
                for pixel in range(first, min(first + c.post_positions, len(outs))):
                    accs = sums[pixel][chunk * c.post_lanes : (chunk + 1) * c.post_lanes]
                    codes = requantize(
                        np.array(accs),
                        1 << PRE_SHIFT,
                        # The addend has the rounding's half in it.
                        addends - (1 << shifts >> 1),
                        shifts,
                        fields["low"],
                        fields["high"],
                    )
                    if fields["table"]:
                        codes = [self.looked_up(int(code), fields["table"] >> 1) for code in codes]
                    address = (outs[pixel] + at_plane) % (1 << self.bits)
                    cycle.append(
                        (address, at_sub, packed((int(code), c.act_bits) for code in codes))
                    )
                writes.append(cycle)
                last = at_sub + 1 == subs
                at_sub, at_plane = (
                    (0, at_plane + fields["out_plane"]) if last else (at_sub + 1, at_plane)
                )
        return packed((value, bits) for values in sums for value in values), writes


async def write_table(dut, name, config, table):
    """Word w has the codes of the stored codes w, w + 64 and so on, as unsigned numbers; of knots
    the knot and the rise to the next."""
    size, bits = len(table), config.act_bits
    for word in range(64 if bits <= 8 else 256):
        fields = [(table[(code + size // 2) % size], bits) for code in range(word, size, 64)]
        if bits > 8:
            knot, following = table[word]
            fields = [(knot, bits), (following - knot, bits + 1)]
        getattr(dut, f"{name}_table__enable").value = 1
        getattr(dut, f"{name}_table__address").value = word
        getattr(dut, f"{name}_table__data").value = packed(fields)
        await RisingEdge(dut.clk)
    getattr(dut, f"{name}_table__enable").value = 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(name=list(DRAINS), spread=[0.0, 0.5])
async def drains(dut, name, spread):
    """Groups of all units, as close as they may follow each other and further apart."""
    c = DRAINS[name]
    port = {port: getattr(dut, f"{name}_{port}") for port in (
        "acc", "max", "sum", "result_soon", "param__data", "param__address",
        "write__valid", "write__address", "write__sub", "write__data", "group_done", "command_done",
    )}  # fmt: skip
    inputs = [f"{name}_result_soon"] + [f"{name}_table__enable"] * c.tables
    await start(dut, inputs=inputs)
    work = Work(c, spread)
    for stream, payloads in (("commands", work.commands), ("drains", work.drains)):
        cocotb.start_soon(StreamSource(dut, f"{name}_{stream}").send(payloads))
    if c.tables:
        await write_table(dut, name, c, work.table)
    latency = drain_latency(c)
    expected, dones, ends = {}, set(), set()
    for cycle, _, _, writes, end in work.groups:
        for number, write in enumerate(writes):
            expected[cycle + number + latency] = write
        dones.add(cycle + len(writes) + latency)
        if end:
            ends.add(cycle + len(writes) + latency)
    appear = {group[0]: group for group in work.groups}
    words = [
        packed(
            field for addend, shift in params for field in ((addend, addend_bits(c)), (shift, 6))
        )
        for params in work.params
    ]
    assert len(port["param__data"]) == c.post_lanes * param_layout(c).size
    params = deque([0] * (WideMemory.latency - 1))
    chunk_bits = c.post_lanes * c.act_bits
    compared = 0
    for cycle in range(max(dones) + 5):
        port["result_soon"].value = cycle + 2 in appear
        if cycle in appear:
            _, unit, sums, _, _ = appear[cycle]
            port[{Unit.ARRAY: "acc", Unit.MAX: "max", Unit.SUM: "sum"}[unit]].value = sums
        await RisingEdge(dut.clk)
        params.append(words[int(port["param__address"].value) % PARAMS])
        port["param__data"].value = params.popleft()
        valid = int(port["write__valid"].value)
        assert int(port["group_done"].value) == (cycle in dones), cycle
        assert int(port["command_done"].value) == (cycle in ends), cycle
        # Addresses are two cycles ahead of their data.
        writes = expected.get(cycle + 2, [])
        assert valid == (1 << len(writes)) - 1, f"cycle {cycle}: {valid:b}, not {len(writes)}"
        for index, (address, sub, _) in enumerate(writes):
            actual = (
                int(port["write__address"].value) >> index * work.bits & (1 << work.bits) - 1,
                int(port["write__sub"].value),
            )
            assert actual == (address, sub), f"cycle {cycle}, position {index}"
        for index, (_, _, codes) in enumerate(expected.get(cycle, [])):
            actual = int(port["write__data"].value) >> index * chunk_bits & (1 << chunk_bits) - 1
            assert actual == codes, f"cycle {cycle}, position {index}"
            compared += 1
    assert compared > 2 * COMMANDS
