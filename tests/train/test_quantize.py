"""Post-training quantization as a whole."""

import copy
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.data import load_data
from nbqnn_train.export import export_graph
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.accuracy import count_correct
from nbqnn_train.learn.networks import float_network
from nbqnn_train.models import build_model
from nbqnn_train.quantize import quantize
from tests.train.exactness import assert_exact
from tests.train.random_networks import random_images, randomized
from tests.train.test_exactness import Everything

MODES = ("shift", "scale")


class Separable(nn.Module):
    """Depthwise, grouped and 1 x 1 convolutions, one with neither batch norm nor bias; linear."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=2)
        self.pointwise = nn.Conv2d(12, 6, 1, bias=False)
        self.linear = nn.Linear(6 * 4 * 4, 3)

    def forward(self, x):
        x = self.norm1(self.first(x)).relu()
        x = self.norm2(self.depthwise(x)).relu()
        x = self.pointwise(self.grouped(x).relu())
        return self.linear(x.flatten(1))


def images(count=64, channels=2, size=8, seed=0):
    """Neighbouring pixels are alike, as in pictures."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, channels, size // 2, size // 2, generator=generator)
    fine = torch.randn(count, channels, size, size, generator=generator)
    return nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear") + 0.2 * fine


def separable():
    torch.manual_seed(2)
    module = randomized(Separable(), 3)
    with torch.no_grad():
        for _ in range(8):  # running statistics that fit the weights
            module.train()(images())
    return module.eval()


def distance(network, wanted, x):
    """Share of the outputs' squares that is off."""
    found = network.double().eval()(x.double())
    return float((found - wanted).square().sum() / wanted.square().sum())


def nearest(module, x, config):
    network = convert(module, config)
    calibrate(network, [x])
    return network


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_outputs_are_nearer_than_with_nearest_levels(mode, bits):
    module, config = separable(), QuantConfig(weight_bits=bits, requant_mode=mode)
    fresh = images(seed=1)
    wanted = module.double()(fresh.double()).detach()
    module.float()
    found = distance(quantize(module, [images()], config), wanted, fresh)
    assert found < 0.6 * distance(nearest(module, images(), config), wanted, fresh)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_the_graph_computes_the_same_to_the_bit(mode, granularity):
    config = QuantConfig(requant_mode=mode, weight_exponents=granularity)
    network = quantize(separable(), [images()], config)
    assert not network.training
    assert_exact(network, images(8, seed=5).numpy())


def test_every_operation_goes_through():
    network = quantize(
        randomized(Everything(), 5),
        [torch.from_numpy(random_images(0, (32, 3, 9, 7), signed=True))],
        QuantConfig(),
    )
    assert_exact(network, random_images(1, (4, 3, 9, 7), signed=True))


def test_more_bits_of_weights_and_activations_are_nearly_the_real_network():
    module = separable()
    wanted = module.double()(images(seed=1).double()).detach()
    config = QuantConfig(weight_bits=4, act_bits=14, requant_mode="scale")
    assert distance(quantize(module.float(), [images()], config), wanted, images(seed=1)) < 0.03


def test_equal_arguments_give_equal_networks():
    first, second = (
        quantize(separable(), [images()], QuantConfig(), seed=3).state_dict() for _ in range(2)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_module_and_the_random_numbers_stay_as_they_are():
    module = separable()
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    quantize(module, [images()], QuantConfig())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_labels_do_not_count_and_only_so_many_images_are_read():
    def endless():
        while True:
            yield images(16), torch.zeros(16)

    x = images(16)
    config = QuantConfig()
    pairs = quantize(separable(), endless(), config, images=40).state_dict()
    alone = quantize(separable(), [x, x, x[:8]], config).state_dict()
    assert all(torch.equal(pairs[name], alone[name]) for name in alone)
    loader = DataLoader(TensorDataset(images(), torch.arange(64)), batch_size=24)
    assert quantize(separable(), loader, config).calibrated


def test_progress_is_told_from_the_first_layer_to_the_last():
    told = []
    quantize(separable(), [images()], QuantConfig(), progress=lambda *step: told.append(step))
    names = ["formats", "first", "depthwise", "grouped", "pointwise", "linear", "means"]
    assert told == [(number, 7, name) for number, name in enumerate(names, 1)]


def test_weights_of_one_layer_only_where_widths_differ():
    config = QuantConfig(overrides={"linear": {"weight_bits": 5}, "first": {"weight_bits": 2}})
    network = quantize(separable(), [images()], config)
    formats = network.formats()
    for step in network.steps:
        layer = network.ops[step.name]
        if step.name in network.weighted_layers():
            codes = layer.integers(formats[step.inputs[0]]).codes.abs()
            assert int(codes.max()) <= 1 << ((1 << (layer.bits - 1)) - 2)
    assert network.ops["first"].integers(formats["x"]).codes.abs().max() == 1


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([], {}, "Images to quantize with must be at least 16, not 0"),
        ([images(15)], {}, "Images to quantize with must be at least 16, not 15"),
        ([images()], {"images": 8}, "Images to quantize with must be at least 16, not 8"),
        ([images()], {"seed": -1}, "Seed must be in 0..4294967295, not -1"),
        (
            [torch.zeros(64, 2, 8, 8, dtype=torch.uint8)],
            {},
            "Batch 0 of the inputs must hold real numbers as the network was trained with, "
            "not torch.uint8",
        ),
        (
            [images() / 0],
            {},
            r"Batch 0 of the inputs must be finite, not ",
        ),
        ([images(16, size=16)], {}, "Input shape (2, 16, 16) must fit the network: "),
        ([images() * 2.0**80], {}, "Inputs 'x' must not exceed 1.5e+20, not reach "),
        ([images() * 2.0**-80], {}, "Inputs 'x' must reach 8.7e-19, not "),
    ],
)
def test_refused(batches, options, message):
    with pytest.raises(NbqnnError) as caught:
        quantize(separable(), batches, QuantConfig(), **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers():
    module = separable()
    module.linear.weight.data[1, 2] = float("nan")
    with pytest.raises(
        NbqnnError, match=r"^Weights of Separable: linear\.weight must be finite, not nan"
    ):
        quantize(module, [images()], QuantConfig())


@pytest.mark.parametrize("power", [61, -57])
def test_large_and_small_inputs_lose_no_more_than_others(power):
    """Squares of such inputs are infinite or zero in float32."""
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5, bias=False)
    module = nn.Sequential(*layers).eval()
    usual, scaled = (
        quantize(module, [images() * 2.0**p], QuantConfig()).weighted_layers().values()
        for p in (0, power)
    )
    for one, other in zip(usual, scaled, strict=True):
        assert torch.equal(one.weight, other.weight)


