"""Sums over a hierarchy, against counts done by hand."""

import pytest

from hw.synth.area import CELL_AREAS, Area, ModuleAreas

CELLS = {
    "top": {"row": 3, "LUT6": 2, "RAMB18E2": 1},
    "row": {"pe": 4, "FDRE": 5, "RAM32M16": 1},
    "pe": {"LUT2": 10, "LUT6": 1, "DSP48E2": 1, "CARRY4": 7, "SRL16E": 2},
    "unused": {"LUT1": 99},
}


def test_a_module_counts_as_often_as_it_is_used():
    areas = ModuleAreas(CELLS, "xcup")
    pe = Area(lut=10 + 1 + 2, dsp=1)
    row = Area(lut=4 * 13 + 8, ff=5, dsp=4)
    assert areas.of("pe") == pe
    assert areas.of("row") == row
    assert areas.of("top") == Area(lut=3 * 60 + 2, ff=15, bram36=0.5, dsp=12)


def test_an_unlisted_cell_is_never_free():
    with pytest.raises(KeyError, match="URAM288"):
        ModuleAreas({"top": {"URAM288": 1}}, "xcup")


def test_halves_of_block_memories_add_up():
    assert (Area(bram36=0.5) * 3 + Area(bram36=1)).bram36 == 2.5


@pytest.mark.parametrize("family", CELL_AREAS)
def test_every_listed_area_is_of_one_resource_at_most(family):
    for cell, area in CELL_AREAS[family].items():
        used = [value for value in (area.lut, area.ff, area.bram36, area.dsp) if value]
        assert len(used) <= 1, cell
