"""Tables of every width, and of knots, in Amaranth's simulator: no build."""

import random
from dataclasses import replace
from fractions import Fraction
from math import floor

import pytest
from amaranth.sim import Simulator

from hw.boards.presets import PRESETS
from hw.contract.timing import table_latency
from hw.rtl.post.knot_table import KnotTable
from hw.rtl.post.table import Table

POSITIONS, CODES = 2, 300


def configured(bits):
    return replace(PRESETS["tiny"], act_bits=bits, acc_bits=24, tables=True)


def signed(code, bits):
    return code - (code >> bits - 1 << bits)


def results(component, config, words, steps, shift=None):
    """The codes of all positions that come of ``steps``: (codes of the positions, use).

    ``words`` are written first. Each step's codes are there one cycle after they are announced.
    """
    bits, latency, found = config.act_bits, table_latency(config), []

    async def bench(ctx):
        for address, word in enumerate(words):
            ctx.set(component.write.address, address)
            ctx.set(component.write.data, word)
            ctx.set(component.write.enable, 1)
            await ctx.tick()
        ctx.set(component.write.enable, 0)
        await ctx.tick().repeat(3)
        announced = int(hasattr(component, "next_code"))
        for cycle in range(len(steps) + latency + announced):
            if announced:
                present(ctx, component.next_code, cycle)
            use = present(ctx, component.code, cycle - announced)
            ctx.set(component.use, use)
            if shift is not None:
                ctx.set(component.shift, shift)
            await ctx.tick()
            if cycle >= latency - 1 + announced:
                found.append([ctx.get(result) % (1 << bits) for result in component.result])

    def present(ctx, ports, number):
        codes, use = steps[min(max(number, 0), len(steps) - 1)]
        for port, code in zip(ports, codes, strict=True):
            ctx.set(port, signed(code, bits))
        return use

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found[: len(steps)]


def drawn(bits):
    """Steps of random codes, and the ends of the range; most of them use the table."""
    ends = [0, (1 << bits) - 1, 1 << bits - 1, (1 << bits - 1) - 1]
    for _ in range(CODES):
        codes = [random.choice([random.randrange(1 << bits), random.choice(ends)]) for _ in "ab"]
        yield codes, int(random.random() < 0.8)


@pytest.mark.parametrize("bits", [2, 4, 6, 7, 8])
def test_every_code(bits):
    random.seed(bits)
    size, rows = 1 << bits, min(64, 1 << bits)
    table = [random.randrange(size) for _ in range(size)]
    words = [
        sum(table[code] << code // rows * bits for code in range(row, size, rows))
        for row in range(rows)
    ]
    config, steps = configured(bits), list(drawn(bits))
    found = results(Table(config, positions=POSITIONS), config, words, steps)
    assert found == [[table[code] if use else code for code in codes] for codes, use in steps]


@pytest.mark.parametrize(("bits", "shift"), [(9, 0), (9, 1), (11, 2), (16, 0), (16, 5), (16, 8)])
def test_between_knots(bits, shift):
    random.seed(bits + shift)
    half = 1 << bits - 1
    ends = [-half, half - 1, 0]
    knots = [random.choice([*ends, random.randrange(-half, half)]) for _ in range(256)]
    # The function stays within the codes to the right of the last knot, too.
    following = [*knots[1:], random.choice(ends)]
    rises = [after - knot for knot, after in zip(knots, following, strict=True)]
    words = [
        knot % (1 << bits) | rise % (2 << bits) << bits
        for knot, rise in zip(knots, rises, strict=True)
    ]

    def interpolated(code):
        row, rest = divmod((code << shift) % (1 << bits), 1 << bits - 8)
        value = knots[row] + Fraction(rises[row] * rest, 1 << bits - 8)
        return floor(value + Fraction(1, 2)) % (1 << bits)

    config, steps = configured(bits), list(drawn(bits))
    found = results(KnotTable(config, positions=POSITIONS), config, words, steps, shift)
    assert found == [
        [interpolated(code) if use else code for code in codes] for codes, use in steps
    ]
