"""Switching activity moved to where the accelerator is in a larger design."""

import pytest

from hw.boards.registry import find_board
from hw.synth.saif import rerooted_saif
from hw.synth.vivado import write_vivado
from nbqnn_train.graph.errors import NbqnnError
from tests.hw.synth.tops import MASTERS, empty_build, top_verilog

HEAD = '// Generated\n(SAIFILE\n(SAIFVERSION "2.0")\n(DIVIDER / )\n(DURATION 800)\n'
INSIDE = """  (NET
   (clk (T0 400) (T1 400) (TZ 0) (TX 0) (TB 0) (TC 400))
   (word\\[1\\] (T0 800) (T1 0) (TZ 0) (TX 0) (TB 0) (TC 0))
  )
  (INSTANCE core
   (NET
    (x (T0 1) (T1 799) (TZ 0) (TX 0) (TB 0) (TC 3))
   )
  )
"""
SAIF = (
    f"{HEAD} (INSTANCE top\n  (NET\n   (clk (T0 400) (T1 400) (TZ 0) (TX 0) (TB 0) (TC 400))\n  )\n"
    f" (INSTANCE nbqnn\n{INSIDE} )\n )\n)\n"
)


def test_reroot(tmp_path):
    source = tmp_path / "run.saif"
    source.write_text(SAIF)
    moved = rerooted_saif(source, "nbqnn", ["system_wrapper", "system_i", "accelerator"])
    assert moved == (
        f"{HEAD}(INSTANCE system_wrapper\n(INSTANCE system_i\n(INSTANCE accelerator\n"
        f"{INSIDE})\n)\n)\n)\n"
    )
    assert moved.count("(") == moved.count(")")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a SAIF file, but does not begin so"),
        ("$date today $end", "must be a SAIF file, but does not begin so"),
        (SAIF.replace("nbqnn", "other"), "must be complete, but lacks an instance 'nbqnn'"),
        (SAIF[: SAIF.index("(x")], "must be complete, but lacks the end of instance 'nbqnn'"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    (tmp_path / "run.saif").write_text(text)
    with pytest.raises(NbqnnError, match=rf"^activity '.*run\.saif' {message}$"):
        rerooted_saif(tmp_path / "run.saif", "nbqnn", ["a"])
    with pytest.raises(NbqnnError, match="cannot be read: No such file"):
        rerooted_saif(tmp_path / "none", "nbqnn", ["a"])


@pytest.mark.parametrize(
    ("quick", "path"),
    [
        (True, ["nbqnn"]),
        (False, ["system_wrapper", "system_i", "accelerator", "inst", "accelerator"]),
    ],
)
def test_in_a_folder_for_vivado(tmp_path, quick, path):
    build = empty_build(tmp_path / "build", top_verilog(MASTERS[1]))
    (tmp_path / "run.saif").write_text(SAIF)
    board = find_board("zcu102")
    files = write_vivado(build, board, quick=quick, activity=tmp_path / "run.saif")
    activity = files[-1].parent / "activity.saif"
    assert activity in files
    instances = [line.split()[1] for line in activity.read_text().splitlines() if "INST" in line]
    assert instances == [*path, "core"]
    # Without one, that of an earlier time is not used.
    write_vivado(build, board, quick=quick)
    assert not activity.exists()
