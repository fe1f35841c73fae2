"""hw.compiler.memory: tiles lie where the least has to be waited for, and holes stay large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.compiler.memory import NoRoom, Ring, Scratchpad


@given(
    st.integers(4, 40).flatmap(
        lambda depth: st.tuples(
            st.just(depth),
            st.lists(st.tuples(st.integers(1, depth), st.integers(0, 9)), max_size=60),
        )
    )
)
def test_a_tile_waits_for_what_it_overwrites_and_no_place_is_better(case):
    """Word by word: who reads it last."""
    depth, tiles = case
    ring, owners = Ring(depth), [None] * depth
    for number, (words, later) in enumerate(tiles):
        reader = number + later

        def wait_at(place, words=words, owners=owners):
            overlapped = {owner for owner in owners[place : place + words] if owner}
            return max((until for _, until in overlapped), default=0)

        start, wait = ring.allocate(words, reader)
        assert 0 <= start <= depth - words
        assert wait == wait_at(start)
        # Behind any tile, and at the beginning.
        ends = [end for end in range(depth) if end == 0 or owners[end] != owners[end - 1]]
        assert wait == min(wait_at(place) for place in ends if place + words <= depth)
        gone = set(owners[start : start + words])
        owners = [None if owner in gone else owner for owner in owners]
        owners[start : start + words] = [(number, reader)] * words


@pytest.mark.parametrize("alternating", [False, True])
def test_maps_of_medium_size_in_turn_leave_a_large_hole(alternating):
    """Beside one that stays, of two that follow each other the first is freed."""
    memory = Scratchpad(100, alternating=alternating)
    memory.allocate(10)
    first = memory.allocate(10)
    memory.allocate(10)
    memory.free(first)
    if alternating:
        memory.allocate(80)
    else:
        with pytest.raises(NoRoom):
            memory.allocate(80)
