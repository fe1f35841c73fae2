"""What the loss sees of latent weights, forwards and backwards."""

import math

import pytest
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.estimators import (
    ESTIMATORS,
    additive_codes,
    additive_levels,
    estimator,
    logarithmic_codes,
    reconstructed,
    straight_through,
)
from nbqnn_train.quant.weights import largest_log2, project


def quantized(w):
    return project(w, torch.tensor(-2), 3)


@pytest.fixture
def latent():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("blend", [0.0, 0.3, 0.9])
def test_gradient_of_the_blend_is_the_real_one(latent, blend):
    """Numerical differentiation agrees, so the gradient is that of the function computed."""
    # Nothing may lie so near to a threshold that the differences step across it.
    assert torch.autograd.gradcheck(
        lambda w: reconstructed(w, quantized(w), blend), latent, eps=1e-7
    )


def test_blend_goes_from_latent_to_staircase(latent):
    q = quantized(latent)
    assert torch.equal(reconstructed(latent, q, 0.0), latent)
    assert torch.equal(reconstructed(latent, q, 1.0), q)
    middle = reconstructed(latent, q, 0.25)
    torch.testing.assert_close(middle, 0.75 * latent + 0.25 * q)


@pytest.mark.parametrize("blend", [0.1, 1.0])
def test_straight_through(latent, blend):
    q = quantized(latent)
    out = straight_through(latent, q, blend)
    assert torch.equal(out, q)
    (gradient,) = torch.autograd.grad((out * torch.arange(50)).sum(), latent)
    assert gradient.tolist() == list(range(50))


def test_straight_through_starts_with_latent_weights(latent):
    assert straight_through(latent, quantized(latent), 0.0) is latent


def test_unknown_estimator():
    with pytest.raises(
        NbqnnError, match=r"^Estimator must be one of reconstructed, ste.*, not 'x'$"
    ):
        estimator("x")


@pytest.mark.parametrize("bits", range(2, 7))
def test_logarithmic_rounding(bits):
    values = torch.linspace(-9, 9, 1001, dtype=torch.float64)
    codes = logarithmic_codes(values, torch.tensor(-1), bits).tolist()
    for value, code in zip(values.tolist(), codes, strict=True):
        log2 = math.log2(abs(2 * value)) if value else -math.inf
        expected = 0 if log2 < -0.5 else 2.0 ** min(max(round(log2), 0), largest_log2(bits))
        assert code == math.copysign(expected, value) or code == expected == 0


def test_additive_levels():
    assert additive_levels(2) == [0, 1]
    assert additive_levels(3) == [0, 1, 2, 4]
    assert additive_levels(4) == [0, 1, 2, 3, 4, 5]
    assert len(additive_levels(5)) == 16
    with pytest.raises(NbqnnError, match=r"must have 2\.\.5 bits, not 6"):
        additive_levels(6)


@pytest.mark.parametrize("bits", range(2, 6))
def test_additive_rounding(bits):
    values = torch.linspace(-60, 60, 997, dtype=torch.float64)
    codes = additive_codes(values, torch.tensor(0), bits)
    levels = torch.tensor(additive_levels(bits), dtype=torch.float64)
    nearest = (values.abs()[:, None] - levels).abs().amin(dim=1)
    assert torch.equal((values - codes).abs(), nearest)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_trains_and_evaluates(name):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    network = convert(module, QuantConfig(weight_bits=4, estimator=name))
    x = torch.rand(8, 1, 4, 4)
    calibrate(network, [x])
    network.mode.blend = 0.5
    network.train()(x).square().sum().backward()
    layer = network.ops["_0"]
    learned = layer.weight if layer.parts is None else layer.parts.sign
    assert learned.grad.abs().sum() > 0
    if name == "apot":
        with pytest.raises(NbqnnError, match="must be 0 or a signed power of two"):
            export_graph(network, (1, 4, 4))
    else:
        export_graph(network, (1, 4, 4))


def test_apot_has_no_six_bits():
    with pytest.raises(NbqnnError, match="Additive powers of two"):
        convert(nn.Sequential(nn.Conv2d(1, 1, 1)), QuantConfig(weight_bits=6, estimator="apot"))
