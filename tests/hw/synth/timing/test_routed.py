"""Paths of routed reports: read as they are, and met as well as the docs say."""

import os
from math import log
from pathlib import Path

import numpy as np
import pytest

from hw.synth.timing.routed import estimate_path, read_routed

_REPORTS = Path(os.environ.get("NBQNN_DATA", "")) / "vivado-reports"

#: A path of a public design (xczu9eg, Vivado 2021.2), with shorter names.
PATH = """
Slack (MET) :             0.079ns  (required time - arrival time)
  Source:                 s/r_state_reg[0]/C
  Destination:            s/m_vector_i_reg[1043]/CE
  Path Type:              Setup (Max at Slow Process Corner)
  Requirement:            3.000ns  (c rise@3.000ns - c rise@0.000ns)
  Data Path Delay:        2.744ns  (logic 0.256ns (9.329%)  route 2.488ns (90.671%))

    Location             Delay type                Incr(ns)  Path(ns)    Netlist Resource(s)
  -------------------------------------------------------------------    -------------------
    X1Y3 (CLOCK_ROOT)    net (fo=13198, routed)       2.861     4.135    s/aclk
    SLICE_X38Y80         FDRE                                         r  s/r_state_reg[0]/C
  -------------------------------------------------------------------    -------------------
    SLICE_X38Y80         FDRE (Prop_DFF2_SLICEL_C_Q)
                                                      0.081     4.216 f  s/r_state_reg[0]/Q
                         net (fo=10, routed)          0.305     4.521    s/Q[0]
    SLICE_X38Y80         LUT4 (Prop_B6LUT_SLICEL_I3_O)
                                                      0.124     4.645 r  s/i_3__1/O
                         net (fo=5, routed)           0.348     4.993    s/arready_d
    SLICE_X37Y106        LUT4 (Prop_C6LUT_SLICEM_I0_O)
                                                      0.051     5.044 r  s/i_1__1/O
                         net (fo=88, routed)          1.835     6.879    s/m_vector_i
    SLICE_X15Y181        FDRE                                         r  s/reg[1043]/CE{note}
  -------------------------------------------------------------------    -------------------

                         (clock c rise edge)          3.000     3.000 r
"""


def report(*paths: str, grade: str = "-2") -> str:
    return f"| Speed File        : {grade}  PRODUCTION 1.30\n" + "".join(paths)


@pytest.mark.parametrize("note", ["", "  (IS_INVERTED)"])
def test_a_path_is_read_and_estimated_by_its_cells_and_fan_outs(note):
    (path,) = read_routed(report(PATH.format(note=note)))
    assert path.cells == (("FF", 0.081), ("LUT4", 0.124), ("LUT4", 0.051))
    assert path.nets == ((10, False, 0.305), (5, False, 0.348), (88, False, 1.835))
    assert (path.data_ns, path.requirement_ns, path.routed) == (2.744, 3.0, 3)
    nets = sum(0.08 + 0.065 * log(fanout) for fanout in (10, 5, 88))
    assert estimate_path(path) == pytest.approx(0.79 + 0.079 + 2 * 0.09 + nets, abs=1e-9)


def test_a_slower_grade_is_estimated_slower():
    (path,) = read_routed(report(PATH.format(note="")))
    (slower,) = read_routed(report(PATH.format(note=""), grade="-1"))
    assert estimate_path(slower) == pytest.approx(1.22 * estimate_path(path))


def test_what_is_no_different_setup_path_is_left_out():
    path = PATH.format(note="")
    assert len(read_routed(report(path, path.replace("1043", "1044")))) == 1
    assert len(read_routed(report(path, path.replace("fo=88", "fo=89")))) == 2
    assert read_routed(report(path.replace("Setup (Max", "Hold (Min"))) == []
    # A cell that is not understood: its delay is missing in the sum.
    assert read_routed(report(path.replace("LUT4 (Prop", "LUT4 (Drop"))) == []
    assert read_routed(report(path, grade="-3")) == []
    assert read_routed("") == []


@pytest.mark.skipif(not _REPORTS.is_dir(), reason="vivado-reports is not in NBQNN_DATA")
def test_routed_paths_are_met_as_well_as_the_docs_say():
    """Each owner's paths, estimated with the constants of a fit without that owner's."""
    from scripts.timing_fit import errors_left_out, fit, read_folder

    paths = read_folder(_REPORTS)
    found = errors_left_out(paths)
    ratios = np.array([ratio for nets, ratio in found if nets >= 3])
    assert (len(paths), len(ratios)) == (91, 59)
    assert np.median(abs(ratios - 1)) == pytest.approx(0.21, abs=0.01)
    assert np.mean(abs(ratios - 1) <= 0.25) == pytest.approx(0.54, abs=0.01)
    assert np.exp(np.sqrt(np.mean(np.log(ratios) ** 2))) == pytest.approx(1.56, abs=0.01)
    assert fit(paths)[1:] == (pytest.approx(0.065), pytest.approx(0.79))
