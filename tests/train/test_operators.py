"""What functions, constants and windows of operators are, beside plain computations."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import NetworkRefused, QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph import AvgPool2d, run, tensor_types
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.operators import RegionAverage2d, Table
from nbqnn_train.pointwise import pointwise
from nbqnn_train.quant.operators.regions import Regions
from nbqnn_train.quant.ops import mean_stages
from nbqnn_train.quant.transposed import TransposedGeometry, turned
from nbqnn_train.quantize import quantize
from tests.train.exactness import assert_exact
from tests.train.networks.parts import Net, conv

SHAPE = (1, 4, 4)


def table_of(module: nn.Module, images: torch.Tensor, act_bits: int = 8):
    """The only table of a network, and its input's exponent."""
    network = convert(module, QuantConfig(act_bits=act_bits), images[:1])
    calibrate(network, [images])
    graph = export_graph(network)
    (table,) = (node for node in graph.nodes if isinstance(node, Table))
    return table, tensor_types(graph)[table.input].exponent


def spread(scale: float) -> torch.Tensor:
    return scale * torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0))


def function_after(layer: nn.Module) -> nn.Module:
    first = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(first.weight, 1.0)
    return nn.Sequential(first, layer)


@pytest.mark.parametrize("act_bits", [4, 6, 8])
def test_a_table_holds_the_function(act_bits):
    table, exponent = table_of(function_after(nn.SiLU()), spread(3), act_bits)
    lowest = -(1 << act_bits - 1)
    for code, entry in enumerate(table.table, lowest):
        x = code * 2.0**exponent
        value = x / (1 + math.exp(-x))
        nearest = math.floor(value / 2.0**table.exponent + 0.5)
        assert entry == min(max(nearest, lowest), -1 - lowest)


def test_the_dip_of_silu_survives():
    """Of inputs up to 60 in size, all that lies below zero is above -0.28."""
    table, _ = table_of(function_after(nn.SiLU()), spread(15))
    assert table.signed
    assert int(table.table.min()) < 0


def test_a_sigmoid_does_not_need_the_range_of_its_input():
    _, plain = table_of(function_after(nn.LeakyReLU(0.5)), spread(30))
    table, fine = table_of(function_after(nn.Sequential(nn.Sigmoid(), nn.AvgPool2d(2))), spread(30))
    assert not table.signed
    assert plain >= 0
    assert fine <= -4  # -8 ... 8 and less, not -100 ... 100


def test_wide_inputs_are_interpolated_between_knots():
    table, exponent = table_of(function_after(nn.Tanh()), spread(1), act_bits=12)
    assert table.table.shape == (257,)
    knots = np.tanh((np.arange(257) * 16 - 2048) * 2.0**exponent) / 2.0**table.exponent
    np.testing.assert_array_equal(table.table, np.clip(np.floor(knots + 0.5), -2048, 2047))


def test_limits_that_follow_a_function_are_in_its_table():
    table, _ = table_of(function_after(nn.Sequential(nn.GELU(), nn.ReLU6())), spread(4))
    assert not table.signed
    assert int(table.table.max()) * 2.0**table.exponent == pytest.approx(6, abs=0.05)


def rectified(forward) -> nn.Module:
    module = Net(lambda m, x: forward(m.a(x)), a=nn.Sequential(conv(1, 1), nn.ReLU()))
    module.a[0].bias.data[:] = 2
    return module


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (rectified(torch.log), "log of a value that rounding can make 0"),
        (rectified(lambda x: 1 / x), "reciprocal of a value that rounding can make 0"),
        (function_after(Net(lambda m, x: x.sqrt())), "sqrt of a value that rounding can make neg"),
        (Net(lambda m, x: m.a(x.log()), a=conv(1, 1)), "log of a value that rounding can make 0"),
    ],
)
def test_what_is_infinite_is_refused_before_a_training(module, reason):
    with pytest.raises(NetworkRefused, match=reason + r".*x\.clamp\(min=0\.001\)"):
        convert(module, QuantConfig(), spread(1)[:1])


