"""Activations: rounding, saturation, gradients, and the choice of formats."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.interpreter import quantize_input
from nbqnn_train.graph.nodes import Input
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.formats import Format, fake_quantize, half_up
from nbqnn_train.quant.mode import Mode


def quantizer(bits=8, **options) -> ActivationQuantizer:
    return ActivationQuantizer(bits, Mode(), **options)


def test_ties_go_up():
    values = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5])
    assert half_up(values).tolist() == [-1, 0, 1, 2, 3]


@given(
    values=st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=9),
    exponent=st.integers(-6, 3),
    signed=st.booleans(),
    bits=st.integers(2, 16),
)
def test_fake_quantization_is_the_graphs_input(values, exponent, signed, bits):
    node = Input(name="x", shape=(len(values),), bits=bits, signed=signed, exponent=exponent)
    x = torch.tensor([values])
    expected = quantize_input(node, x.numpy())
    fmt = Format(bits, signed, exponent)
    result = fake_quantize(x, fmt.step, fmt.low, fmt.high)
    assert (result / fmt.step).tolist() == expected.tolist()


def test_gradient_stops_where_values_saturate():
    x = torch.tensor([-3.0, -0.3, -0.2, 0.1, 1.4, 1.6, 1.8, 9.0], requires_grad=True)
    fake_quantize(x, 0.5, 0, 3).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_gradient_with_many_codes():
    x = torch.tensor([-3.0, 0.2, 0.3, 127.2, 127.3, 200.0], requires_grad=True)
    fake_quantize(x, 0.5, 0, 255).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("bits", [3, 8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_overwriting_changes_nothing_but_memory(bits, signed):
    """Values and gradients are those of the definition, wherever the result is put."""
    fmt = Format(bits, signed, -3)
    values = torch.linspace(1.3 * fmt.low - 2, 1.3 * fmt.high + 2, 4001) * fmt.step
    codes = torch.floor(values / fmt.step + 0.5)
    expected = codes.clamp(fmt.low, fmt.high) * fmt.step
    if bits < 6:
        passes = (codes >= fmt.low) & (codes <= fmt.high)
    else:
        passes = (codes > fmt.low) & (codes < fmt.high)
    for overwrite in (False, True):
        leaf = values.clone().requires_grad_()
        fresh = leaf * 1
        result = fake_quantize(fresh, fmt.step, fmt.low, fmt.high, overwrite=overwrite)
        assert (result.data_ptr() == fresh.data_ptr()) == overwrite
        assert torch.equal(result, expected)
        (result * 3).sum().backward()
        assert torch.equal(leaf.grad, 3.0 * passes)


def test_uncalibrated_is_refused():
    with pytest.raises(NbqnnError, match="calibrated"):
        _ = quantizer().format


def test_calibration_without_data_is_refused():
    with pytest.raises(NbqnnError, match="at least one batch"):
        quantizer().best_exponent([], signed=False)


def test_calibration_refuses_nan():
    with pytest.raises(NbqnnError, match="finite"):
        quantizer().observe(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize(
    ("values", "signed", "exponent"),
    [
        ([0.0, 255.0], False, 0),
        ([0.0, 256.0], False, 1),
        ([-128.0, 127.0], True, 0),
        ([-129.0, 127.0], True, 1),
        ([0.0, 0.0], False, 0),
    ],
)
def test_percentile_of_everything_clips_nothing(values, signed, exponent):
    q = quantizer(percentile=100.0)
    q.observe(torch.tensor(values))
    # One side of two's complement reaches one code further; magnitudes do not use it.
    expected = exponent + (values == [-128.0, 127.0])
    assert q.best_exponent(q.recorded(), signed) == expected


def test_percentile_ignores_outliers():
    values = torch.ones(1000)
    values[0] = 1000.0
    q = quantizer(percentile=99.0)
    q.observe(values)
    assert q.best_exponent(q.recorded(), signed=False) == -7


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_error_is_the_least(bits):
    values = torch.randn(20000, generator=torch.Generator().manual_seed(1))
    q = quantizer(bits)
    q.observe(values)

    def error(exponent: int) -> float:
        fmt = Format(bits, True, exponent)
        return float((fake_quantize(values, fmt.step, fmt.low, fmt.high) - values).square().sum())

    best = min(range(-20, 10), key=error)
    assert q.best_exponent(q.recorded(), signed=True) == best


def test_relu6_in_codes():
    assert Format(8, False, -5).code_range(0.0, 6.0) == (0, 192)
    assert Format(8, False, -6).code_range(0.0, 6.0) == (0, 255)
    assert Format(8, True, -5).code_range(-1.0, 1.0) == (-32, 32)
    assert Format(4, True, 0).code_range(-math.inf, math.inf) == (-8, 7)
