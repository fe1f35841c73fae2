"""Arrays with pixels in DSP blocks against NumPy, in Amaranth's simulator: no build."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from hw.boards.presets import PRESETS
from hw.contract.timing import array_latency
from hw.rtl.array.hybrid import HybridArray

_TINY = PRESETS["tiny"]
ARRAYS = {
    # Two sections, the second one not full.
    "sections": replace(_TINY, lanes=4, filters=10, pixels=3, post_lanes=2, dsp_pixels=2),
    # Blocks of four lanes; for some filters at more pixels. Both parts have two sections.
    "quads": replace(
        _TINY, lanes=8, filters=20, pixels=7, post_lanes=2, dsp_pixels=4, dsp_filters=10
    ),
    "ternary_quads": replace(
        _TINY, lanes=4, filters=2, pixels=3, post_lanes=2, act_bits=9, weight_bits=2, acc_bits=16,
        dsp_pixels=2,
    ),
    "many_quads": replace(_TINY, lanes=64, filters=2, pixels=3, post_lanes=2, dsp_pixels=2),
    "cascades_of_some": replace(
        _TINY, lanes=4, filters=10, pixels=3, post_lanes=2, act_bits=16, acc_bits=28, dsp_pixels=1,
        dsp_filters=6,
    ),
    "ternary": replace(
        _TINY, lanes=8, filters=2, pixels=2, post_lanes=2, act_bits=5, weight_bits=2, acc_bits=12,
        dsp_pixels=1,
    ),
    # One cascade as long as it can be, with fields as wide as they can be; two; four.
    "16bit": replace(
        _TINY, lanes=32, filters=2, pixels=2, post_lanes=2, act_bits=16, acc_bits=32, dsp_pixels=1
    ),
    "two": replace(_TINY, lanes=64, filters=2, pixels=2, post_lanes=2, acc_bits=22, dsp_pixels=1),
    "four": replace(
        _TINY, lanes=128, filters=2, pixels=2, post_lanes=2, weight_bits=4, acc_bits=26,
        dsp_pixels=1,
    ),
}  # fmt: skip
OUTPUTS = 12


def joined(values, bits):
    """Integers as one word, the first in the low bits."""
    return sum((int(value) & ((1 << bits) - 1)) << bits * i for i, value in enumerate(values))


def stimuli(c, rng):
    """Steps of outputs: (first, last, acts, codes), and None for a cycle without a step."""
    half, codes = 1 << c.act_bits - 1, 1 << c.weight_bits
    for number in range(OUTPUTS):
        count = int(rng.integers(1, 5))
        for step in range(count):
            while number % 2 and rng.random() < 0.4:
                yield None
            acts = rng.integers(-half, half, (c.pixels, c.lanes))
            weights = rng.integers(0, codes, (c.filters, c.lanes))
            if number in (1, 2):
                # Sums as large as they can be, of either sign.
                acts[:], weights[:] = -half, codes - 1 if number == 1 else codes // 2 - 1
            yield step == 0, step == count - 1, acts, weights


def expected_sums(c, acts, codes):
    """Of a step, (pixels, filters): less one for each negative weight."""
    index, negative = codes % (1 << c.weight_bits - 1), codes >> (c.weight_bits - 1)
    weights = np.where(negative, -1, 1) * ((1 << index) >> 1)
    return np.einsum("pl,fl->pf", acts, weights) - negative.sum(1)


@pytest.mark.parametrize("name", ARRAYS)
def test_every_filter_meets_every_pixel(name):
    c = ARRAYS[name]
    array = HybridArray(c)
    rng = np.random.default_rng(1)
    steps = list(stimuli(c, rng))
    #: Cycle of a result -> the sums of all pixels.
    wanted, seen = {}, {}
    sums = np.zeros((c.pixels, c.filters), np.int64)
    for cycle, step in enumerate(steps):
        if step is None:
            continue
        first, last, acts, codes = step
        sums = expected_sums(c, acts, codes) + (0 if first else sums)
        if last:
            assert abs(sums).max() < 1 << c.acc_bits - 1
            wanted[cycle + array_latency(c)] = sums

    async def bench(ctx):
        for cycle in range(len(steps) + array_latency(c) + 3):
            step = steps[cycle] if cycle < len(steps) else None
            ctx.set(array.valid, step is not None)
            if step is not None:
                first, last, acts, codes = step
                ctx.set(array.first, first)
                ctx.set(array.last, last)
                ctx.set(Value.cast(array.act), joined(acts.ravel(), c.act_bits))
                ctx.set(Value.cast(array.weight), joined(codes.ravel(), c.weight_bits))
            seen[cycle] = ctx.get(Value.cast(array.acc))
            await ctx.tick()

    simulator = Simulator(array)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(wanted) == OUTPUTS
    held = None
    for cycle, word in seen.items():
        if cycle in wanted:
            held = joined(wanted[cycle].ravel(), c.acc_bits)
        # The result stays until the next one.
        assert held is None or word == held, cycle
