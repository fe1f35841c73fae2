"""hw.rtl.cells.delay: what tools make of it."""

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from hw.rtl.cells.delay import delayed
from hw.rtl.component import Component
from hw.rtl.verilog import emit
from hw.synth.mapping import map_design

BITS, CYCLES = 4, 6


class Delay(Component):
    """Delays ``i`` by ``CYCLES``, for near or far loads."""

    module_name = "delay"

    def __init__(self, *, far):
        self.far = far
        super().__init__({"i": In(BITS), "o": Out(BITS)})

    def build(self):
        m = Module()
        (late,) = delayed(m, ("late",), (self.i,), CYCLES, domain="data", far=self.far)
        m.d.comb += self.o.eq(late)
        return m


@pytest.mark.parametrize("far", [False, True])
def test_the_last_register_stays_one_for_far_loads(tmp_path, far):
    verilog = emit(Delay(far=far))
    cells = map_design(verilog, "delay", "xcup", keep=(), log=tmp_path / "log").cells["delay"]
    assert cells["SRL16E"] == BITS
    assert cells.get("FDRE", 0) == BITS * far
