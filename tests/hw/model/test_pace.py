"""hw.model.pace: word after word, with and without a transfer in the other direction."""

from hypothesis import given
from hypothesis import strategies as st

from tests.hw.paces import paces, word_after


@given(pace=paces(), begin=st.integers(0, 100), words=st.integers(1, 30))
def test_word_after_word(pace, begin, words):
    time = float(begin)
    for _ in range(words):
        time = word_after(pace, time)
    assert pace.end(float(begin), words) == time
