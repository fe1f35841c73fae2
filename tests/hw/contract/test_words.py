"""hw.contract.words: tensors there and back; weights and parameters bit by bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.boards.presets import PRESETS
from hw.contract.words import (
    ChannelParams,
    TensorLayout,
    addend_bits,
    pack_params,
    pack_vector_weights,
    pack_weights,
    stored_weights,
)
from nbqnn_train.graph.limits import max_weight

configs = st.builds(
    replace,
    st.just(PRESETS["tiny"]),
    lanes=st.sampled_from([2, 4, 8, 16]),
    filters=st.sampled_from([2, 4, 6]),
    post_lanes=st.sampled_from([1, 2]),
    act_bits=st.sampled_from([2, 3, 7, 8, 16]),
    acc_bits=st.sampled_from([24, 40]),
    weight_bits=st.integers(2, 4),
    requant=st.sampled_from(["shift", "scale"]),
    axi_data_width=st.sampled_from([32, 64, 512]),
)


def bits_of(image, start, width):
    """Unsigned integer in ``width`` bits from bit ``start`` of little-endian bytes."""
    return (int.from_bytes(image.tobytes(), "little") >> start) & ((1 << width) - 1)


def signed(value, width):
    return value - (1 << width) if value >> (width - 1) else value


@given(
    config=configs,
    shape=st.tuples(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4)),
    unsigned=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_tensors(config, shape, unsigned, seed):
    rng = np.random.default_rng(seed)
    half = 1 << config.act_bits - 1
    offset = half if unsigned else 0
    channels, height, width = shape
    layout = TensorLayout(
        channels=channels, height=height, width=width, pitch=width + 3, offset=offset
    )
    codes = rng.integers(-half, half, shape) + offset
    image = layout.pack(config, codes)
    assert image.dtype == np.uint8
    assert len(image) == layout.host_bytes(config)
    assert np.array_equal(layout.unpack(config, image), codes)
    # Each code where the class says it is: one word per position, beats of their own.
    groups = -(-channels // config.lanes)
    assert layout.groups(config) == groups
    assert layout.words(config) == groups * height * (width + 3)
    beat_bytes = config.axi_data_width // 8
    word_bytes = -(-config.lanes * config.act_bits // (8 * beat_bytes)) * beat_bytes
    assert len(image) == groups * height * width * word_bytes
    for channel in range(groups * config.lanes):
        y, x = rng.integers(height), rng.integers(width)
        group, lane = divmod(channel, config.lanes)
        word = (group * height + y) * width + x
        stored = bits_of(
            image[word * word_bytes :][:word_bytes], lane * config.act_bits, config.act_bits
        )
        # Channels that do not exist hold code 0.
        expected = codes[channel, y, x] if channel < channels else 0
        assert signed(stored, config.act_bits) == signed(
            (expected - offset) % (1 << config.act_bits), config.act_bits
        )


@given(config=configs, seed=st.integers(0, 1 << 30), vector=st.booleans())
def test_weights(config, seed, vector):
    rng = np.random.default_rng(seed)
    powers = 1 << np.arange(max_weight(config.weight_bits).bit_length())
    outputs, inputs, height, width = shape = tuple(rng.integers(1, [14, 20, 4, 4]))
    weight = rng.choice(np.concatenate([[0], powers, -powers]), shape)
    words = (pack_vector_weights if vector else pack_weights)(config, weight)
    assert words.dtype == np.uint8
    assert words.shape[1] % (config.axi_data_width // 8) == 0
    bits, lanes, filters = config.weight_bits, config.lanes, config.filters
    for _ in range(40):
        out, inp, j, k = (int(rng.integers(size)) for size in shape)
        if vector:
            group, lane = divmod(out, lanes)
            word = ((group * inputs + inp) * height + j) * width + k
            position = lane
        else:
            (group, filter_), (depth, lane) = divmod(out, filters), divmod(inp, lanes)
            word = ((group * -(-inputs // lanes) + depth) * height + j) * width + k
            position = filter_ * lanes + lane
        code = bits_of(words[word], position * bits, bits)
        index, negative = code % (1 << bits - 1), code >> (bits - 1)
        magnitude = 1 << index - 1 if index else 0
        value = weight[out, inp, j, k]
        if vector and outputs == 1:
            assert all(bits_of(words[word], place * bits, bits) == code for place in range(lanes))
        assert value == (-magnitude if negative else magnitude)


@pytest.mark.parametrize("weight_bits", range(2, 7))
def test_codes_of_all_weights(weight_bits):
    """Index 0 is zero and index i is 2**(i - 1); zero has no sign."""
    config = replace(PRESETS["tiny"], weight_bits=weight_bits, acc_bits=48)
    powers = [1 << i for i in range(max_weight(weight_bits).bit_length())]
    assert len(powers) == (1 << weight_bits - 1) - 1
    codes = stored_weights(config, np.array([0, *powers, *(-p for p in powers)]))
    negative = [(1 << weight_bits - 1) | i for i in range(1, len(powers) + 1)]
    assert codes.tolist() == [*range(len(powers) + 1), *negative]


def test_factors():
    config = replace(PRESETS["tiny"], pe="multiply", acc_bits=24)
    assert stored_weights(config, np.array([0, 1, -1, 64, -64])).tolist() == [0, 1, 255, 64, 192]


@given(config=configs, channels=st.integers(1, 9), seed=st.integers(0, 1 << 30))
def test_parameters(config, channels, seed):
    rng = np.random.default_rng(seed)
    width = addend_bits(config)
    limit = 1 << width - 1
    params = ChannelParams(
        rng.integers(-limit, limit, channels),
        rng.integers(0, 64, channels),
        rng.integers(1, 1 << 16, channels),
    )
    words = pack_params(config, params)
    size = width + 6 + (16 if config.requant == "scale" else 0)
    assert len(words) == -(-channels // config.post_lanes)
    for channel in range(channels):
        word, lane = divmod(channel, config.post_lanes)
        start = lane * size
        assert signed(bits_of(words[word], start, width), width) == params.addend[channel]
        assert bits_of(words[word], start + width, 6) == params.shift[channel]
        if config.requant == "scale":
            assert bits_of(words[word], start + width + 6, 16) == params.multiplier[channel]
