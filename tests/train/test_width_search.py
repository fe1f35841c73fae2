"""Widths of layers: sensitivities, and the best mixes against all mixes."""

from itertools import product

import pytest
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quantize import quantize
from nbqnn_train.width_search import (
    _KEPT,
    LayerSensitivity,
    best_mixes,
    check_bit_widths,
    sensitivities,
)
from tests.train.test_quantize import images, separable

CONFIG = QuantConfig()


def test_the_best_mixes_are_those_of_all_mixes():
    layers = [
        LayerSensitivity("a", 100, {2: 5.0, 3: 1.0, 4: 0.0}),
        LayerSensitivity("b", 10, {2: 9.0, 3: 8.5, 4: 0.0}),
        LayerSensitivity("c", 70, {2: 1.0, 3: 1.0, 4: 0.0}),
        LayerSensitivity("d", 31, {2: 0.5, 4: 0.0}),
    ]
    every = []
    for widths in product(*(layer.distances for layer in layers)):
        pairs = list(zip(layers, widths, strict=True))
        bits = sum(layer.weights * width for layer, width in pairs)
        far = sum(layer.distances[width] for layer, width in pairs)
        every.append((bits, far))
    best = {
        one
        for one in every
        if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in every)
    }
    mixes = best_mixes(layers)
    assert [(mix.weight_bits, mix.distance) for mix in mixes] == sorted(best)
    for mix in mixes:
        assert mix.weight_bits == sum(layer.weights * mix.widths[layer.path] for layer in layers)
        assert mix.overrides["b"] == {"weight_bits": mix.widths["b"]}


def test_many_layers_are_thinned_out_without_losing_the_ends():
    generator = torch.Generator().manual_seed(0)
    layers = []
    for index in range(40):
        count = int(torch.randint(1, 10**6, (), generator=generator))
        # As many bits as they are worth: nearly every mix is worth having.
        far = count * (1 + 1e-3 * float(torch.rand((), generator=generator)))
        layers.append(LayerSensitivity(f"l{index}", count, {2: far, 3: 0.0}))
    mixes = best_mixes(layers)
    assert 1000 < len(mixes) <= _KEPT + 1
    weights = sum(layer.weights for layer in layers)
    assert (mixes[0].weight_bits, mixes[-1].weight_bits) == (2 * weights, 3 * weights)
    distances = [mix.distance for mix in mixes]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == 0.0


@pytest.mark.parametrize("mode", ["shift", "scale"])
def test_every_width_of_every_layer(mode):
    module, config = separable(), QuantConfig(requant_mode=mode)
    found = sensitivities(module, [images(96)], config, (4, 2, 3))
    paths = ["first", "depthwise", "grouped", "pointwise", "linear"]
    assert [layer.path for layer in found] == paths
    assert [layer.weights for layer in found] == [p.weight.numel() for p in _modules(module)]
    for layer in found:
        assert list(layer.distances) == [2, 3, 4]
        assert layer.distances[2] >= layer.distances[3] >= layer.distances[4] == 0.0
    assert sum(layer.distances[2] for layer in found) > 0
    assert sensitivities(module, [images(96)], config, (2, 3, 4)) == found


def test_a_layer_that_needs_two_bits_does_not_suffer():
    """Its weights are levels already; the first layer has no errors to make up for."""
    module = separable()
    with torch.no_grad():
        module.first.weight.copy_(module.first.weight.sign() / 4)
    config = QuantConfig(requant_mode="scale", act_bits=16)
    first, *others = sensitivities(module, [images(96)], config, (2, 4))
    assert first.distances[2] < 1e-3 * max(layer.distances[2] for layer in others)


def test_means_are_restored_for_each_width_once():
    """Of a network that is one layer, the distance is that of networks with each width."""
    torch.manual_seed(3)
    module = nn.Linear(16, 8).eval()
    x = torch.randn(256, 16) + 3  # inputs with means, which errors of weights carry on
    config = QuantConfig(act_bits=16)
    (found,) = sensitivities(nn.Sequential(module), [x], config, (2, 4))
    held_out = x[::8]
    with torch.no_grad():
        wanted = module(held_out).double()
    off = {}
    for bits in (2, 4):
        network = quantize(nn.Sequential(module), [x], QuantConfig(weight_bits=bits, act_bits=16))
        with torch.no_grad():
            off[bits] = float((network(held_out).double() - wanted).square().sum())
    assert found.distances[2] == pytest.approx(off[2] - off[4], rel=0.05)


def _modules(module):
    return [one for one in module.modules() if isinstance(one, nn.Conv2d | nn.Linear)]


def test_a_module_that_is_used_twice_has_one_width():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Linear(6, 6)

        def forward(self, x):
            return self.same(self.same(x).relu())

    torch.manual_seed(0)
    (found,) = sensitivities(Twice(), [torch.randn(64, 6)], CONFIG, (2, 4))
    assert (found.path, found.weights) == ("same", 36)
    assert found.distances[2] > 0


def test_within_inference_mode():
    """As a notebook may have it; ``quantize`` does not mind either."""
    found = sensitivities(separable(), [images(96)], CONFIG, (2, 3))
    with torch.inference_mode():
        assert sensitivities(separable(), [images(96)], CONFIG, (2, 3)) == found


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1.5])
def test_seeds_that_cannot_be(seed):
    with pytest.raises(NbqnnError, match=rf"^Seed must be in 0\.\.4294967295, not {seed}$"):
        sensitivities(separable(), [images(96)], CONFIG, (2, 3), seed=seed)


@pytest.mark.parametrize("widths", [(), (3,), (3, 3), (1, 3), (3, 7), (3, True)])
def test_widths_that_cannot_be(widths):
    with pytest.raises(NbqnnError, match=r"^Widths must be at least two of 2\.\.\.6 bits, not '"):
        check_bit_widths(widths)
