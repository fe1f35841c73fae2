"""What the loss sees of latent weights, forwards and backwards."""

import pytest
import torch

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.estimators import estimator, reconstructed, straight_through
from nbqnn_train.quant.weights import project


def quantized(w):
    return project(w, torch.tensor(-2), 3)


@pytest.fixture
def latent():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.9])
def test_gradient_of_the_blend_is_the_real_one(latent, lam):
    """Numerical differentiation agrees, so the gradient is that of the function computed."""
    # Nothing may lie so near to a threshold that the differences step across it.
    assert torch.autograd.gradcheck(lambda w: reconstructed(w, quantized(w), lam), latent, eps=1e-7)


def test_blend_goes_from_latent_to_staircase(latent):
    q = quantized(latent)
    assert torch.equal(reconstructed(latent, q, 0.0), latent)
    assert torch.equal(reconstructed(latent, q, 1.0), q)
    middle = reconstructed(latent, q, 0.25)
    torch.testing.assert_close(middle, 0.75 * latent + 0.25 * q)


@pytest.mark.parametrize("lam", [0.1, 1.0])
def test_straight_through(latent, lam):
    q = quantized(latent)
    out = straight_through(latent, q, lam)
    torch.testing.assert_close(out, q)
    (gradient,) = torch.autograd.grad((out * torch.arange(50)).sum(), latent)
    assert gradient.tolist() == list(range(50))


def test_straight_through_starts_with_latent_weights(latent):
    assert straight_through(latent, quantized(latent), 0.0) is latent


def test_unknown_estimator():
    with pytest.raises(
        NbqnnError, match=r"^Estimator must be one of reconstructed, ste.*, not 'x'$"
    ):
        estimator("x")
