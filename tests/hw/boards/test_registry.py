"""Boards by name; one more is one more file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hw.boards.registry import BOARDS, find_board
from hw.synth.area import CELL_AREAS
from nbqnn_train.graph import Input, save
from nbqnn_train.graph.errors import NbqnnError
from tests.hw.networks import Network


def test_boards_are_found_by_name():
    assert find_board("zcu102").dsp == 2520
    assert all(find_board(name).name == name for name in BOARDS)


def test_every_board_has_a_family_that_can_be_counted():
    assert {board.family for board in BOARDS.values()} <= CELL_AREAS.keys()


def test_an_unknown_board_names_the_known_ones():
    with pytest.raises(NbqnnError, match=r"^board must be one of .*ulx3s, zcu102.*, not 'zcu999'$"):
        find_board("zcu999")


_NEW = """
from pathlib import Path
from hw.boards.board import Board
from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory
BOARD = Board(
    name="kr260",
    part="xck26-sfvc784-2LV-c",
    family="xcup",
    lut=117_120,
    ff=234_240,
    bram36=144,
    dsp=1_248,
    constraints=Path(__file__).with_suffix(".xdc"),
    memory=BoardMemory(bytes_per_s=19.2e9, read_ns=150, write_ns=80),
    presets=(
        AcceleratorConfig(name="kr260-small", lanes=8, filters=8, pixels=1, post_lanes=4),
    ),
)
"""
#: A command line for which a folder more holds boards.
_NBQNN = """
import sys
import hw.boards
hw.boards.__path__.append(sys.argv.pop(1))
from scripts.cli import main
sys.exit(main())
"""


def test_a_board_is_one_file(tmp_path):
    """One more file, and its name is known to every command."""
    boards, root = tmp_path / "boards", Path(__file__).parents[3]
    boards.mkdir()
    (boards / "kr260.py").write_text(_NEW)
    (boards / "kr260.xdc").write_text("# Constraints of this board.\n")
    net = Network(seed=1)
    net.add(Input, "image", shape=(3, 6, 6), bits=8, signed=False, exponent=-8)
    net.conv("conv", (8, 3, 3, 3), 3).requantize("out", 8, True)
    graph = net.graph()
    save(graph, tmp_path / "one.graph")

    def nbqnn(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", _NBQNN, boards, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    nbqnn("generate", "--preset", "kr260-small", "-o", "build")
    nbqnn("synth", "build", "--tool", "vivado", "--board", "kr260")
    project = tmp_path / "build" / "vivado-kr260"
    assert "set part xck26-sfvc784-2LV-c\n" in (project / "settings.tcl").read_text()
    assert (project / "board.xdc").read_text() == "# Constraints of this board.\n"
    nbqnn("compile", "one.graph", "--hw", "build", "--memory", "kr260", "-o", "one.program")
    nbqnn("explore", "one.graph", "--board", "kr260", "--most", "1", "--json", "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["board"] == "kr260"
    assert found["budget"]["bram36"] == int(144 * 0.85)
