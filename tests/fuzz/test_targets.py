"""Files of strangers, shortly: good ones with random damage. The nightly run takes its time."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbqnn_train.graph import NbqnnError
from tests.fuzz.targets import TARGETS, Target

#: Extreme values to put in the place of numbers.
NUMBERS = (b"0", b"-1", b"65536", b"4294967295", b"4294967296", b"1e999", b"9" * 30, b"null", b"[]")
#: Those whose readers take long.
SLOW = ("qonnx", "report", "weights")


@st.composite
def damaged(draw, seeds):
    """A seed with one to four changes: bytes, pieces, numbers in text."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        what = draw(st.sampled_from(["byte", "cut", "double", "number", "end"]))
        length = draw(st.integers(1, 40))
        if what == "byte":
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif what == "cut":
            del data[place : place + length]
        elif what == "double":
            data[place:place] = data[place : place + length]
        elif what == "end":
            del data[place:]
        elif found := re.search(rb"\d+", bytes(data[place:])):
            begin, end = (place + at for at in found.span())
            data[begin:end] = draw(st.sampled_from(NUMBERS))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files(name):
    target = TARGETS[name]
    try:
        seeds = target.seeds()
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    for seed in seeds:
        # Good ones are read.
        target.read(seed)

    @settings(
        max_examples=30 if name in SLOW else 120,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(damaged(seeds))
    def check(data):
        target.check(data)

    check()


@pytest.mark.parametrize("message", ["two\nlines", "x" * 3000])
def test_errors_that_are_no_line(message):
    def read(data):
        raise NbqnnError(message)

    with pytest.raises(AssertionError):
        Target(list, read).check(b"")
