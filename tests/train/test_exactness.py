"""Random small networks: PyTorch in float64 and the interpreter agree on every tensor."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.graph import nodes
from nbqnn_train.models.shortcut import PaddedShortcut
from tests.train.exactness import assert_exact

MODES = ["shift", "scale"]


def images(seed: int, channels: int, size: int, signed: bool, count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (count, channels, size, size)
    return (rng.normal(size=shape) if signed else rng.random(shape)).astype(np.float32)


def randomized(module: nn.Module, seed: int) -> nn.Module:
    """Weights and batch norm as after a training, with negative and zero gammas."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.weight.data.normal_(std=0.3, generator=generator)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.1, 3, generator=generator)
            if part.affine:
                part.weight.data.normal_(generator=generator)
                part.weight.data[::5] = 0
                part.bias.data.normal_(generator=generator)
    return module


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
    kinds = {type(node) for node in graph.nodes}
    every = {getattr(nodes, name) for name in nodes.__all__} - {
        nodes.Graph,
        nodes.Node,
        nodes.TensorType,
    }
    assert kinds == every
    multipliers = np.concatenate([n.multiplier for n in graph.nodes if type(n) is nodes.Requantize])
    assert (mode == "scale") == (multipliers.max() > 16)


@st.composite
def layers(draw) -> tuple[nn.Module, int, int]:
    """A chain of convolutions with residual connections and pooling, its channels and size."""
    channels = draw(st.sampled_from([1, 2, 4]))
    size = draw(st.integers(5, 9))
    parts, current = [], channels
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if current % g == 0]))
        outputs = draw(st.sampled_from([4, 8]))
        kernel = draw(st.integers(1, 3))
        conv = nn.Conv2d(
            current,
            outputs,
            (kernel, draw(st.integers(1, 3))),
            stride=draw(st.integers(1, 2)),
            padding=draw(st.integers(0, 2)),
            dilation=draw(st.integers(1, 2)),
            groups=groups,
            bias=draw(st.booleans()),
        )
        parts.append(conv)
        if draw(st.booleans()):
            parts.append(nn.BatchNorm2d(outputs))
        parts.append(draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.Identity()])))
        current = outputs
        if draw(st.booleans()):
            parts.append(Residual(current))
    parts.append(draw(st.sampled_from([nn.AvgPool2d(2, padding=1), nn.MaxPool2d(2, 1, 1)])))
    parts.append(nn.AdaptiveAvgPool2d(1))
    parts += [nn.Flatten(), nn.Linear(current, 3)]
    return nn.Sequential(*parts), channels, size


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)) + x)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    layers(),
    st.integers(0, 1000),
    st.integers(2, 4),
    st.sampled_from([2, 3, 8]),
    st.sampled_from(MODES),
    st.booleans(),
    st.sampled_from(["channel", "tensor"]),
)
def test_random_networks(chain, seed, weight_bits, act_bits, mode, signed, granularity):
    module, channels, size = chain
    x = images(seed, channels, size, signed)
    config = QuantConfig(
        weight_bits=weight_bits,
        act_bits=act_bits,
        requant_mode=mode,
        weight_exponents=granularity,
    )
    try:
        randomized(module, seed)(torch.from_numpy(x))
    except RuntimeError:
        reject()  # a kernel larger than its input
    network = convert(module, config)
    calibrate(network, [torch.from_numpy(x)])
    assert_exact(network, x)


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
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    expected = network.eval()(x)
    network.train()
    network.mode.folded = True
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
