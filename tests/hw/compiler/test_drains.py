"""hw.compiler.layouts: what is read or drained together lies in different banks."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph, layouts
from hw.compiler.layouts import choose_layouts
from hw.compiler.lower import lower
from hw.contract.isa import Compute, read_commands
from nbqnn_train.graph import Add, Input, MaxPool2d
from tests.hw.networks import Network
from tests.nightly import examples

SMALL = replace(PRESETS["tiny"], pixels=5, act_depth=4096)


def computes(program):
    commands = read_commands(program.commands)
    return [command for command in commands if isinstance(command, Compute)]


def turns(command, positions):
    """Words that are written in the same cycle, turn after turn."""
    words, word = [], command.out_base
    for position in range(command.positions):
        words.append(word)
        last = (position + 1) % command.out_width == 0
        word += command.out_wrap if last else command.out_step
    for group in range(0, len(words), command.pixels):
        end = min(group + command.pixels, len(words))
        for first in range(group, end, positions):
            yield words[first : min(first + positions, end)]


def groups(command):
    """Words that are read in the same cycle, group after group, of the first tap."""
    words, word = [], command.in_base
    for position in range(command.positions):
        words.append(word)
        last = (position + 1) % command.out_width == 0
        word += command.origin_wrap if last else command.column_step
    for first in range(0, len(words), command.pixels):
        yield words[first : first + command.pixels]


def bank(word):
    """Every other row of words has each two banks swapped."""
    row, place = divmod(word % (1 << 16), SMALL.banks)
    return place ^ 1 if row % 2 else place


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow])
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    positions=st.integers(1, 5),
    depth=st.sampled_from([128, 4096]),
)
def test_together_in_different_banks(height, width, stride, positions, depth):
    """In whole maps and in strips of rows, as the commands say."""
    net = Network(seed=1).add(Input, "image", shape=(3, height, width), bits=8, signed=True,
                              exponent=0)  # fmt: skip
    net.conv("first", (9, 3, 3, 3), 2, padding=(1, 1, 1, 1)).requantize("a", 8, False)
    net.conv("second", (9, 9, 1, 1), 2).requantize("b", 8, False, exponent=-3)
    net.add(Add, "sum", operands=("a", "b"), shifts=(0, 1), acc_bits=24).requantize("c", 8, False)
    net.add(MaxPool2d, "pool", kernel=(3, 3), stride=stride, padding=(1, 1, 1, 1))
    config = replace(SMALL, post_positions=positions, act_depth=depth)
    for command in computes(compile_graph(net.graph(), config)):
        assert command.drain_cycles == -(-command.pixels // positions) * command.chunks
        for words in turns(command, positions):
            assert len({bank(word) for word in words}) == len(words), (command, words)
        # Every tap is that far from the first one, so any base must do.
        for words, base in product(groups(command), range(2 * config.banks)):
            banks = {bank(word + base) for word in words}
            assert len(banks) == len(words), (command, words, base)


@pytest.mark.parametrize("positions", range(1, 6))
@pytest.mark.parametrize("width", range(1, 12))
def test_whatever_pitch_the_readers_would_like(monkeypatch, positions, width):
    """Were the widest pitch the best one for them, it would still be one with different banks."""
    monkeypatch.setattr(layouts, "_pixel_counts", lambda config, layer, pitch: iter([pitch]))
    net = Network(seed=1).add(Input, "image", shape=(3, 6, width), bits=8, signed=True, exponent=0)
    net.conv("first", (9, 3, 1, 1), 2).requantize("a", 8, False)
    net.conv("second", (9, 9, 1, 1), 2).requantize("b", 8, False)
    config = replace(SMALL, post_positions=positions)
    chosen = choose_layouts(config, lower(net.graph(), config))
    for name in ("image", "a", "b"):
        pitch = chosen[name].pitch
        words = [y * pitch + x for y in range(6) for x in range(width)]
        for first in range(len(words)):
            banks = [bank(word) for word in words[first : first + positions]]
            assert len(set(banks)) == len(banks) or name == "image", (name, pitch)


@pytest.mark.parametrize(("positions", "pixels"), [(1, 5), (2, 4), (3, 3), (5, 5)])
def test_full_turns_where_the_drain_is_slow(positions, pixels):
    """60 positions of one step each: 60, 30, 20 and 12 turns; nothing for a larger kernel."""
    net = Network(seed=1).add(Input, "image", shape=(8, 6, 10), bits=8, signed=True, exponent=0)
    net.conv("one", (8, 8, 1, 1), 2).requantize("a", 8, False)
    net.conv("nine", (8, 8, 3, 3), 2, padding=(1, 1, 1, 1))
    graph = net.requantize("b", 8, True).graph()
    config = replace(SMALL, post_positions=positions, post_lanes=8)
    one, *_, nine = computes(compile_graph(graph, config))
    assert (one.pixels, nine.pixels) == (pixels, 5)


@pytest.mark.parametrize(("depth", "pixels"), [(2048, 2), (4096, 5)])
def test_gaps_only_where_there_is_room(depth, pixels):
    """Two maps of 36 × 28 words fit; with the gaps that a stride of two wants they do not."""
    net = Network(seed=1).add(Input, "image", shape=(8, 36, 28), bits=8, signed=True, exponent=0)
    net.conv("first", (8, 8, 1, 1), 2).requantize("a", 8, False)
    net.conv("second", (8, 8, 1, 1), 2, stride=(2, 2))
    graph = net.requantize("b", 8, True).graph()
    config = replace(SMALL, act_depth=depth, post_lanes=8, post_positions=5)
    program = compile_graph(graph, config)
    assert program.scratch_bytes == 0
    assert [command.pixels for command in computes(program)] == [5, pixels]
