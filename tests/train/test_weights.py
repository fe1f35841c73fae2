"""Projection onto powers of two against a search over all levels."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nbqnn_train.quant.weights import (
    best_exponent,
    largest_log2,
    power_of_two,
    project,
    weight_codes,
)

WEIGHT_BITS = range(2, 7)


def levels(bits: int) -> list[int]:
    """Of 6 bits learning uses 16 of the 31 magnitudes."""
    powers = [1 << k for k in range(min(2 ** (bits - 1) - 1, 16))]
    return sorted([0, *powers, *(-p for p in powers)])


def nearest(value: float, bits: int) -> int:
    """By search; of two equally near levels the one of larger magnitude."""
    return min(levels(bits), key=lambda level: (abs(level - value), -abs(level)))


@pytest.mark.parametrize("bits", WEIGHT_BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_are_the_nearest_levels(bits, dtype):
    values = [k / 8 for k in range(-80, 81)] + [3e4, -3e4, 2.0**31, -(2.0**40), 1e-30]
    codes = weight_codes(torch.tensor(values, dtype=dtype), torch.tensor(0), bits)
    assert codes.tolist() == [nearest(value, bits) for value in values]


@given(
    value=st.floats(-1e6, 1e6, width=32),
    exponent=st.integers(-20, 20),
    bits=st.integers(2, 6),
)
def test_codes_for_any_step(value, exponent, bits):
    # Above 2**-100, so that the division is exact and no number is subnormal.
    if 0 < abs(value) < 2.0**-100:
        value = 0.0
    codes = weight_codes(torch.tensor([value]), torch.tensor([exponent]), bits)
    assert codes.item() == nearest(value / 2.0**exponent, bits)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20), st.integers(2, 6))
def test_codes_are_odd(values, bits):
    """Flipping the sign of weights flips that of codes: a negative gamma moves into weights."""
    w = torch.tensor(values)
    exponent = torch.tensor(-1)
    assert torch.equal(weight_codes(-w, exponent, bits), -weight_codes(w, exponent, bits))


def test_codes_hold_no_negative_zero():
    codes = weight_codes(torch.tensor([-0.1, -0.0]), torch.tensor(0), 3)
    assert not torch.signbit(codes).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_of_two_are_exact(dtype):
    exponents = torch.arange(-126, 128)
    powers = power_of_two(exponents, dtype)
    assert powers.tolist() == [2.0**k for k in range(-126, 128)]


@pytest.mark.parametrize("bits", WEIGHT_BITS)
def test_best_exponent_beats_all_others(bits):
    rng = np.random.default_rng(bits)
    w = torch.from_numpy(rng.standard_normal((16, 40)) * np.exp(rng.uniform(-5, 5, (16, 1))))
    chosen = best_exponent(w, bits)
    error = (project(w, chosen[:, None], bits) - w).square().sum(dim=1)
    for exponent in range(-60, 20):
        others = torch.full((16, 1), exponent)
        other = (project(w, others, bits) - w).square().sum(dim=1)
        assert (error <= other * (1 + 1e-12)).all(), exponent


def test_one_exponent_for_a_tensor():
    w = torch.tensor([[4.0, 1.0], [0.25, 0.5]])
    assert best_exponent(w, 3, per_tensor=True).tolist() == [0, 0]
    assert best_exponent(w, 3).tolist() == [0, -2]


def test_zero_channels_stay_zero():
    w = torch.zeros(3, 5)
    exponent = best_exponent(w, 3)
    assert torch.equal(project(w, exponent[:, None], 3), w)
    assert (exponent > -100).all()


@pytest.mark.parametrize("bits", WEIGHT_BITS)
def test_largest_level(bits):
    assert 1 << largest_log2(bits) == max(levels(bits))


def test_levels_project_to_themselves():
    for bits, exponent in itertools.product(WEIGHT_BITS, (-3, 0, 5)):
        values = torch.tensor(levels(bits), dtype=torch.float64) * 2.0**exponent
        assert torch.equal(project(values, torch.tensor(exponent), bits), values)
