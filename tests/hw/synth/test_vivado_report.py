"""Vivado's reports: excerpts of our own in their form, and real ones of six versions."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hw.boards.presets import load_config
from hw.boards.registry import find_board
from hw.synth.area import Area
from hw.synth.vivado import read_vivado, run_vivado, write_vivado
from hw.synth.vivado_report import (
    Power,
    Timing,
    read_hierarchy,
    read_power,
    read_timing,
    read_utilization,
    tool_version,
)
from nbqnn_train.graph.errors import NbqnnError
from tests.hw.synth.reports import HIERARCHY, MET, MISSED, POWER, TIMING, UTILIZATION, header
from tests.hw.synth.test_saif import SAIF
from tests.hw.synth.tops import MASTERS, empty_build, top_verilog

BOARD = find_board("zcu102")


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "some.rpt"
        path.write_text(text)
        return path

    return write


def test_utilization(file):
    path = file(header("report_utilization", state="Synthesized") + UTILIZATION)
    assert read_utilization(path) == Area(lut=21439, ff=30073, bram36=20.5, dsp=32)
    assert tool_version(path) == "Vivado v.2023.1"


def test_hierarchy(file):
    rows = read_hierarchy(file(header("report_utilization -hierarchical") + HIERARCHY))
    assert [row.path for row in rows] == [
        *("", "accelerator", "accelerator/core", "accelerator/core/compute"),
        *("accelerator/core/compute/array", "accelerator/core/compute/array/pe_0"),
        *("accelerator/core/compute/drain", "accelerator/core/weight_memory"),
    ]
    assert rows[1].module == "nbqnn"
    assert rows[1].area == Area(lut=21000, ff=4000, bram36=20.5, dsp=32)


def test_timing(file):
    command = header("report_timing_summary")
    met = Timing(setup_slack_ns=0.25, hold_slack_ns=0.045, period_ns=4.0, met=True)
    assert read_timing(file(command + MET)) == met
    missed = replace(met, setup_slack_ns=-1.0, met=False)
    assert read_timing(file(command + MISSED)) == missed


def test_power(file):
    assert read_power(file(header("report_power") + POWER)) == Power(
        total_w=3.156, dynamic_w=2.483, static_w=0.673, confidence="High", activity=True
    )


READERS = {
    "report_utilization": (read_utilization, UTILIZATION),
    "report_utilization -hierarchical": (read_hierarchy, HIERARCHY),
    "report_timing_summary": (read_timing, MET),
    "report_power": (read_power, POWER),
}


@pytest.mark.parametrize("command", READERS)
def test_reports_cut_off_anywhere(file, command):
    """Each is refused in one line, or was cut where nothing more was wanted."""
    reader, text = READERS[command]
    text = header(command) + text
    whole = reader(file(text))
    refused = 0
    for length in range(0, len(text), 7):
        try:
            assert reader(file(text[:length])) == whole
        except NbqnnError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(text) // 7 // 2


@pytest.mark.parametrize("command", READERS)
def test_reports_of_others(file, command, tmp_path):
    reader, text = READERS[command]
    for other in READERS:
        if other.split()[0] != command.split()[0]:
            with pytest.raises(NbqnnError, match=f"must be of {command.split()[0]}, not of repo"):
                reader(file(header(other) + READERS[other][1]))
    with pytest.raises(NbqnnError, match=r"must be a report of Vivado, but does not say so$"):
        reader(file('{"fmax": {}}'))
    with pytest.raises(NbqnnError, match=r"must be a report of Vivado, but does not say so$"):
        reader(file(text))
    (tmp_path / "some.rpt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NbqnnError, match=r"must be a report of Vivado, but is no text$"):
        reader(tmp_path / "some.rpt")
    with pytest.raises(NbqnnError, match="cannot be read: No such file"):
        reader(tmp_path / "none.rpt")


def test_a_hierarchy_is_no_utilization(file):
    path = file(header("report_utilization -hierarchical") + HIERARCHY)
    with pytest.raises(NbqnnError, match=r"must be complete, but lacks 'CLB LUTs'$"):
        read_utilization(path)


def test_no_constraints(file):
    text = header("report_timing_summary") + TIMING.format(
        wns="NA", verdict="There are no user specified timing constraints."
    )
    with pytest.raises(NbqnnError, match="must be of a design with a clock constraint, but has no"):
        read_timing(file(text))


# A whole build ----------------------------------------------------------------------------------


@pytest.fixture
def reports(tmp_path):
    """A build with the reports that Vivado would leave; gives the build and the reports' folder."""
    build = empty_build(tmp_path / "build", top_verilog(MASTERS[1]))
    write_vivado(build, BOARD)
    folder = build / "vivado-zcu102" / "reports"
    folder.mkdir()
    for name, command in (
        ("utilization", "report_utilization"),
        ("hierarchy", "report_utilization -hierarchical"),
        ("timing", "report_timing_summary"),
        ("power", "report_power"),
    ):
        (folder / f"route_{name}.rpt").write_text(header(command) + READERS[command][1])
    return build, folder


