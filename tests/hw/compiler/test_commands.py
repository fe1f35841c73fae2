"""hw.compiler.commands: transfers and tiles of a layer, as their fields say."""

from dataclasses import replace

import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.compiler.commands import ChipPlace, HostPlace, Strip, transfers
from hw.compiler.memory import Buffer
from hw.contract.isa import Compute, Load, Region, read_commands
from hw.contract.words import TensorLayout
from nbqnn_train.graph import Input
from tests.hw.networks import Network

#: A word of the activation memory is two beats.
TWO_BEATS = replace(PRESETS["tiny"], act_depth=1 << 16)


@pytest.mark.parametrize("height", [255, 256])
def test_transfers_have_no_more_beats_than_a_field_can_say(height):
    """At the largest number of beats in a row, and one row of the map above it."""
    layout = TensorLayout(channels=8, height=height, width=128, pitch=128, offset=0)
    strip = Strip(Buffer(0, height * 128), layout, 0, height)
    host_place = HostPlace(Region.INPUT, 0)
    found = list(transfers(TWO_BEATS, Load, layout, ChipPlace(strip, 0), 0, height, host_place))
    assert all(load.beats == 2 * load.words < 1 << 16 for load in found)
    assert sum(load.rows * load.words for load in found) == height * 128
    assert [load.rows for load in found] == [1 if height == 255 else height]


def test_the_only_tile_of_a_layer_has_all_of_its_rows():
    """A map that stays on the chip is computed by one command, from its first row on."""
    net = Network(seed=1)
    net.add(Input, "image", shape=(8, 5, 4), bits=8, signed=True, exponent=0)
    net.conv("conv", (8, 8, 3, 3), 3, padding=(1, 1, 1, 1)).requantize("out", 8, True)
    program = compile_graph(net.graph(), PRESETS["tiny"])
    commands = read_commands(program.commands)
    (compute,) = (command for command in commands if isinstance(command, Compute))
    assert compute.positions == 5 * 4
    # The first window begins one row and one column before the map.
    assert (compute.row, compute.column) == ((1 << 16) - 1, (1 << 16) - 1)
