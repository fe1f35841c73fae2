"""hw.rtl.control.transfer: addresses in all of the largest memory, which no network fills."""

from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from hw.rtl.control.transfer import LoadEngine, StoreEngine
from tests.hw.accelerators import VERILATED

CONFIG = replace(VERILATED["shift_64"], act_depth=1 << 16)
LIMIT = 400


def addresses(engine, **command):
    """Of the activation words that the engine asks for, in order."""
    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    found = []

    async def run(ctx):
        for name, value in command.items():
            ctx.set(getattr(engine.command.payload, name), value)
        ctx.set(engine.command.valid, 1)
        ctx.set(engine.request.ready, 1)
        ctx.set(engine.act.ready, 1)
        loads = isinstance(engine, LoadEngine)
        ctx.set(engine.data.valid if loads else engine.data.ready, 1)
        for _ in range(LIMIT):
            taken, asked, address = (
                await ctx.tick().sample(engine.command.ready, engine.act.valid, engine.act.address)
            )[2:]
            if taken:
                ctx.set(engine.command.valid, 0)
            if asked:
                found.append(address)
            if len(found) == command["words"] * command["rows"]:
                return

    simulator.add_testbench(run)
    simulator.run()
    return found


@pytest.mark.parametrize("engine", [LoadEngine, StoreEngine])
@pytest.mark.parametrize(
    ("base", "stride"), [(0, 0x4001), (0x7FFE, 0x4001), (0xBFFD, 0x7FFF), (0xFFFE, 0x8000)]
)
def test_words_anywhere(engine, base, stride):
    found = addresses(engine(CONFIG), base=base, words=5, rows=3, base_stride=stride)
    places = [base + row * stride + word for row in range(3) for word in range(5)]
    assert found == [place % (1 << 16) for place in places]
