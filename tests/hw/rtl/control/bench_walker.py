"""cocotb cases for the walkers against loops over the rows and columns of a map."""

import random

import cocotb
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from hw.boards.presets import PRESETS
from hw.contract.isa import BODIES, Opcode
from hw.contract.structure import activation_address_bits
from sim.streams import StreamSink, start
from tests.hw.rtl.control.designs import WALKERS

BITS = activation_address_bits(PRESETS["tiny"])
COMMANDS = 40


def random_command(pixels):
    """Maps of all widths around the pixels, and some wide ones; not always whole rows."""
    width = random.choice([*range(1, 2 * pixels + 3), random.randrange(1, 70)])
    positions = random.randrange(1, width * random.randrange(1, 9) + 1)
    fields = {name: random.getrandbits(bits) for name, bits in BODIES[Opcode.COMPUTE].items()}
    return fields | {
        "pixels": random.randrange(1, pixels + 1),
        "filter_groups": random.randrange(1, 4),
        "positions": positions,
        "out_width": width,
        "row": random.randrange(-5, 6),
        "column": random.randrange(-5, 6),
        "column_step": random.randrange(-2, 4) % (1 << 16),
        "row_step": random.randrange(-2, 4) % (1 << 16),
        "out_step": random.choice((1, 2, 3, random.randrange(1, 256))),
    }


def packed(fields):
    word, at = 0, 0
    for name, bits in BODIES[Opcode.COMPUTE].items():
        word |= (fields[name] & ((1 << bits) - 1)) << at
        at += bits
    return word


def expected(c):
    """Groups as (positions, start, filter_end, end), a position as (row, column, origin, out)."""
    groups = []
    for filter_group in range(c["filter_groups"]):
        walk = []
        origin = c["in_base"] + filter_group * c["group_origin"]
        out = c["out_base"]
        for index in range(c["positions"]):
            y, x = divmod(index, c["out_width"])
            row, column = c["row"] + y * c["row_step"], c["column"] + x * c["column_step"]
            walk.append(
                (row % (1 << 16), column % (1 << 16), origin % (1 << BITS), out % (1 << BITS))
            )
            last = x + 1 == c["out_width"]
            origin += c["origin_wrap"] if last else c["column_step"]
            out += c["out_wrap"] if last else c["out_step"]
        for at in range(0, len(walk), c["pixels"]):
            filter_end = at + c["pixels"] >= len(walk)
            end = filter_end and filter_group + 1 == c["filter_groups"]
            groups.append((walk[at : at + c["pixels"]], not groups, filter_end, end))
    return groups


def unpacked(payload, pixels):
    """A group's payload; its fields are those of :func:`hw.rtl.control.walker.group_layout`."""
    values = []
    for width in [*(16, 16, BITS, BITS) * pixels, pixels.bit_length(), 1, 1, 1]:
        values.append(payload & ((1 << width) - 1))
        payload >>= width
    count, first, filter_end, end = values[-4:]
    positions = [tuple(values[4 * i : 4 * i + 4]) for i in range(count)]
    return positions, bool(first), bool(filter_end), bool(end)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(WALKERS), stall_rate=[0.0, 0.5])
async def walks(dut, name, stall_rate):
    """All groups of many commands, whatever the map's shape and the pixels in use."""
    pixels, most = WALKERS[name]
    await start(dut, inputs=[f"{other}_start" for other in WALKERS])
    sink = StreamSink(dut, f"{name}_groups", stall_rate=stall_rate)
    for number in range(COMMANDS):
        command = random_command(pixels)
        groups = expected(command)
        getattr(dut, f"{name}_command").value = packed(command)
        getattr(dut, f"{name}_start").value = 1
        await RisingEdge(dut.clk)
        getattr(dut, f"{name}_start").value = 0
        begin = get_sim_time("ns")
        received = await sink.receive(len(groups))
        cycles = (get_sim_time("ns") - begin) / 10
        for index, (payload, group) in enumerate(zip(received, groups, strict=True)):
            actual = unpacked(payload, pixels)
            assert actual == group, f"command {number} {command}, group {index}: {actual}"
        if stall_rate == 0:
            assert cycles <= command["pixels"] + 2 + most * len(groups), (command, cycles)
        await RisingEdge(dut.clk)
        assert not int(getattr(dut, f"{name}_groups__valid").value)
