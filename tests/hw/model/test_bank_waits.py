"""hw.model.bank_waits: loads against the drain and stores against the array, cycle by cycle."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.boards.presets import PRESETS
from hw.contract.isa import Compute, Load, Store
from hw.model.bank_waits import DrainedWords, ReadWords, loaded, stored
from hw.model.pace import Pace
from tests.hw.paces import paces, word_after

configs = st.builds(
    replace,
    st.just(PRESETS["tiny"]),
    pixels=st.just(5),
    post_positions=st.integers(1, 5),
    post_lanes=st.sampled_from([4, 8]),
)


def transfers(kind):
    return st.builds(
        kind,
        base=st.integers(0, 99),
        words=st.integers(1, 40),
        rows=st.integers(1, 3),
        base_stride=st.integers(0, 50),
    )


def bank(config, word):
    row, place = divmod(word, config.banks)
    return place ^ 1 if row % 2 else place


@st.composite
def computes(draw, config):
    """A command, its interval, and (time, banks) of all that it writes from 0 on."""
    pixels, width = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    chunks, words = draw(st.integers(1, 3)), config.lanes // config.post_lanes
    fields = {
        "pixels": pixels,
        "positions": draw(st.integers(1, 23)),
        "out_width": width,
        "out_wrap": (1 + draw(st.integers(0, 4))) % (1 << 16),
        "out_step": draw(st.integers(1, 3)),
        "out_base": draw(st.integers(0, 99)),
        "out_plane": draw(st.integers(0, 99)),
        "filter_groups": draw(st.integers(1, 2)),
        "chunks": chunks,
        "sub": draw(st.integers(0, words - 1)),
    }
    turns = -(-pixels // config.post_positions)
    interval = turns * chunks + draw(st.integers(0, 3))
    written, begin, first_chunk = {}, 0, fields["sub"]
    for _ in range(fields["filter_groups"]):
        for first in range(0, fields["positions"], pixels):
            group = range(first, min(first + pixels, fields["positions"]))
            for position in group:
                row, column = divmod(position, width)
                step = fields["out_step"]
                row_step = fields["out_wrap"] + (width - 1) * step
                word = fields["out_base"] + row * row_step + column * step
                for chunk in range(chunks):
                    time = begin + (position - first) // config.post_positions * chunks + chunk
                    plane = (first_chunk + chunk) // words * fields["out_plane"]
                    written.setdefault(time, set()).add(bank(config, word + plane))
            begin += interval
        first_chunk += chunks
    return Compute(**fields), interval, written


@settings(max_examples=100)
@given(data=st.data(), config=configs)
def test_every_cycle(data, config):
    drains, written, begin = [], {}, data.draw(st.integers(5, 30))
    for _ in range(data.draw(st.integers(0, 3))):
        command, interval, own = data.draw(computes(config))
        drained = DrainedWords(config, command, float(begin), interval)
        drains.append(drained)
        written |= {begin + time: banks for time, banks in own.items()}
        begin = int(drained.end) + data.draw(st.integers(0, 20))
    load = data.draw(transfers(Load))
    start, pace = data.draw(st.integers(0, 40)), data.draw(paces())
    there = word_after(pace, start)
    for row in range(load.rows):
        for column in range(load.words):
            place, time = bank(config, load.base + row * load.base_stride + column), there
            while place in written.get(math.floor(time), ()):
                time = math.floor(time) + 1
            there = max(word_after(pace, there), time + 1)
    assert loaded(config, load, float(start), pace, drains) == time


@pytest.mark.parametrize("begin", [0.0, 1000.0])
def test_without_drains(begin):
    load = Load(base=3, words=7, rows=2, base_stride=9)
    assert loaded(PRESETS["tiny"], load, begin, Pace(2.0, 2.0), []) == begin + 28


@st.composite
def layers(draw, config, begin):
    """A command, the first group's end, the interval, and the banks read at each time."""
    pixels, width = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    stride, pitch, plane, dilation = (draw(st.integers(1, 70)) for _ in range(4))
    kernel_h, kernel_w, deep = (draw(st.integers(1, 3)) for _ in range(3))
    fields = {
        "pixels": pixels,
        "positions": draw(st.integers(1, 17)),
        "out_width": width,
        "filter_groups": draw(st.integers(1, 2)),
        "group_origin": draw(st.integers(0, 50)),
        "channel_groups": deep,
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "in_base": draw(st.integers(0, 99)),
        "column_step": stride,
        "origin_wrap": (pitch - (width - 1) * stride) % (1 << 16),
        "tap_column": dilation,
        "tap_row_origin": (pitch - (kernel_w - 1) * dilation) % (1 << 16),
        "tap_group_origin": (plane - (kernel_h - 1) * pitch - (kernel_w - 1) * dilation)
        % (1 << 16),
    }
    steps = deep * kernel_h * kernel_w
    interval = steps + draw(st.integers(0, 4))
    end_first = begin + steps - 1 + draw(st.integers(0, 4))
    read, time, end = {}, begin, end_first
    for filter_group in range(fields["filter_groups"]):
        for first in range(0, fields["positions"], pixels):
            taps = [
                channel * plane + row * pitch + column * dilation
                for channel in range(deep)
                for row in range(kernel_h)
                for column in range(kernel_w)
            ]
            for number, tap in enumerate(taps):
                at = end if number + 1 == steps else time + number
                for position in range(first, min(first + pixels, fields["positions"])):
                    row, column = divmod(position, width)
                    word = fields["in_base"] + filter_group * fields["group_origin"]
                    word += row * pitch + column * stride + tap
                    read.setdefault(at, set()).add(bank(config, word % config.act_depth))
            time, end = end + 1, end + interval
    return Compute(**fields), end_first, interval, read


@settings(max_examples=100)
@given(data=st.data())
def test_every_read(data):
    config = replace(PRESETS["tiny"], pixels=5)
    reads, read, begin = [], {}, data.draw(st.integers(0, 30))
    for _ in range(data.draw(st.integers(0, 3))):
        command, end_first, interval, own = data.draw(layers(config, begin))
        reads.append(ReadWords(config, command, float(begin), float(end_first), interval))
        assert reads[-1].end == max(own)
        read |= own
        begin = max(own) + 1 + data.draw(st.integers(0, 20))
    store = data.draw(transfers(Store))
    time, pace = data.draw(st.integers(0, 40)), data.draw(paces())
    gone = []
    start = time
    for row in range(store.rows):
        for column in range(store.words):
            place = bank(config, store.base + row * store.base_stride + column)
            # The buffer holds eight words.
            time = max([time, *(math.ceil(left) for left in gone[-8:-7])])
            while place in read.get(time, ()):
                time += 1
            gone.append(max([time, *(word_after(pace, last) for last in gone[-1:])]))
            time += 1
    assert stored(config, store, float(start), pace, reads) == gone[-1]
