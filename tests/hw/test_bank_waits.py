"""hw.bank_waits: loads against the drain, cycle by cycle."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.bank_waits import DrainedWords, loaded
from hw.config import PRESETS

configs = st.builds(
    replace,
    st.just(PRESETS["tiny"]),
    pixels=st.just(5),
    post_positions=st.integers(1, 5),
    post_lanes=st.sampled_from([4, 8]),
)


def bank(config, word):
    row, place = divmod(word, config.banks)
    return place ^ 1 if row % 2 else place


@st.composite
def computes(draw, config):
    """Fields of a command, its interval, and (time, banks) of all that it writes from 0 on."""
    pixels, width = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    chunks, words = draw(st.integers(1, 3)), config.lanes // config.post_lanes
    fields = {
        "pixels": pixels,
        "positions": draw(st.integers(1, 23)),
        "out_width": width,
        "out_wrap": (1 + draw(st.integers(0, 4))) % (1 << 16),
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
                word = fields["out_base"] + row * (fields["out_wrap"] + width - 1) + column
                for chunk in range(chunks):
                    time = begin + (position - first) // config.post_positions * chunks + chunk
                    plane = (first_chunk + chunk) // words * fields["out_plane"]
                    written.setdefault(time, set()).add(bank(config, word + plane))
            begin += interval
        first_chunk += chunks
    return fields, interval, written


@settings(max_examples=100, deadline=None)
@given(data=st.data(), config=configs)
def test_every_cycle(data, config):
    drains, written, begin = [], {}, data.draw(st.integers(5, 30))
    for _ in range(data.draw(st.integers(0, 3))):
        fields, interval, own = data.draw(computes(config))
        drained = DrainedWords(config, fields, float(begin), interval)
        drains.append(drained)
        written |= {begin + time: banks for time, banks in own.items()}
        begin = int(drained.end) + data.draw(st.integers(0, 20))
    load = {
        "base": data.draw(st.integers(0, 99)),
        "words": data.draw(st.integers(1, 40)),
        "rows": data.draw(st.integers(1, 3)),
        "base_stride": data.draw(st.integers(0, 50)),
    }
    start, word_cycles = data.draw(st.integers(0, 40)), data.draw(st.integers(1, 3))
    there = start + word_cycles
    for row in range(load["rows"]):
        for column in range(load["words"]):
            place, time = bank(config, load["base"] + row * load["base_stride"] + column), there
            while place in written.get(time, ()):
                time += 1
            there = max(there + word_cycles, time + 1)
    assert loaded(config, load, float(start), float(word_cycles), drains) == time


@pytest.mark.parametrize("begin", [0.0, 1000.0])
def test_without_drains(begin):
    load = {"base": 3, "words": 7, "rows": 2, "base_stride": 9}
    assert loaded(PRESETS["tiny"], load, begin, 2.0, []) == begin + 28