def test_result_of_a_build(reports):
    build, folder = reports
    lanes = load_config(preset="tiny").multiplies_per_cycle
    result = read_vivado(build, BOARD)
    assert result.tool == "vivado"
    assert result.tool_version == "Vivado v.2023.1"
    assert result.area == Area(lut=21439, ff=30073, bram36=20.5, dsp=32)
    assert result.board == "zcu102"
    assert result.share["lut"] == 7.82
    array = result.array
    # The parts of the array are not counted once more.
    assert (array.lut, array.ff, array.dsp, array.lanes) == (10000, 2000, 0, lanes)
    # 4 ns, of which a quarter is left over.
    assert result.fmax_mhz == 266.67
    assert result.met is True
    assert set(result.components) == {
        *("compute", "compute/array", "compute/drain", "weight_memory"),
    }
    assert result.power["total_w"] == 3.156
    # In a project, the design's name may come before a module's.
    text = (folder / "route_hierarchy.rpt").read_text().replace(" nbqnn_", " system_nbqnn_")
    (folder / "route_hierarchy.rpt").write_text(text)
    assert read_vivado(build, BOARD) == result
    (folder / "route_timing.rpt").write_text(header("report_timing_summary") + MISSED)
    result = read_vivado(build, BOARD)
    assert (result.met, result.fmax_mhz) == (False, 200.0)


def test_reports_of_another_project(reports):
    """Are not taken for those of the one that was written over it: another clock, other RTL."""
    build, folder = reports
    write_vivado(build, BOARD)  # the same once more
    result = read_vivado(build, BOARD)
    for change in (
        lambda: (build / "hw.json").write_text(
            (build / "hw.json").read_text().replace('"clock_mhz": 250', '"clock_mhz": 300')
        ),
        lambda: (build / "rtl" / "nbqnn.v").write_text(
            "// other\n" + (build / "rtl" / "nbqnn.v").read_text()
        ),
    ):
        change()
        write_vivado(build, BOARD)
        with pytest.raises(NbqnnError, match=r"^Reports of Vivado must be in .*copy the"):
            read_vivado(build, BOARD)
        before = folder.with_name("reports-before")
        assert len(list(before.iterdir())) == 4
        before.rename(folder)
        assert read_vivado(build, BOARD).fmax_mhz == result.fmax_mhz


def test_reports_of_another_activity(reports, tmp_path):
    """Their power is another one's."""
    build, folder = reports
    before = folder.with_name("reports-before")
    first, second = tmp_path / "first.saif", tmp_path / "second.saif"
    first.write_text(SAIF)
    second.write_text(SAIF.replace("TC 400", "TC 300"))
    for activity in (first, second, None):
        write_vivado(build, BOARD, activity=activity)
        assert not folder.exists()
        before.rename(folder)
        write_vivado(build, BOARD, activity=activity)  # the same once more
        assert len(list(folder.iterdir())) == 4


def test_reports_stay_where_the_activity_is_refused(reports, tmp_path):
    build, folder = reports
    ours = folder.with_name("activity.saif")
    (tmp_path / "run.saif").write_text(SAIF)
    write_vivado(build, BOARD, activity=tmp_path / "run.saif")
    folder.with_name("reports-before").rename(folder)
    kept = ours.read_bytes()
    with pytest.raises(NbqnnError, match=r"^activity '.*gone\.saif' cannot be read: No such file"):
        write_vivado(build, BOARD, activity=tmp_path / "gone.saif")
    assert len(list(folder.iterdir())) == 4
    assert ours.read_bytes() == kept
    # A file that was moved there already has another place in it.
    with pytest.raises(NbqnnError, match="must be complete, but lacks an instance 'nbqnn'"):
        write_vivado(build, BOARD, activity=ours)
    assert ours.read_bytes() == kept


