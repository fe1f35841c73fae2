"""Mixed precision: values between layers are bfloat16, what is computed with them is not."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.quant import saturating
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.fused import quantized_centered, quantized_offset, quantized_sum

#: Bits, signed, and whether bfloat16 holds all codes.
FORMATS = [
    *((3, False, True), (4, True, True), (8, False, True), (8, True, True)),
    # Up to 256 and beyond.
    *((9, True, True), (9, False, False), (12, True, False)),
]


@pytest.fixture(params=[1 << 17, 100], ids=["whole", "in parts"], autouse=True)
def cached(request, monkeypatch):
    """Batches are worked on as a whole, or a few images at a time."""
    monkeypatch.setattr(saturating, "_CACHED", request.param)


def codes(value: Tensor, fmt: Format) -> Tensor:
    return torch.floor(value / fmt.step + 0.5)


def passes(value: Tensor, fmt: Format) -> Tensor:
    """Where the gradient passes, from the definition."""
    code, many = codes(value, fmt), fmt.bits >= 6
    return (code > fmt.low - 1 + many) & (code < fmt.high + 1 - many)


def drawn(fmt: Format, *shape: int) -> Tensor:
    """Numbers of bfloat16, of which some are beyond both ends of ``fmt``."""
    generator = torch.Generator().manual_seed(fmt.bits)
    spread = 0.7 * (fmt.high - fmt.low) * fmt.step
    return (torch.randn(shape, generator=generator) * spread).bfloat16()


@pytest.mark.parametrize(("bits", "signed", "narrow"), FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_offset_and_mean(bits, signed, narrow, dtype):
    fmt = Format(bits, signed, -3)
    given = drawn(fmt, 6, 4, 5, 3).to(dtype)
    bias = torch.tensor([0.3, -1.7, 0.0, 2.0], requires_grad=True)
    slope = torch.randn(6, 4, 5, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    half = narrow and dtype == torch.bfloat16
    for centers in (False, True):
        leaf = given.clone().requires_grad_()
        value = leaf * 1
        bias.grad = None
        mean = given.float().mean((0, 2, 3))
        if centers:
            result, found = quantized_centered(value, bias, fmt.step, fmt.low, fmt.high)
            torch.testing.assert_close(found, mean)
        else:
            result = quantized_offset(value, bias, fmt.step, fmt.low, fmt.high)
        offset = (bias.detach() - mean if centers else bias.detach())[:, None, None]
        wide = given.float() + offset
        assert result.dtype == (torch.bfloat16 if half else torch.float32)
        expected = codes(wide, fmt).clamp(fmt.low, fmt.high) * fmt.step
        assert torch.equal(result.float(), expected)
        result.backward(slope.to(result.dtype))
        gradient = slope.float() * passes(wide, fmt)
        torch.testing.assert_close(bias.grad, gradient.sum((0, 2, 3)))
        if centers:
            gradient = gradient - gradient.mean((0, 2, 3))[:, None, None]
        torch.testing.assert_close(leaf.grad, gradient.to(dtype))


@pytest.mark.parametrize(("bits", "signed", "narrow"), FORMATS)
@pytest.mark.parametrize("second", [torch.float32, torch.bfloat16])
def test_sum(bits, signed, narrow, second):
    fmt = Format(bits, signed, -3)
    one = drawn(fmt, 500).requires_grad_()
    two = drawn(fmt, 1000)[500:].to(second).requires_grad_()
    result = quantized_sum(one, two, fmt.step, fmt.low, fmt.high)
    total = one.detach().float() + two.detach().float()
    assert result.dtype == (torch.bfloat16 if narrow else torch.float32)
    assert torch.equal(result.float(), codes(total, fmt).clamp(fmt.low, fmt.high) * fmt.step)
    result.sum().backward()
    for leaf in (one, two):
        assert torch.equal(leaf.grad.float(), passes(total, fmt).float())


class Exact(nn.Module):
    """Sums of its convolutions fit bfloat16, those of its pooling do not."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 1)
        self.second = nn.Conv2d(4, 4, 1, bias=False, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AvgPool2d(16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(x).relu()
        short = F.pad(x[:, :2, ::2, ::2], (0, 0, 0, 0, 1, 1))
        x = (F.max_pool2d(self.norm(self.second(x)), 2) + short).relu()
        return self.pool(x).flatten(1), x


@pytest.mark.parametrize("frozen", [False, True])
def test_a_network_computes_what_it_computes_in_float32(frozen):
    torch.manual_seed(0)
    network = convert(Exact(), QuantConfig(act_bits=4, overrides={"pool": {"act_bits": 12}}))
    images = torch.randn(6, 2, 32, 32)
    calibrate(network, [images])
    network.train()
    network.mode.frozen, network.mode.refresh = frozen, False
    kinds = []
    for op in network.ops.values():
        op.register_forward_hook(lambda op, given, result: kinds.append(result.dtype))
    expected = network(images)
    assert set(kinds) == {torch.float32}
    kinds.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(images)
    assert kinds.count(torch.bfloat16) >= 4
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
