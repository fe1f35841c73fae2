"""hw.compiler.constants: the requantizer's formula with its constants is the interpreter's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from hw.boards.presets import PRESETS
from hw.compiler.constants import identity_params, requantize_params
from hw.compiler.errors import CompileError
from hw.contract.words import PRE_SHIFT, addend_bits, stored_offset
from nbqnn_train.graph import Requantize, TensorType, requantize

CONFIGS = [
    replace(PRESETS["tiny"], requant=requant, acc_bits=acc_bits, act_bits=act_bits)
    for requant in ("shift", "scale")
    for acc_bits, act_bits in ((16, 4), (20, 8), (24, 8), (32, 16), (48, 16))
]


def emulate(config, params, channel, acc, low, high):
    """What the hardware computes, in Python's integers."""
    addend, shift = int(params.addend[channel]), int(params.shift[channel])
    assert -(1 << addend_bits(config) - 1) <= addend < 1 << addend_bits(config) - 1
    assert 0 <= shift < 64
    scale = 1 << PRE_SHIFT if config.requant == "shift" else int(params.multiplier[channel])
    assert 0 <= scale < 1 << 16
    return min(max((acc * scale + addend) >> shift, low), high)


@st.composite
def folds(draw):
    config = draw(st.sampled_from(CONFIGS))
    limit = 1 << config.acc_bits - 1
    lows = draw(st.lists(st.integers(-limit, 0), min_size=1, max_size=3))
    highs = [draw(st.one_of(st.integers(0, limit - 1), st.just(low))) for low in lows]
    highs = [max(low, high) for low, high in zip(lows, highs, strict=True)]
    count = len(lows)
    bits, signed = draw(st.integers(2, config.act_bits)), draw(st.booleans())
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    low, high = sorted(draw(st.tuples(st.integers(least, most), st.integers(least, most))))
    if config.requant == "shift":
        multipliers = st.sampled_from([1, 2, 4, 8, 16])
    else:
        multipliers = st.integers(1, (1 << 16) - 1)
    shifts = st.one_of(st.integers(0, 47), st.integers(0, config.acc_bits))
    # The contract keeps the wide sum within 64 bits; so does the interpreter's own function.
    biases = st.one_of(st.integers(-(1 << 47), (1 << 47) - 1), st.integers(-limit, limit))

    def channels(values):
        return draw(st.lists(values, min_size=count, max_size=count))

    node = Requantize(
        name="r",
        input="x",
        multiplier=channels(multipliers),
        bias=channels(biases),
        shift=channels(shifts),
        bits=bits,
        signed=signed,
        exponent=0,
        low=low,
        high=high,
    )
    correction = channels(st.integers(-(1 << config.act_bits + 8), 1 << config.act_bits + 8))
    fractions = draw(st.lists(st.floats(0, 1), max_size=20))
    return config, node, np.array(correction), np.array(lows), np.array(highs), fractions


@given(drawn=folds())
def test_exact(drawn):
    config, node, correction, lows, highs, fractions = drawn
    type_ = TensorType(shape=(1,), bits=node.bits, signed=node.signed, exponent=0)
    offset = stored_offset(config, type_)
    try:
        params = requantize_params(config, "conv", node, correction, lows, highs, offset)
    except CompileError as error:
        assert "layer conv: addend" in str(error), error
        event("refused")
        return
    event("exact")
    for channel, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        half = (1 << int(node.shift[channel])) >> 1
        sums = {low, high, *(low + int(f * (high - low)) for f in fractions)}
        for code in (node.low, node.low + 1, node.high, node.high + 1):
            edge = (code << int(node.shift[channel])) - int(node.bias[channel]) - half
            edge = edge // int(node.multiplier[channel]) - int(correction[channel])
            sums |= {edge - 1, edge, edge + 1, edge + 2}
        for acc in (value for value in sums if low <= value <= high):
            expected = requantize(
                acc + correction[channel],
                node.multiplier[channel],
                node.bias[channel],
                node.shift[channel],
                node.low,
                node.high,
            )
            stored = emulate(config, params, channel, acc, node.low - offset, node.high - offset)
            assert stored == expected - offset


