"""Area from Yosys: the sum over modules, the array's share, what goes wrong."""

import re
from uuid import uuid4

import pytest

from hw.boards.registry import find_board
from hw.rtl.verilog import emit
from hw.synth.area import Area, ModuleAreas
from hw.synth.mapping import map_design
from hw.synth.yosys import shared_modules, synth_yosys
from nbqnn_train.graph.errors import NbqnnError
from tests.hw.synth.designs import Top


def test_result_counts_every_resource_and_the_array(build):
    steps = []
    result = synth_yosys(build, find_board("zcu102"), steps.append)
    assert (result.board, result.tool) == ("zcu102", "yosys")
    assert result.bram36 == 1
    assert result.dsp == 2
    assert result.share["lut"] == round(100 * result.lut / 274_080, 2)
    assert result.share["dsp"] == round(100 * 2 / 2_520, 2)
    assert "TECHMAP" in steps
    assert "SYNTH_XILINX" in (build / "yosys-zcu102.log").read_text()

    # Multiplication, block memory and additions: slower than one table, faster than 100 MHz.
    timing = result.estimated_timing
    assert 100 < result.estimated_mhz < 700
    assert result.estimated_low_mhz < result.estimated_mhz < result.estimated_high_mhz
    assert (timing.loops, timing.unknown) == (0, 0)
    assert {path.component for path in timing.paths} >= {"nbqnn", "element"}
    assert result.clock_mhz == 200
    assert type(result).from_json(result.to_json()) == result

    array, modules = result.array, result.modules
    assert modules.keys() == {"nbqnn", "nbqnn_pe_array_test", "element"}
    assert modules["element"].instances == 4
    # The array's share is its whole subtree: the elements, and one register a bit of its adder.
    assert array.lut == modules["nbqnn_pe_array_test"].lut
    assert array.lut > 4 * modules["element"].lut > 0
    assert array.ff == 4 * modules["element"].ff + 22
    whole = Area(lut=result.lut, ff=result.ff, bram36=result.bram36, dsp=result.dsp)
    assert sum(result.components.values(), Area()) == whole
    assert len(result.components) > 1
    assert array.dsp == 0
    assert array.lanes == 8 * 8 * 1  # of the configuration
    assert array.lut_per_lane == round(array.lut / 64, 2)


def test_sum_over_modules_agrees_with_a_flat_run(tmp_path):
    """Independent of our summing: Yosys maps and counts the whole design as one module."""
    verilog, areas = emit(Top()), []
    for keep in (shared_modules(verilog, "nbqnn"), ()):
        cells = map_design(verilog, "nbqnn", "xcup", keep=keep, log=tmp_path / "log").cells
        assert cells.keys() == {"nbqnn", *keep}
        areas.append(ModuleAreas(cells, "xcup").of("nbqnn"))
    summed, flat = areas
    assert summed.lut == pytest.approx(flat.lut, rel=0.03)
    assert summed.ff == pytest.approx(flat.ff, rel=0.03)
    assert (summed.bram36, summed.dsp) == (flat.bram36, flat.dsp)


def test_a_change_inside_a_module_maps_nothing_around_it(tmp_path):
    verilog, log = emit(Top()), tmp_path / "log"
    keep = shared_modules(verilog, "nbqnn")
    first = map_design(verilog, "nbqnn", "xcup", keep=keep, log=log)
    # Another text each time: what was mapped before comes from a cache.
    changed = re.sub(r"(^module element\(.*;\n)", rf"\1  // {uuid4()}\n", verilog, flags=re.M)
    again = map_design(changed, "nbqnn", "xcup", keep=keep, log=log)
    assert again.cells == first.cells
    assert "Module nbqnn was mapped before." in log.read_text()
    assert "Module element was mapped before." not in log.read_text()


def test_a_small_board_has_cells_of_its_own(build):
    result = synth_yosys(build, find_board("ulx3s"))
    assert result.dsp == 2
    assert result.bram36 == 1  # two memories of 18 Kbit
    assert result.modules["element"].instances == 4


def test_yosys_refusing_the_verilog_is_one_line_and_leaves_a_log(build):
    path = build / "rtl" / "nbqnn.v"
    path.write_text(path.read_text().replace("  assign", "  asign", 1))
    with pytest.raises(NbqnnError, match=r"^Yosys must accept .* \w+\.v:\d+: ERROR: .*$"):
        synth_yosys(build, find_board("zcu102"))
    assert "ERROR" in (build / "yosys-zcu102.log").read_text()


def test_a_folder_that_is_no_build_is_refused(tmp_path):
    with pytest.raises(NbqnnError, match=r"must be a folder that generate wrote: no hw\.json$"):
        synth_yosys(tmp_path, find_board("zcu102"))
    assert not list(tmp_path.iterdir())


def test_a_build_without_rtl_is_refused(build):
    (build / "rtl" / "nbqnn.v").unlink()
    with pytest.raises(NbqnnError, match=r"rtl/nbqnn\.v cannot be read: No such file"):
        synth_yosys(build, find_board("zcu102"))
