"""The area model: what it counts is exact, what it fits is near."""

import json
import re
from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from hw.contract.config import AcceleratorConfig
from hw.contract.timing import SHIFT_CYCLES
from hw.rtl.array.array import PeArray
from hw.rtl.array.hybrid import HybridArray
from hw.rtl.ultrascale.elements import UltrascaleSvpe
from hw.rtl.ultrascale.twins import explicit_verilog
from hw.rtl.verilog import VerilogLibrary, emit
from hw.synth.area import Area
from hw.synth.area_model import FIT_FILE, array_area, estimate_area
from hw.synth.hierarchy import direct_instances, instances, module_texts
from scripts.area_fit import SAMPLES, measured_area
from tests.nightly import NIGHTLY

_DIGITS = PRESETS["digits"]
MEASURED = json.loads(FIT_FILE.read_text())["samples"]
#: None of the samples that the model was fitted to.
OTHERS = {
    "narrow": replace(_DIGITS, lanes=8, filters=24, pixels=3, post_lanes=8, act_bits=6),
    "wide": replace(_DIGITS, lanes=32, filters=32, pixels=2, acc_bits=24, axi_data_width=128),
    "multiply": replace(_DIGITS, pe="multiply", act_bits=16, acc_bits=40, filters=8, post_lanes=8),
    "scale": replace(_DIGITS, requant="scale", pixels=4, post_positions=2, post_lanes=8),
    "functions": replace(_DIGITS, tables=True, products=True),
    "deep": replace(_DIGITS, act_depth=65536, weight_depth=4096, filters=8, post_lanes=8),
}


def tables(verilog, top):
    """Look-up tables in the text, by how often their modules are used."""
    counts = instances(direct_instances(verilog), top)
    return sum(
        count * len(re.findall(r"^  LUT\w+ #", module_texts(verilog)[name], flags=re.MULTILINE))
        for name, count in counts.items()
    )


@pytest.mark.parametrize(
    ("lanes", "act_bits", "acc_bits", "weight_bits"),
    [(4, 8, 24, 5), (8, 5, 20, 2), (16, 8, 24, 4), (16, 16, 40, 3)],
)
def test_tables_of_an_element_are_counted_exactly(lanes, act_bits, acc_bits, weight_bits):
    element = UltrascaleSvpe(
        lanes=lanes,
        act_bits=act_bits,
        weight_bits=weight_bits,
        stored_bits=weight_bits,
        acc_bits=acc_bits,
    )
    config = replace(
        _DIGITS,
        lanes=lanes,
        filters=1,
        pixels=1,
        post_lanes=1,
        act_bits=act_bits,
        weight_bits=weight_bits,
        acc_bits=acc_bits,
    )
    assert array_area(config).lut == tables(emit(element), element.module_name)


#: Arrays with pixels in DSP blocks.
HYBRID = {
    "one_cascade": replace(
        _DIGITS, lanes=8, filters=4, pixels=3, post_lanes=4, dsp_pixels=1, dsp_filters=2
    ),
    "quads": replace(
        _DIGITS, lanes=8, filters=12, pixels=6, post_lanes=4, dsp_pixels=2, dsp_filters=10
    ),
    "ternary_quads": replace(
        _DIGITS, lanes=16, filters=2, pixels=5, post_lanes=2, weight_bits=2, dsp_pixels=4
    ),
    "two_cascades": replace(_DIGITS, lanes=64, filters=2, post_lanes=2, dsp_pixels=1),
    "four_cascades": replace(
        _DIGITS, lanes=128, filters=2, post_lanes=2, dsp_pixels=1, weight_bits=4, acc_bits=26
    ),
}


