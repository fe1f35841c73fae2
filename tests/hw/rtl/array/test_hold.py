"""Without a step nothing behind the registers in front of the array's elements switches."""

import random
import re

import pytest
from amaranth.hdl import DomainRenamer, Module, Value
from amaranth.sim import Simulator

from hw.boards.presets import PRESETS
from hw.rtl.array.array import ArraySection, registered_step
from hw.rtl.array.svpe import Svpe
from hw.rtl.array.taps import TapSvpe

CYCLES = 60
BITS = {"act_bits": 8, "weight_bits": 3, "stored_bits": 3, "acc_bits": 24}


def simulated(design, bench, vcd=None):
    simulator = Simulator(DomainRenamer({"data": "sync"})(design))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    if vcd is None:
        simulator.run()
    else:
        with simulator.write_vcd(str(vcd)):
            simulator.run()


def drive(ctx, component, step: bool) -> list[int]:
    """Random words, with a step or without; returns them."""
    words = [
        random.getrandbits(len(Value.cast(port))) for port in (component.act, component.weight)
    ]
    ctx.set(component.valid, step)
    ctx.set(Value.cast(component.act), words[0])
    ctx.set(Value.cast(component.weight), words[1])
    return words


@pytest.mark.parametrize("holds", [True, False])
def test_registers_of_a_section(holds):
    section = ArraySection(PRESETS["tiny"], 2)
    section._MustUse__silence = True
    m = Module()
    valid, _, _, act, weight = registered_step(m, section, holds=holds)
    random.seed(1)

    async def bench(ctx):
        kept = None
        for _ in range(CYCLES):
            step = random.random() < 0.5
            words = drive(ctx, section, step)
            await ctx.tick()
            kept = words if step or not holds else kept
            assert ctx.get(valid) == step
            if kept is not None:
                assert [ctx.get(Value.cast(act)), ctx.get(Value.cast(weight))] == kept

    simulated(m, bench)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ArraySection(PRESETS["tiny"], 2),
        lambda: Svpe(lanes=1, **BITS),
        lambda: TapSvpe(lanes=3, **BITS),
    ],
    ids=["section", "channel-wise", "three taps"],
)
def test_products_stay_without_a_step(make, tmp_path):
    """They change with every step, and not at all while words come that are for other units."""
    component = make()
    random.seed(1)

    async def bench(ctx):
        for number in range(3 * CYCLES):
            drive(ctx, component, number < CYCLES)
            await ctx.tick()

    simulated(component, bench, tmp_path / "run.vcd")
    before, after = product_changes(tmp_path / "run.vcd", (CYCLES + 4) / (3 * CYCLES))
    assert before > CYCLES // 2
    assert after == 0


def product_changes(vcd, share: float) -> tuple[int, int]:
    """How often registers of products change in this share of the time, and how often after it."""
    text = vcd.read_text()
    names = dict(re.findall(r"^\$var \w+ \d+ (\S+) (\S+)", text, re.MULTILINE))
    products = {short for short, name in names.items() if name.startswith("product_")}
    end = int(re.findall(r"^#(\d+)", text, re.MULTILINE)[-1])
    counts, late = [0, 0], False
    for line in text.partition("$enddefinitions")[2].splitlines():
        if line.startswith("#"):
            late = int(line[1:]) > share * end
        elif re.split(r"^b\S+ |^[01]", line)[-1] in products:
            counts[late] += 1
    return counts[0], counts[1]
