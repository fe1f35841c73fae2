"""Registers in front of the array's elements: nothing behind them switches without a step."""

import random

import pytest
from amaranth.hdl import DomainRenamer, Module, Value
from amaranth.sim import Simulator

from hw.boards.presets import PRESETS
from hw.rtl.array.array import ArraySection, registered_step

CYCLES = 60


@pytest.mark.parametrize("holds", [True, False])
def test_words_stay_without_a_step(holds):
    section = ArraySection(PRESETS["tiny"], 2)
    section._MustUse__silence = True
    m = Module()
    valid, _, _, act, weight = registered_step(m, section, holds=holds)
    random.seed(1)

    async def bench(ctx):
        kept = None
        for _ in range(CYCLES):
            step = random.random() < 0.5
            words = [
                random.getrandbits(len(Value.cast(port))) for port in (section.act, section.weight)
            ]
            ctx.set(section.valid, step)
            ctx.set(Value.cast(section.act), words[0])
            ctx.set(Value.cast(section.weight), words[1])
            await ctx.tick()
            kept = words if step or not holds else kept
            assert ctx.get(valid) == step
            if kept is not None:
                assert [ctx.get(Value.cast(act)), ctx.get(Value.cast(weight))] == kept

    simulator = Simulator(DomainRenamer({"data": "sync"})(m))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