@pytest.mark.parametrize("name", HYBRID)
def test_cells_of_pixels_in_blocks_are_counted_exactly(name):
    """All that is explicit; shift registers of two flags are left to synthesis."""
    config = HYBRID[name]
    library = VerilogLibrary()
    library.add(HybridArray(config))
    verilog = explicit_verilog(library.verilog(), library.components, "xcup")
    top = library.components[-1].module_name
    counts = instances(direct_instances(verilog), top)
    lines, blocks = (
        sum(count * module_texts(verilog)[name].count(cell) for name, count in counts.items())
        for cell in ("  SRLC32E #", "  DSP48E2 #")
    )
    area = array_area(config)
    elements = config.filters * config.dsp_pixels + config.dsp_filters * config.block_pixels
    simple = 0
    if not config.quads:
        # Sums of a single cascade are left to synthesis, too: a table for each bit and an inverter.
        simple = 2 + (config.acc_bits + 1) * elements * (config.cascades.count == 1)
    assert area.lut == tables(verilog, top) + lines + simple
    assert area.dsp == blocks == config.lanes * elements // (2 * config.block_pixels)


CONFIGS = {"tables": replace(_DIGITS, lanes=4, filters=32, pixels=1, post_lanes=4)}
CONFIGS["blocks"] = replace(CONFIGS["tables"], lanes=64, filters=32, pixels=2, dsp_pixels=1)
CONFIGS["quads"] = replace(CONFIGS["tables"], lanes=4, filters=64, pixels=3, dsp_pixels=2)


@pytest.mark.parametrize("name", CONFIGS)
def test_registers_of_an_array_are_counted_exactly(name):
    """As they stand in the Verilog of four tiles, but for the one that makes simulators begin.

    Words that shift registers in tables delay, and two flags, are not counted.
    """
    config = CONFIGS[name]
    array = HybridArray(config) if config.dsp_pixels else PeArray(config)
    library = VerilogLibrary()
    library.add(array)
    verilog = explicit_verilog(library.verilog(), library.components, "xcup")
    counts = instances(direct_instances(verilog), array.module_name)
    cascades = config.dsp_pixels and not config.quads
    bits = -2 * SHIFT_CYCLES if cascades else 0
    for name, count in counts.items():
        bits += count * module_texts(verilog)[name].count("  FDRE register_")
        for width in re.findall(
            r"^  reg (?:\[(\d+):0\] )?(?!_start_)\S+ += ",
            module_texts(verilog)[name],
            flags=re.MULTILINE,
        ):
            bits += count * (int(width or 0) + 1)
    assert array_area(config).ff == bits


@pytest.mark.parametrize("entry", MEASURED, ids=[entry["name"] for entry in MEASURED])
def test_near_what_it_was_fitted_to(entry):
    estimate = estimate_area(AcceleratorConfig(**entry["config"]))
    measured = Area(**entry["area"])
    assert AcceleratorConfig(**entry["config"]) == SAMPLES[entry["name"]]
    assert estimate.lut == pytest.approx(measured.lut, rel=0.02)
    assert estimate.ff == pytest.approx(measured.ff, rel=0.02)
    assert (estimate.bram36, estimate.dsp) == (measured.bram36, measured.dsp)


def test_more_of_anything_is_never_less():
    config = replace(_DIGITS, post_lanes=8, weight_bits=2)
    for name in ("lanes", "filters", "pixels", "post_lanes", "act_bits", "weight_bits", "acc_bits"):
        larger = replace(config, **{name: 2 * getattr(config, name)})
        before, after = estimate_area(config), estimate_area(larger)
        assert (after.lut, after.ff) >= (before.lut, before.ff), name
    areas = [estimate_area(replace(config, pixels=5, post_positions=n)) for n in range(1, 6)]
    assert areas == sorted(areas, key=lambda area: (area.lut, area.ff))


def test_no_multiplier_in_shift_mode():
    for config in PRESETS.values():
        without = config.pe == "shift" and not config.dsp_pixels
        assert (estimate_area(config).dsp == 0) == without


@pytest.mark.skipif(not NIGHTLY, reason="minutes of Yosys")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OTHERS)
def test_within_five_percent_where_it_was_not_fitted(name):
    config = OTHERS[name]
    assert config not in SAMPLES.values()
    measured, estimate = measured_area(config), estimate_area(config)
    assert estimate.lut == pytest.approx(measured.lut, rel=0.05)
    assert estimate.ff == pytest.approx(measured.ff, rel=0.05)
    assert estimate.bram36 == pytest.approx(measured.bram36, rel=0.05, abs=1)
    assert estimate.dsp == measured.dsp