def test_what_is_infinite_in_the_range_of_its_input_is_refused_by_calibration():
    """Images up to 4.5 have codes up to almost 8."""
    images = spread(1).abs().clamp(max=4.5) * 4.5 / spread(1).abs().max()
    module = Net(lambda m, x: m.a(torch.log(5 - x)), a=conv(1, 1))
    network = convert(module, QuantConfig(), images[:1])
    with pytest.raises(NbqnnError, match=r"log must be finite for every value of its input, not"):
        calibrate(network, [images])


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda x: torch.log(x + 1e-3), lambda x: math.log(x + 1e-3)),
        (lambda x: torch.log(x.clamp(min=1e-3)), lambda x: math.log(max(x, 1e-3))),
        (lambda x: torch.log(1 - x.clamp(max=0.999)), lambda x: math.log(1 - min(x, 0.999))),
        (lambda x: 1 / (3 * x + 0.01), lambda x: 1 / (3 * x + 0.01)),
        (lambda x: torch.rsqrt(F.max_pool2d(x, 2) + 1e-5), lambda x: (x + 1e-5) ** -0.5),
    ],
)
def test_what_keeps_a_function_finite_is_in_its_table(forward, expected):
    """A limit or a summand below half a step of the input's codes is not lost."""
    table, exponent = table_of(rectified(forward), spread(1))
    low, high = (-128, 127) if table.signed else (0, 255)
    for code, entry in enumerate(table.table):
        nearest = math.floor(expected(code * 2.0**exponent) / 2.0**table.exponent + 0.5)
        assert entry == min(max(nearest, low), high), code


def test_a_positive_factor_and_summand_by_channel_leave_no_sign():
    module = Net(
        lambda m, x: m.b(m.a(x) * m.factor + m.summand),
        a=nn.Sequential(conv(1, 2), nn.ReLU()),
        b=conv(2, 1),
        factor=torch.tensor([1.0, 3.0]).view(2, 1, 1),
        summand=torch.tensor([0.0, 2.0]).view(2, 1, 1),
    )
    network = convert(module, QuantConfig(), spread(1)[:1])
    calibrate(network, [spread(1)])
    graph = assert_exact(network, spread(1).numpy())
    (summed,) = (node for node in graph.nodes if node.name.startswith("add"))
    assert not tensor_types(graph)[summed.name].signed


def test_what_is_no_function_of_an_element_is_refused():
    @pointwise
    def cumulative(x):
        return x.cumsum(-1)

    with pytest.raises(NetworkRefused, match="'cumulative' must give each element on its own"):
        convert(Net(lambda m, x: cumulative(m.a(x)), a=conv(1, 1)), QuantConfig(), spread(1)[:1])


def test_padding_must_be_in_the_range_of_the_map():
    module = Net(lambda m, x: F.pad(m.a(x), (1, 1), value=1e4), a=conv(1, 1))
    network = convert(module, QuantConfig(), spread(1)[:1])
    calibrate(network, [spread(1)])
    with pytest.raises(NbqnnError, match=r"padding must be in .*, the range of the map, not 10000"):
        export_graph(network)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("options", [(1, 0, 1, 0), (2, 1, 1, 1), (3, 2, 2, 2)])
