"""Counting instances, in tables and in Verilog."""

from hw.rtl.verilog import emit
from hw.synth.hierarchy import direct_instances, instances
from hw.synth.yosys import shared_modules
from tests.hw.synth.designs import Top

CELLS = {
    "top": {"row": 3, "LUT6": 2},
    "row": {"pe": 4, "FDRE": 5},
    "pe": {"LUT2": 10},
    "unused": {"pe": 99},
}


def test_instances_multiply_along_the_hierarchy():
    assert instances(CELLS, "top") == {"top": 1, "row": 3, "pe": 12}


def test_instances_are_found_in_our_verilog():
    found = direct_instances(emit(Top()))
    assert found["nbqnn_pe_array_test"] == {"element": 4}
    assert found["element"] == {}
    assert found["nbqnn"] == {"nbqnn_pe_array_test": 1, "storage": 1, "multiplier": 2}


def test_modules_are_mapped_on_their_own_where_that_saves_time():
    """The array for its share, the element because there are four; nothing else occurs as often."""
    assert shared_modules(emit(Top()), "nbqnn") == {"nbqnn_pe_array_test", "element"}