def test_a_result_that_does_not_fit(reports):
    build, folder = reports
    text = header("report_utilization") + UTILIZATION.replace("21439", "300000")
    (folder / "route_utilization.rpt").write_text(text)
    message = r"does not fit zcu102: it needs 300,000 LUTs, the board has 274,080$"
    with pytest.raises(NbqnnError, match=message):
        read_vivado(build, BOARD)


FAKE = """#!/bin/sh
[ "$*" = "-mode batch -source build.tcl" ] || exit 3
echo "INFO: something"
[ -z "$FAKE_ERROR" ] || {{ echo "ERROR: [Synth 8-1] no licence"; exit 1; }}
cp -r {reports} reports
echo "timing" > reports/summary.txt
exit $FAKE_CODE
"""


def test_a_vivado_on_the_path_is_run(reports, tmp_path, monkeypatch):
    build, folder = reports
    shutil.copytree(folder, tmp_path / "ready")
    fake = tmp_path / "bin" / "vivado"
    fake.parent.mkdir()
    fake.write_text(FAKE.format(reports=tmp_path / "ready"))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_ERROR", "")
    for code in ("0", "1"):
        monkeypatch.setenv("FAKE_CODE", code)
        assert run_vivado(build, BOARD) == read_vivado(build, BOARD)
    monkeypatch.setenv("FAKE_ERROR", "yes")
    with pytest.raises(NbqnnError, match=r"^Vivado ended with code 1: ERROR: .* no licence$"):
        run_vivado(build, BOARD)
    # What an earlier run had left was no result of this one.
    assert not folder.exists()


# Real reports -----------------------------------------------------------------------------------


@pytest.fixture
def sample():
    folder = Path(os.environ.get("NBQNN_DATA", "")) / "vivado-reports"
    if not os.environ.get("NBQNN_DATA") or not folder.is_dir():
        pytest.skip("vivado-reports is not in NBQNN_DATA")
    return lambda name: folder / f"{name}.rpt"


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("xczu3eg_2021.2_inlining_util-synth", Area(lut=719, ff=570, dsp=12)),
        ("xczu3eg_2021.2_inlining_util-route", Area(lut=753, ff=570, dsp=12)),
        (
            "xczu7ev_2024.1.2_mlkem_utilization_routed",
            Area(lut=86343, ff=50450, bram36=22, dsp=303),
        ),
    ],
)
def test_real_utilization(sample, name, area):
    assert read_utilization(sample(name)) == area


@pytest.mark.parametrize(
    ("name", "rows", "top", "last"),
    [
        (
            "xc7a35t_2025.2_kvcache_utilization_hier",
            10,
            Area(lut=2148, ff=2174, bram36=24.5, dsp=2),
            ("u_vec_buffer", Area(lut=53, ff=16)),
        ),
        (
            "xcku035_2019.1_rosebud_utilization_hierarchical_placed",
            334,
            Area(lut=33312, ff=25308, bram36=194),
            ("sync_reset_200mhzmhz_inst", Area(lut=9, ff=10)),
        ),
    ],
)
def test_real_hierarchy(sample, name, rows, top, last):
    found = read_hierarchy(sample(name))
    assert len(found) == rows
    assert (found[0].path, found[0].area) == ("", top)
    assert (found[-1].path, found[-1].area) == last


@pytest.mark.parametrize(
    ("name", "setup", "hold", "met"),
    [
        ("xcku3p_2019.2_picorv32_timing_summary_routed", 0.184, 0.033, True),
        ("xczu3eg_2021.2_inlining_timing-summary-route_VIOLATED", -0.089, 0.045, False),
        ("xczu3eg_2021.2_lpm_timing-summary-route_met", 1.432, 0.042, True),
    ],
)
def test_real_timing(sample, name, setup, hold, met):
    assert read_timing(sample(name)) == Timing(
        setup_slack_ns=setup, hold_slack_ns=hold, period_ns=5.0, met=met
    )


def test_real_timing_without_constraints(sample):
    with pytest.raises(NbqnnError, match="must be of a design with a clock constraint"):
        read_timing(sample("xczu3eg_2021.2_inlining_timing-summary-synth"))


def test_real_power(sample):
    assert read_power(sample("xc7a35t_2025.2_kvcache_power")) == Power(
        total_w=0.156, dynamic_w=0.083, static_w=0.073, confidence="Low", activity=False
    )
