"""Presets of narrow weights and activations, and with DSP blocks: what they take, and exactness."""

from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from hw.boards.registry import find_board
from hw.compiler import compile_graph
from hw.contract.memory_timing import MemoryTiming
from hw.explore.candidates import Budget
from hw.synth.area_model import array_area, estimate_area
from tests.hw.networks import images, small_network, traced_codes
from tests.hw.runs import compare

#: Preset -> most look-up tables of the array for a lane.
NARROW = {"zcu102-2bit": 10.5, "zcu102-4bit": 8.5, "zcu102-w4": 26}
#: Presets with pixels in DSP blocks.
HYBRID = ("zcu102-8bit-hybrid", "zcu102-16bit-hybrid")
#: The sizes of the small version, which is simulated.
SMALL = {
    "lanes": 8,
    "filters": 8,
    "pixels": 2,
    "post_lanes": 4,
    "post_positions": 2,
    "act_depth": 1024,
    "weight_depth": 64,
    "param_depth": 16,
    "axi_data_width": 64,
    "axi_ports": 1,
}


@pytest.mark.parametrize("name", [*NARROW, *HYBRID])
def test_fits_the_board(name):
    board = find_board("zcu102")
    area, budget = estimate_area(PRESETS[name]), Budget.of(board)
    assert area.lut <= budget.lut
    assert area.bram36 <= budget.bram36
    assert area.dsp <= 0.9 * board.dsp


@pytest.mark.parametrize("name", NARROW)
def test_tables_of_a_lane(name):
    config = PRESETS[name]
    assert array_area(config).lut <= NARROW[name] * config.multiplies_per_cycle


@pytest.mark.parametrize("name", [*NARROW, *HYBRID])
def test_one_pixel_more_does_not_fit(name):
    config = PRESETS[name]
    larger = replace(config, pixels=config.pixels + 1)
    assert estimate_area(larger).lut > Budget.of(find_board("zcu102")).lut


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NARROW)
def test_every_code(accelerator_model, name):
    """Every kind of layer, on an accelerator of the same widths with fewer lanes."""
    config = replace(PRESETS[name], name=f"{name}-small", **SMALL)
    graph = small_network(act_bits=config.act_bits, weight_bits=config.weight_bits, scale=False)
    driver, _ = accelerator_model(config).driver(
        compile_graph(graph, config), timing=MemoryTiming(stall_rate=0.2)
    )
    x = images(graph, 2)
    for image, expected in zip(x, traced_codes(graph, x), strict=True):
        compare(driver, image, expected)
