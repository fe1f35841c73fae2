"""Random small networks: PyTorch in float64 and the interpreter agree on every tensor."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.graph import nodes, operators
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.graph.operators import OPERATORS
from nbqnn_train.models.shortcut import PaddedShortcut
from nbqnn_train.quant.reading.training_only import FunctionalDropout
from tests.nightly import NIGHTLY, examples
from tests.train.exactness import assert_exact
from tests.train.random_networks import networks, random_images, randomized

MODES = ["shift", "scale"]
EVERY_NODE = {getattr(nodes, name) for name in nodes.__all__} - {
    nodes.Graph,
    nodes.Node,
    nodes.TensorType,
    nodes.Unary,
}


#: Of a hundred networks some have them; the others are in the small networks of test_families.
OFTEN = set(OPERATORS) - {
    operators.ArgMax,
    operators.Bilinear2d,
    operators.Constant,
    operators.DepthToSpace,
    operators.RegionMax2d,
    operators.SpaceToDepth,
    operators.Unflatten,
}


def images(seed: int, channels: int, size: int, signed: bool, count: int = 5) -> np.ndarray:
    return random_images(seed, (count, channels, size, size), signed)


class Everything(nn.Module):
    """Each supported operation once or more, in module, functional and method form."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=(2, 1), groups=4)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 2, padding="same")
        self.act3 = nn.ReLU6()
        self.bn4 = nn.BatchNorm2d(24)
        self.hard = nn.Hardtanh(-0.5, 0.75)
        self.shortcut = PaddedShortcut(24, 4, 2)
        self.conv5 = nn.Conv2d(24, 32, 1, stride=2)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.average = nn.AvgPool2d(2, 1, padding=1)
        self.adaptive = nn.AdaptiveAvgPool2d((2, 1))
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(32 * 2, 12)
        self.bn6 = nn.BatchNorm1d(12, affine=False)

    def forward(self, x):
        a = self.relu(self.bn1(self.conv1(x)))
        b = self.bn2(self.conv2(a))
        c = self.act3(self.conv3(a))
        d = self.relu(a.add(b))
        e = torch.cat([a, F.relu(b), c + d], 1)
        e = self.hard(self.bn4(e))
        e = self.shortcut(e) + self.conv5(e)
        e = self.average(self.pool(e))
        e = self.drop(self.adaptive(e))
        return self.bn6(self.linear(e.view(e.size(0), -1)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight_bits", [2, 3, 4, 5])
@pytest.mark.parametrize("act_bits", [4, 8, 16])
def test_every_operation(mode, weight_bits, act_bits):
    x = images(weight_bits, 3, 12, signed=True)
    config = QuantConfig(weight_bits=weight_bits, act_bits=act_bits, requant_mode=mode)
    network = convert(randomized(Everything(), act_bits), config)
    calibrate(network, [torch.from_numpy(x)])
    graph = assert_exact(network, 2 * x)  # twice as large: saturation happens
    assert {type(node) for node in graph.nodes} == EVERY_NODE
    multipliers = np.concatenate([n.multiplier for n in graph.nodes if type(n) is nodes.Requantize])
    assert (mode == "scale") == (multipliers.max() > 16)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.timeout(1800 if NIGHTLY else 600)
def test_random_networks():
    """Networks of every operation, window, width and mode; together they hold every node."""
    seen = set()

    @settings(
        max_examples=examples(180),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(networks())
    def check(drawn):
        example = torch.from_numpy(drawn.images)
        try:
            network = convert(drawn.module, drawn.config, example)
        except NbqnnError as error:
            if "must match a layer, but the network has none" in str(error):
                reject()
            raise
        calibrate(network, [torch.from_numpy(drawn.images)])
        try:
            graph = assert_exact(network, 1.5 * drawn.images)  # larger: saturation happens
        except NbqnnError as error:
            if "bits; at most 48 are allowed" in str(error):
                reject()
            raise
        seen.update(type(node) for node in graph.nodes)

    check()
    assert seen >= EVERY_NODE | OFTEN


def test_pooling_to_the_size_that_is_there_changes_nothing():
    """As in AlexNet and VGG for images of 224 x 224; other sizes are pooled."""
    module = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(6))
    network = convert(randomized(module, 1), QuantConfig())
    calibrate(network, [torch.from_numpy(images(0, 2, 6, signed=True))])
    same = assert_exact(network, images(1, 2, 6, signed=True))
    assert not [node for node in same.nodes if isinstance(node, nodes.AvgPool2d)]
    pooled = assert_exact(network, images(1, 2, 12, signed=True))
    assert [node.kernel for node in pooled.nodes if isinstance(node, nodes.AvgPool2d)] == [(2, 2)]


@pytest.mark.parametrize(
    ("size", "kernels"),
    [
        (7, [(7, 7)]),
        (12, [(4, 1), (1, 4), (3, 3)]),
        (14, [(2, 2), (7, 7)]),
        (28, [(4, 1), (1, 4), (7, 7)]),
    ],
)
def test_means_of_large_maps_fit_small_accumulators(size, kernels):
    """Blocks of a power of two positions first, columns before rows; 8-bit codes fit 20 bits."""
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    network = convert(randomized(module, 1), QuantConfig(act_bits=8))
    calibrate(network, [torch.from_numpy(images(0, 2, size, signed=True))])
    graph = assert_exact(network, images(1, 2, size, signed=True))
    averages = [node for node in graph.nodes if isinstance(node, nodes.AvgPool2d)]
    assert [node.kernel for node in averages] == kernels
    assert max(node.acc_bits for node in averages) <= 20


@pytest.mark.parametrize("mode", MODES)
def test_concatenation_of_different_widths(mode):
    """An operand of other bits is requantized on its way; others share one format."""
    x = images(7, 3, 12, signed=True)
    overrides = {"conv2": {"act_bits": 6}}
    config = QuantConfig(requant_mode=mode, overrides=overrides)
    network = convert(randomized(Everything(), 7), config)
    calibrate(network, [torch.from_numpy(x)])
    graph = assert_exact(network, x)
    assert [node.name for node in graph.nodes if ".operand" in node.name] == ["cat.operand1"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_extreme_scales(mode, scale):
    """Channels whose weights are negligible or enormous beside the others'."""
    module = randomized(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), 1)
    module[1].weight.data[1] = scale
    module[0].weight.data[2] *= scale
    module[0].weight.data[3] = 0
    x = images(0, 2, 4, signed=True)
    network = convert(module, QuantConfig(requant_mode=mode))
    calibrate(network, [torch.from_numpy(x)])
    assert_exact(network, x)


@pytest.mark.parametrize("mode", MODES)
def test_training_under_the_fold_computes_the_exported_network(mode):
    """What the last phase of training sees is, in float64, what the graph computes."""
    x = torch.from_numpy(images(3, 3, 12, signed=True)).double()
    network = convert(randomized(Everything(), 3), QuantConfig(requant_mode=mode)).double()
    calibrate(network, [x])
    for part in network.modules():
        if isinstance(part, nn.Dropout | FunctionalDropout):
            part.p = 0.0
    expected = network.eval()(x)
    network.train()
    network.mode.frozen = True
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)):
        assert norm.num_batches_tracked == 0
    result = network(x)
    if mode == "shift":
        assert torch.equal(result, expected)
    else:
        # Multipliers have 16 bits in the graph and 53 here: a code may fall on the other side.
        torch.testing.assert_close(result, expected, atol=0.1, rtol=0.1)
    result.sum().backward()


def test_float32_evaluation_uses_the_same_integers():
    x = images(5, 3, 12, signed=True)
    network = convert(randomized(Everything(), 5), QuantConfig())
    calibrate(network, [torch.from_numpy(x)])
    network.eval()
    with torch.no_grad():
        single = network(torch.from_numpy(x))
        double = network.double()(torch.from_numpy(x).double())
    assert torch.equal(single.double(), double)
