"""Boards by name."""

import pytest

from hw.boards.devices import BOARDS, find_board
from hw.synth.area import CELL_AREAS
from nbqnn_train.graph.errors import NbqnnError


def test_boards_are_found_by_name():
    assert find_board("zcu102").dsp == 2520
    assert all(find_board(name).name == name for name in BOARDS)


def test_every_board_has_a_family_that_can_be_counted():
    assert {board.family for board in BOARDS.values()} <= CELL_AREAS.keys()


def test_an_unknown_board_names_the_known_ones():
    with pytest.raises(NbqnnError, match=r"^board must be one of zcu102, ulx3s, not 'zcu999'$"):
        find_board("zcu999")