@pytest.mark.parametrize("multiplier", [3, 32])
def test_multipliers_that_shift_mode_does_not_have(multiplier):
    node = Requantize(
        name="r",
        input="x",
        multiplier=[1, multiplier],
        bias=[0, 0],
        shift=[0, 0],
        bits=8,
        signed=True,
        exponent=0,
        low=-128,
        high=127,
    )
    ends = np.array([-5, -5]), np.array([5, 5])
    message = (
        "^layer conv: multiplier of channel 1 must be a power of two up to 16 in a configuration "
        f"with requant = shift, not {multiplier}$"
    )
    with pytest.raises(CompileError, match=message):
        requantize_params(PRESETS["tiny"], "conv", node, np.zeros(2, int), *ends, 0)


@pytest.mark.parametrize("below", [0, 16])
def test_addends_that_do_not_fit(below):
    """Also where the largest addend that fits would give the right code at one of the ends."""
    node = Requantize(
        name="r",
        input="x",
        multiplier=[1],
        # One code below zero, the next one from zero on.
        bias=[(below << 36) + (1 << 35)],
        shift=[36],
        bits=8,
        signed=True,
        exponent=0,
        low=-128,
        high=127,
    )
    message = r"^layer conv: addend \d+ of channel 0 must fit 25 bits \(acc_bits = 20\)$"
    with pytest.raises(CompileError, match=message):
        requantize_params(
            PRESETS["tiny"], "conv", node, np.zeros(1, int), np.array([-5]), np.array([5]), 0
        )


def test_the_largest_addend_that_fits():
    """Sums of 20 bits, shifted left by 4: addends have 25 bits with the sign."""
    largest = (1 << 24) - 1
    half = 1 << 14
    for addend, fits in ((largest - 15, True), (largest + 1, False)):
        node = Requantize(
            name="r",
            input="x",
            multiplier=[16],
            bias=[addend - half],
            shift=[15],
            bits=16,
            signed=True,
            exponent=0,
            low=-(1 << 15),
            high=(1 << 15) - 1,
        )
        ends = np.array([-(1 << 19)]), np.array([(1 << 19) - 1])
        arguments = (PRESETS["tiny"], "conv", node, np.zeros(1, int), *ends, 0)
        if fits:
            assert requantize_params(*arguments).addend.tolist() == [addend]
        else:
            with pytest.raises(
                CompileError, match=f"addend {addend} of channel 0 must fit 25 bits"
            ):
                requantize_params(*arguments)


@pytest.mark.parametrize("code", [0, 57, 255])
def test_channels_that_hardly_do_anything(code):
    """Whatever the sum, one code: the shift is so large that the offset alone would not fit."""
    config = replace(PRESETS["tiny"], acc_bits=24)
    node = Requantize(
        name="r",
        input="x",
        multiplier=[1],
        bias=[code << 20],
        shift=[20],
        bits=8,
        signed=False,
        exponent=0,
        low=0,
        high=255,
    )
    ends = np.array([-10_112]), np.array([10_033])
    params = requantize_params(config, "conv", node, np.zeros(1, int), *ends, 128)
    for acc in (*ends[0], -1, 0, 1, *ends[1]):
        assert emulate(config, params, 0, int(acc), -128, 127) + 128 == code


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.requant}_{c.acc_bits}")
def test_identity(config):
    params = identity_params(config, 2)
    low, high = -(1 << config.act_bits - 1), (1 << config.act_bits - 1) - 1
    for code in (low, -1, 0, 1, high):
        assert emulate(config, params, 1, code, low, high) == code


def test_stored_offsets():
    """Only unsigned codes that need all bits are moved."""
    config = PRESETS["tiny"]

    def offset(bits, signed):
        return stored_offset(config, TensorType(shape=(1,), bits=bits, signed=signed, exponent=0))

    assert (offset(8, False), offset(8, True), offset(7, False)) == (128, 0, 0)