def test_windows_of_a_transposed_convolution(groups, options):
    """Products with the windows are what PyTorch computes."""
    stride, padding, dilation, added = options
    weight = torch.randn(4, 6 // groups, 3, 2)
    x = torch.randn(2, 4, 5, 4)
    expected = F.conv_transpose2d(x, weight, None, stride, padding, added, groups, dilation)
    geometry = TransposedGeometry(
        (stride, stride), (padding,) * 4, (dilation, dilation), groups, (added, added)
    )
    own = turned(weight, groups)
    torch.testing.assert_close(geometry.convolve(x, own), expected)
    windows = geometry.windows(x, (3, 2)).reshape(2, groups, 4 // groups, *expected.shape[2:], 3, 2)
    parts = own.reshape(groups, 6 // groups, 4 // groups, 3, 2)
    found = torch.einsum("ngihwjk,goijk->ngohw", windows, parts)
    torch.testing.assert_close(found.flatten(1, 2), expected)


@pytest.mark.parametrize(
    ("regions", "pool"),
    [
        (
            Regions(kernel=(3, 2), stride=(2, 2), padding=(1, 1), ceil=True),
            nn.AvgPool2d((3, 2), 2, 1, ceil_mode=True),
        ),
        (
            Regions(kernel=(3, 3), stride=(1, 2), padding=(1, 0), count_pad=False),
            nn.AvgPool2d(3, (1, 2), (1, 0), count_include_pad=False),
        ),
        (Regions(size=(3, 5)), nn.AdaptiveAvgPool2d((3, 5))),
        (Regions(kernel=(2, 2), stride=(2, 2), divisor=3), nn.AvgPool2d(2, divisor_override=3)),
    ],
)
@pytest.mark.parametrize("size", [(7, 8), (8, 11)])
def test_regions_are_those_of_pytorch(regions, pool, size):
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    rows, columns, divisors = regions.at(*size)
    found = [
        [x[0, :, a:b, c:d].sum((1, 2)) / divisors[i, j] for j, (c, d) in enumerate(columns)]
        for i, (a, b) in enumerate(rows)
    ]
    stacked = torch.stack([torch.stack(row, 1) for row in found], 1)
    torch.testing.assert_close(stacked[None], pool(x))


def test_post_training_quantization_of_operators():
    """Weights of transposed convolutions are rounded with the windows that they see."""
    layers = conv(1, 4), nn.SiLU(), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1, groups=2), nn.GELU()
    module = nn.Sequential(*layers, nn.PixelUnshuffle(2), conv(16, 2))
    images = spread(1)
    network = quantize(module, [images], QuantConfig(weight_bits=4), images=64)
    assert_exact(network, images[:4].numpy())
    with torch.no_grad():
        wanted, found = module(images), network.double()(images.double())
    error = (found - wanted).square().mean() / wanted.var()
    assert error < 0.05


def test_an_average_of_regions_is_near_its_divisor():
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    network = convert(nn.Sequential(pool), QuantConfig(), spread(1)[:1])
    calibrate(network, [spread(1)])
    (node,) = (n for n in export_graph(network).nodes if isinstance(n, RegionAverage2d))
    sizes = np.diff(node.rows, axis=1) * np.diff(node.columns, axis=1)[:, 0]
    np.testing.assert_allclose(node.multiplier / 2.0**node.shift * sizes, 1, atol=2e-3)


@pytest.mark.parametrize(
    ("window", "blocks"),
    [
        ((7, 7), []),
        ((8, 8), []),
        ((9, 9), [(1, 9)]),
        ((25, 5), [(1, 5)]),
        ((14, 14), [(2, 2)]),
        ((28, 28), [(4, 1), (1, 4)]),
        ((36, 18), [(4, 2), (1, 9)]),
        ((1, 125), [(1, 25)]),
    ],
)
def test_large_windows_are_averaged_in_stages_that_fit_20_bits(window, blocks):
    assert mean_stages(window, window, (0, 0, 0, 0)) == blocks
    torch.manual_seed(4)
    x = torch.rand(2, 3, *window) - 0.4
    body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(window))
    network = convert(body, QuantConfig(weight_bits=3, act_bits=8), x)
    calibrate(network, [x])
    graph = assert_exact(network, x.numpy())
    averages = [node for node in graph.nodes if isinstance(node, AvgPool2d)]
    assert len(averages) == len(blocks) + 1
    for node in averages:
        assert node.kernel[0] * node.kernel[1] * node.multiplier * 255 < 1 << 19
    # Each stage rounds half a step at most, and the factors are within 1/128.
    types = tensor_types(graph)
    out = types[graph.outputs[0]]
    step = 2.0 ** max(types[node.input].exponent for node in averages)
    expected = network.eval()(x.double()).detach()
    convolved = averages[0].input
    codes = run(graph, x.numpy(), trace=True)[convolved]
    means = np.ldexp(codes.astype(float), types[convolved].exponent).mean((2, 3))
    limit = len(averages) * (step / 2 + np.abs(means).max() / 128) + 2.0**out.exponent / 2
    assert np.abs(expected.numpy().reshape(means.shape) - means).max() <= limit


def test_windows_that_overlap_are_averaged_at_once():
    assert mean_stages((25, 5), (1, 1), (0, 0, 0, 0)) == []
    assert mean_stages((25, 5), (25, 5), (1, 1, 1, 1)) == []
