"""What export refuses."""

import math

import pytest
import torch
from torch import nn

from nbqnn_train.convert import NetworkRefused, QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph import AvgPool2d, RegionAverage2d, accumulator_bounds, required_bits
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.trained import export_run


def network(module: nn.Module, channels: int, size: int, **options):
    torch.manual_seed(0)
    converted = convert(module, QuantConfig(**options))
    calibrate(converted, [torch.rand(4, channels, size, size)])
    return converted


def test_uncalibrated():
    with pytest.raises(NbqnnError, match="calibrated"):
        export_graph(convert(nn.Sequential(nn.Conv2d(1, 1, 1)), QuantConfig()), (1, 4, 4))


@pytest.mark.parametrize("shape", [(), (1, 0, 4), (1, 4, "4"), (1, 4, 4, 4)])
def test_bad_shapes(shape):
    with pytest.raises(NbqnnError, match="Input shape must be positive integers"):
        export_graph(network(nn.Sequential(nn.Conv2d(1, 1, 1)), 1, 4), shape)


def test_a_shape_that_does_not_fit():
    module = network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), 1, 4)
    with pytest.raises(NbqnnError, match=r"^Input shape \(1, 5, 5\) must fit the network: "):
        export_graph(module, (1, 5, 5))
    with pytest.raises(NbqnnError, match=r"^Input shape \(3, 4, 4\) must fit the network: "):
        export_graph(module, (3, 4, 4))


@pytest.mark.parametrize(
    ("part", "value", "place"),
    [
        ("weight", float("nan"), r"\[1, 0, 0, 0\]"),
        ("bias", float("inf"), r"\[1\]"),
        ("norm.running_var", float("-inf"), r"\[1\]"),
    ],
)
def test_weights_that_are_no_numbers(part, value, place):
    module = network(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), 1, 4)
    module.ops["_0"].state_dict()[part][1] = value
    with pytest.raises(
        NbqnnError, match=rf"^Layer '_0': {part} must be finite, not {value} at {place}$"
    ):
        export_graph(module, (1, 4, 4))


def test_adaptive_pooling_has_regions_where_it_does_not_divide():
    module = network(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Conv2d(1, 1, 1)), 1, 4)
    kinds = {
        size: {type(node) for node in export_graph(module, (1, size, size)).nodes}
        for size in (4, 5)
    }
    assert AvgPool2d in kinds[4]
    assert RegionAverage2d in kinds[5]


def test_sums_that_might_be_too_wide_are_refused_before_anything_is_learned():
    """2**17 products of 6-bit weights and 16-bit activations: 15 + 16 + 17 bits and a sign."""
    config = QuantConfig(weight_bits=6, act_bits=16)
    message = (
        "Sequential cannot be converted: sums of products of 6-bit weights and 16-bit activations "
        "could take 50 bits; at most 48 are allowed, at 0; give weights or activations fewer bits"
    )
    with pytest.raises(NetworkRefused) as caught:
        convert(nn.Sequential(nn.Linear(1 << 17, 1)), config)
    assert str(caught.value) == message
    assert [refusal.kind for refusal in caught.value.refusals] == ["width"]


@pytest.mark.parametrize("mode", ["shift", "scale"])
def test_the_widest_of_both(mode):
    """Accumulators hold whatever is learned: all weights the largest, all inputs at the limit."""
    module = nn.Sequential(nn.Conv2d(16, 1, 4, bias=False))
    nn.init.constant_(module[0].weight, 2.0**15)
    converted = network(module, 16, 4, weight_bits=6, act_bits=16, requant_mode=mode)
    graph = export_graph(converted, (16, 4, 4))
    assert graph["_0"].acc_bits <= 48


@pytest.mark.parametrize("mode", ["shift", "scale"])
def test_more_bits_of_weights_are_no_worse(mode):
    """Signal to noise of one layer, in dB: 6 bits once gave nothing but noise in mode scale."""
    x = torch.randn(32, 16, 6, 6, generator=torch.Generator().manual_seed(1))
    ratio = {}
    for bits in (4, 5, 6):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8))
        converted = convert(module, QuantConfig(weight_bits=bits, requant_mode=mode), x)
        calibrate(converted, [x])
        with torch.no_grad():
            wanted = module.eval()(x)
            error = converted.eval()(x) - wanted
        ratio[bits] = 10 * math.log10(float(wanted.square().sum() / error.square().sum()))
    assert ratio[4] > 10
    assert min(ratio[5], ratio[6]) > ratio[4] - 1


def test_accumulators_are_as_narrow_as_can_be():
    graph = export_graph(
        network(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 4)), 3, 4), (3, 4, 4)
    )
    for name, bounds in accumulator_bounds(graph).items():
        assert graph[name].acc_bits == required_bits(*bounds)


def test_wrong_kind():
    with pytest.raises(TypeError, match="Module must come from convert"):
        export_graph(nn.Flatten(), (1, 4, 4))


def test_no_run(tmp_path):
    with pytest.raises(NbqnnError, match=r"Run must be a folder with config\.toml"):
        export_run(tmp_path)
