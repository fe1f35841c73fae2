"""Requantizers against exact fractions."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nbqnn_train.quant.fold import requantization

BITS = 8


def code(rule, acc: int) -> int:
    m, b, s = (int(t[0]) for t in (rule.multiplier, rule.bias, rule.shift))
    total = acc * m + b + ((1 << s) >> 1)
    assert abs(total) < 1 << 63
    return min(max(total >> s, -128), 127)


@given(
    log2=st.integers(-20, 4),
    offset=st.floats(-200, 200),
    out_exponent=st.integers(-4, 4),
    acc=st.integers(-(2**20), 2**20),
)
def test_shift_mode_is_exact_up_to_the_bias(log2, offset, out_exponent, acc):
    scale = torch.tensor([2.0**log2], dtype=torch.float64)
    rule = requantization(
        scale, torch.tensor([offset]).double(), out_exponent, BITS, 2**20, shift_mode=True
    )
    assert int(rule.multiplier[0]) in (1, 2, 4, 8, 16)
    exact = acc * Fraction(2) ** log2 + Fraction(offset) / Fraction(2) ** out_exponent
    clipped = min(max(exact, -128), 127)
    # Half a code from rounding the code and half a unit of the accumulator from rounding the bias.
    unit = min(Fraction(2) ** log2, 1)
    assert abs(code(rule, acc) - clipped) <= Fraction(1, 2) + unit / 2


@given(
    scale=st.floats(1e-6, 1000),
    offset=st.floats(-200, 200),
    acc=st.integers(-(2**20), 2**20),
)
def test_scale_mode_keeps_sixteen_bits(scale, offset, acc):
    rule = requantization(
        torch.tensor([scale], dtype=torch.float64),
        torch.tensor([offset], dtype=torch.float64),
        0,
        BITS,
        2**20,
        shift_mode=False,
    )
    m, s = int(rule.multiplier[0]), int(rule.shift[0])
    assert 1 <= m < 1 << 16
    assert abs(Fraction(m, 1 << s) / Fraction(scale) - 1) <= Fraction(1, 1 << 15)
    exact = min(max(acc * Fraction(m, 1 << s) + Fraction(offset), -128), 127)
    assert abs(code(rule, acc) - exact) <= Fraction(1, 2) + Fraction(1, 1 << s)


@pytest.mark.parametrize("shift_mode", [True, False])
@pytest.mark.parametrize("offset", [1e30, -1e30, 1e4])
def test_huge_biases_saturate(shift_mode, offset):
    """A bias beyond every accumulator is cut to what saturates just as well."""
    bound = 2**30
    rule = requantization(
        torch.tensor([2.0**-20]).double(),
        torch.tensor([offset]).double(),
        0,
        BITS,
        bound,
        shift_mode=shift_mode,
    )
    assert abs(int(rule.bias[0])) < 1 << 47
    expected = 127 if offset > 0 else -128
    assert {code(rule, acc) for acc in (-bound, 0, bound)} == {expected}
