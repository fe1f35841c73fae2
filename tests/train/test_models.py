"""Networks by name: sizes, parameter names, conversion, exactness."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.graph import Conv2d, Requantize
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.networks import float_network
from nbqnn_train.models import MODELS, build_model
from tests.nightly import NIGHTLY
from tests.train.exactness import assert_exact

#: Classes, input channels and parameters; those of ImageNet are the published numbers.
PARAMETERS = {
    "alexnet": (1000, 3, 61_100_840),
    "densenet121": (1000, 3, 7_978_856),
    "densenet_bc_100_12": (10, 3, 769_162),
    "digits": (10, 1, 15_418),
    "lenet5": (10, 1, 61_706),
    "mobilenet_v1": (1000, 3, 4_231_976),
    "nbq": (10, 3, 1_148_874),
    "nbq7": (10, 3, 1_165_866),
    "nbq_small": (10, 3, 72_954),
    "resnet8": (10, 3, 77_946),
    "resnet18": (1000, 3, 11_689_512),
    "resnet20": (10, 3, 269_722),
    "resnet32": (10, 3, 464_154),
    "resnet34": (1000, 3, 21_797_672),
    "resnet44": (10, 3, 658_586),
    "resnet50": (1000, 3, 25_557_032),
    "resnet56": (10, 3, 853_018),
    "vgg16": (1000, 3, 138_357_544),
}
#: Names and shapes in torchvision's weight files.
TORCHVISION = {
    "alexnet": {"features.10.weight": (256, 256, 3, 3), "classifier.6.bias": (1000,)},
    "vgg16": {"features.28.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)},
    "resnet18": {"layer2.0.downsample.0.weight": (128, 64, 1, 1), "fc.weight": (1000, 512)},
    "resnet50": {"layer1.0.downsample.1.running_var": (256,), "layer4.2.bn3.weight": (2048,)},
    "densenet121": {
        "features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3),
        "features.transition3.norm.weight": (1024,),
        "features.norm5.running_mean": (1024,),
        "classifier.weight": (1000, 1024),
    },
}
#: Images on which networks are compared node by node here: channels and size.
SMALL = {
    "alexnet": (3, 63),
    "densenet121": (3, 32),
    "densenet_bc_100_12": (3, 8),
    "digits": (1, 8),
    "lenet5": (1, 28),
    "mobilenet_v1": (3, 32),
    "nbq": (3, 8),
    "nbq7": (3, 32),
    "nbq_small": (1, 28),
    "resnet8": (3, 16),
    "resnet18": (3, 32),
    "resnet20": (3, 16),
    "resnet32": (3, 8),
    "resnet34": (3, 32),
    "resnet44": (3, 8),
    "resnet50": (3, 32),
    "resnet56": (3, 8),
    "vgg16": (3, 32),
}


def small_model(name: str, channels: int) -> nn.Module:
    """The network called ``name`` for 10 classes, with a narrow classifier where that is most of
    it."""
    model = build_model(name, 10, channels)
    if name in ("alexnet", "vgg16"):
        model.avgpool = nn.AdaptiveAvgPool2d(1)
        features = 256 if name == "alexnet" else 512
        for index, layer in enumerate(model.classifier):
            if isinstance(layer, nn.Linear):
                outputs = min(layer.out_features, 64)
                model.classifier[index] = nn.Linear(features, outputs)
                features = outputs
    return model


def test_all_are_known():
    assert set(PARAMETERS) == set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_number_of_parameters(name):
    classes, channels, expected = PARAMETERS[name]
    with torch.device("meta"):
        model = build_model(name, classes, channels)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    state = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert TORCHVISION.get(name, {}).items() <= state.items()


def check_exact(model: nn.Module, channels: int, size: int, count: int) -> None:
    images = np.random.default_rng(0).normal(size=(count, channels, size, size)).astype(np.float32)
    network = convert(model, QuantConfig(), torch.from_numpy(images))
    calibrate(network, [torch.from_numpy(images)])
    graph = assert_exact(network, images)
    assert not [node.name for node in graph.nodes if ".operand" in node.name]


@pytest.mark.parametrize("name", SMALL)
def test_exact(name):
    channels, size = SMALL[name]
    torch.manual_seed(0)
    check_exact(small_model(name, channels), channels, size, count=2)


@pytest.mark.skipif(not NIGHTLY, reason="for the nightly run: needs 8 GB and minutes")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["alexnet", "resnet50", "vgg16"])
def test_exact_at_full_size(name):
    torch.manual_seed(0)
    check_exact(build_model(name, 1000, 3), 3, 224, count=1)


def test_shortcut_without_parameters_is_a_copying_convolution():
    images = np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float32)
    network = convert(build_model("resnet20", 10, 3), QuantConfig(), torch.from_numpy(images))
    calibrate(network, [torch.from_numpy(images)])
    graph = assert_exact(network, images)
    copies = [
        node for node in graph.nodes if isinstance(node, Conv2d) and node.weight.shape[2:] == (1, 1)
    ]
    assert [node.weight.shape[:2] for node in copies] == [(32, 16), (64, 32)]
    for node in copies:
        assert node.weight.sum() == node.weight.shape[1]
        requantize = graph[node.name + ".out"]
        assert isinstance(requantize, Requantize)
        assert set(requantize.multiplier) == {1}
        assert not requantize.shift.any()
        assert not requantize.bias.any()


def test_unknown_model():
    with pytest.raises(NbqnnError, match=r"^Model must be one of alexnet, .*, not 'resnet21'$"):
        build_model("resnet21", 10, 3)


DATA = os.environ.get("NBQNN_DATA")


@pytest.mark.skipif(DATA is None, reason="NBQNN_DATA names no folder with pretrained weights")
@pytest.mark.parametrize(
    ("name", "file"),
    [("resnet20", "resnet20-12fca82f.safetensors"), ("resnet56", "resnet56-4bfd9763.safetensors")],
)
def test_pretrained_weights_load(name, file):
    model = float_network(name, 10, 3, Path(DATA) / "pretrained" / file)
    assert float(model.bn1.running_var.sum()) != 16
