"""Estimated power against sums by hand, and against reports of routed designs where they are."""

import csv
import math
import os
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

from hw.boards.registry import find_board
from hw.synth.area import Area
from hw.synth.power import BAND, estimate_power, power_fields

_REPORTS = Path(os.environ.get("NBQNN_DATA", "")) / "vivado-reports"


def test_parts_by_hand():
    """100,000 LUTs at 250 MHz are 25 T·Hz: 25e6 · 39 nW = 0.975 W of logic, and so on."""
    area = Area(lut=100_000, ff=200_000, bram36=400, dsp=1_000)
    power = estimate_power(area, 250, find_board("zcu102"))
    assert power.parts == {
        "logic": pytest.approx(0.975),
        "signals": pytest.approx(0.95),
        "clocks": pytest.approx(1.4),
        "bram": pytest.approx(0.62),
        "dsp": pytest.approx(0.775),
    }
    assert power.fabric == pytest.approx(4.72)
    assert (power.low, power.high) == (pytest.approx(3.445, abs=1e-3), pytest.approx(6.466, 1e-3))
    assert power.chip == pytest.approx(4.72 + 0.63 + 2.8)


def test_the_largest_preset_takes_what_was_told_by_hand():
    """6.7 W in the fabric and about 10 W on the chip, from Yosys' counts of ``zcu102-8bit``."""
    area = Area(lut=187_660, ff=296_955, bram36=659.5)
    fields = power_fields(area, 250, find_board("zcu102"))
    assert fields["estimated_power_w"] == pytest.approx(6.7, abs=0.05)
    assert fields["estimated_power_low_w"] == pytest.approx(6.71 / 1.37, abs=0.02)
    assert fields["estimated_power_high_w"] == pytest.approx(6.71 * 1.37, abs=0.02)
    assert fields["estimated_power"].chip == pytest.approx(10.1, abs=0.1)


@pytest.mark.parametrize("name", ["kv260", "pynq-z2", "ulx3s"])
def test_other_voltages_and_families_have_no_estimate(name):
    assert power_fields(Area(lut=1), 100, find_board(name)) == {}


def test_power_follows_the_clock_and_the_device():
    area, board = Area(lut=100_000, ff=100_000), find_board("zcu102")
    slow, fast = (estimate_power(area, clock, board).fabric for clock in (100, 300))
    assert fast == pytest.approx(3 * slow, rel=0.02)
    smaller = estimate_power(area, 100, replace(board, part="xczu3eg-sbva484-1-i"))
    assert (smaller.fabric, smaller.static) == (slow, 0.22)


@pytest.mark.skipif(not _REPORTS.is_dir(), reason="vivado-reports is not in NBQNN_DATA")
def test_routed_designs_are_within_the_band():
    """Clock loads and counts of each report -> its watts: families are met within the band."""
    logs = defaultdict(list)
    with (_REPORTS / "power_clocks.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["clock_loads_at_ns"]]
    for row in rows:
        text = (_REPORTS / row["file"]).read_text(errors="replace")

        def cell(name: str, column: int, text: str = text) -> float:
            found = re.search(rf"^\| +{name} +\|(.*)$", text, re.MULTILINE)
            value = found[1].split("|")[column].strip() if found else "0"
            return 0.0 if value in ("", "---") else float(value.lstrip("<"))

        watts = sum(cell(n, 0) for n in ("CLB Logic", "Signals", "Clocks", "Block RAM", "DSPs"))
        if re.search(r"\| Vccint +\| +0\.720", text) or watts < 0.05:
            continue
        loads = [tuple(map(float, one.split("@"))) for one in row["clock_loads_at_ns"].split()]
        clock = sum(1e3 * n / ns for n, ns in loads) / sum(n for n, _ in loads)
        tables = ("LUT as Logic", "LUT as Distributed RAM", "LUT as Shift Register")
        area = Area(
            lut=int(sum(cell(name, 1) for name in tables)),
            ff=int(cell("Register", 1)),
            bram36=cell("Block RAM", 1),
            dsp=int(cell("DSPs", 1)),
        )
        power = estimate_power(area, clock, find_board("zcu102"))
        logs[row["family"]].append(math.log(power.fabric / watts))
    assert len(logs) >= 19
    errors = [mean(values) for values in logs.values()]
    assert math.exp(math.sqrt(mean(e * e for e in errors))) == pytest.approx(BAND, rel=0.03)