def test_values_that_no_format_holds():
    module = separable()
    module.linear.weight.data *= 2.0**90
    with pytest.raises(NbqnnError, match=r"^Values of 'linear' must not exceed .* scale weights"):
        quantize(module, [images()], QuantConfig())


class Shared(nn.Module):
    """One convolution on two inputs, in turn; two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x, y):
        x = self.norm(self.conv(x)).relu()
        return {"sum": self.norm(self.conv(x + y)).relu(), "first": x}


def test_shared_weights_several_inputs_and_outputs():
    """What is shared is rounded for each place on its own."""
    torch.manual_seed(0)
    module = randomized(Shared(), 7).eval()
    module.norm.weight.data.abs_().add_(0.5)
    x, y, fresh = images(), images(seed=1), (images(seed=2), images(seed=3))
    network = quantize(module, [(x, y, "names")], QuantConfig(weight_bits=4), example=(x, y))
    with torch.no_grad():
        wanted, found = module(*fresh), network(*fresh)
    assert wanted.keys() == found.keys()
    for name, real in wanted.items():
        assert float((found[name] - real).square().sum() / real.square().sum()) < 0.02
    first, second = network.weighted_layers().values()
    assert not torch.equal(first.weight, second.weight)


def test_layers_that_give_only_zeros():
    module = separable()
    module.norm1.weight.data[:] = 0
    module.norm1.bias.data[:] = -1
    assert_exact(quantize(module, [images()], QuantConfig()), images(4).numpy())


def test_digits_lose_little():
    """After two epochs in full precision. Nearest levels lose more."""
    digits = load_data("digits")
    torch.manual_seed(0)
    module = build_model("digits", 10, 1)
    x, labels = torch.from_numpy(digits.train.images()), torch.from_numpy(digits.train.labels)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for start in range(0, 2 * 1408, 64):
        part = slice(start % 1408, start % 1408 + 64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[part]), labels[part]).backward()
        optimizer.step()
    module.eval()

    def errors(network):
        return len(digits.test) - count_correct(network, digits.test)

    config = QuantConfig(weight_bits=3, act_bits=8)
    found = errors(quantize(module, [x[:96]], config))
    assert found <= errors(module) + 4  # of 360
    assert found < errors(nearest(module, x[:96], config))


DATA = os.environ.get("NBQNN_DATA")
FILES = () if DATA is None else ("pretrained/resnet20-12fca82f.safetensors", "cifar-10-batches-py")


@pytest.mark.skipif(
    DATA is None or not all((Path(DATA) / file).exists() for file in FILES),
    reason="NBQNN_DATA names no folder with pretrained weights and cifar-10-batches-py",
)
def test_resnet20_on_cifar10_loses_little():
    """128 images in place of 1024 and 500 test images: seconds."""
    data = load_data("cifar10", Path(DATA))
    module = float_network("resnet20", 10, 3, Path(DATA) / FILES[0]).eval()
    network = quantize(module, [torch.from_numpy(data.train.images(slice(128)))], QuantConfig())
    test = replace(data.test, pixels=data.test.pixels[:500], labels=data.test.labels[:500])
    assert count_correct(network, test) >= count_correct(module, test) - 15


def test_the_first_batch_is_the_example():
    """Where the module follows the size of its inputs; a generator loses nothing by it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(size=(6, 10)))
    batches = list(torch.randn(32, 1, 3, 5).split(8))
    network = quantize(module, (batch for batch in batches), QuantConfig())
    same = quantize(module, batches, QuantConfig(), example=torch.zeros(1, 1, 3, 5))
    assert export_graph(network) == export_graph(same)
    assert export_graph(network).input_nodes[0].shape == (1, 3, 5)
