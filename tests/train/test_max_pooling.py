"""Max pooling equals PyTorch's to the bit, gradients of equal values included."""

import pytest
import torch
from torch.nn import functional as F

from nbqnn_train.quant.max_pooling import max_pool


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((3, 6, 28, 28), (2, 2), (2, 2), (0, 0)),
        ((1, 1, 2, 4), (2, 2), (2, 2), (0, 0)),
        ((2, 3, 7, 8), (2, 2), (2, 2), (0, 0)),
        ((2, 3, 8, 8), (2, 2), (2, 2), (1, 1)),
        ((2, 3, 8, 8), (3, 3), (2, 2), (1, 1)),
        ((2, 3, 8, 8), (2, 2), (1, 1), (0, 0)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_pytorch(shape, kernel, stride, padding, layout, dtype):
    generator = torch.Generator().manual_seed(0)
    # Few values, so that most windows hold their largest one several times.
    codes = torch.randint(-2, 3, shape, generator=generator)
    value = codes.to(dtype).to(memory_format=layout).requires_grad_()
    expected = F.max_pool2d(value, kernel, stride, padding)
    pooled = max_pool(value, kernel, stride, padding)
    assert torch.equal(pooled, expected)
    gradient = torch.randn(expected.shape, generator=generator).to(dtype)
    (expected,) = torch.autograd.grad(expected, value, gradient)
    assert torch.equal(torch.autograd.grad(pooled, value, gradient)[0], expected)
