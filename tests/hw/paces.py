"""Paces of transfers, and a word at such a pace the long way."""

import math

from hypothesis import strategies as st

from hw.model.pace import Pace

__all__ = ["paces", "word_after"]


@st.composite
def paces(draw):
    """Of a transfer beside others, the last of which may not have ended. All times are exact."""
    alone = draw(st.sampled_from([1, 2]))
    together = alone * draw(st.sampled_from([1, 2, 4]))
    times = sorted(draw(st.sets(st.integers(0, 150), max_size=5)))
    others = list(zip(times[::2], [*times[1::2], math.inf], strict=False))
    return Pace(float(alone), float(together), others)


def word_after(pace, time):
    """When a word that begins then has come, an eighth of a cycle at a time."""
    rest = 1.0
    while rest > 0:
        within = any(begin <= time < end for begin, end in pace.others)
        rest -= 0.125 / (pace.together if within else pace.alone)
        time += 0.125
    return time
