"""Conversion: what is fused, what is refused, what configurations mean."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.graph.errors import NbqnnError


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class Odd(nn.Module):
    """Several things that have no integer form."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Block(), nn.Sigmoid())
        self.up = nn.Upsample(scale_factor=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x):
        x = torch.tanh(self.body(x)) * 2
        return self.pool(self.up(x)).softmax(1)


def test_fusion():
    network = convert(nn.Sequential(Block(), nn.Flatten(), nn.Linear(16, 3)), QuantConfig())
    assert [type(network.ops[step.name]).__name__ for step in network.steps] == [
        "InputOp",
        "WeightedLayer",
        "FlattenOp",
        "WeightedLayer",
    ]
    assert list(network.weighted_layers()) == ["_0_conv", "_2"]


def test_the_module_stays_as_it_is():
    module = nn.Sequential(Block(), nn.Flatten())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    network = convert(module, QuantConfig())
    network.train()(torch.rand(4, 2, 4, 4)).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_everything_unsupported_is_named_at_once():
    with pytest.raises(NbqnnError) as caught:
        convert(Odd(), QuantConfig())
    message = str(caught.value)
    assert "\n" not in message
    for expected in (
        "body.1 (Sigmoid)",
        "the module itself (tanh)",
        "the module itself (mul)",
        "up (Upsample)",
        "pool (max pooling with ceil_mode, return_indices or dilation)",
        "the module itself (Tensor.softmax)",
    ):
        assert expected in message


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.conv(self.conv(x))


class Tuple(nn.Module):
    def forward(self, x):
        return x, x


class AddNumber(nn.Module):
    def forward(self, x):
        return x + 1


class Reshape(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), 2, -1)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Branching(), "Branching must be traceable by torch.fx"),
        (TwoInputs(), "a second input"),
        (Twice(), r"conv \(Conv2d that is called more than once\)"),
        (Tuple(), "an output that is not one tensor"),
        (AddNumber(), "an operand that is no tensor of the network, 1"),
        (Reshape(), "a change of shape to"),
        (nn.Conv2d(1, 1, 3, padding_mode="reflect"), "padding mode 'reflect'"),
        (nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)), "without running statistics"),
        (nn.Sequential(nn.AdaptiveAvgPool2d((None, 1))), "keeps a size"),
        (nn.Sequential(nn.AvgPool2d(3, padding=1, count_include_pad=False)), "not counted"),
        (nn.Sequential(nn.Flatten(0)), "flatten of dimensions 0 to -1"),
        (nn.Sequential(nn.Conv1d(1, 1, 1)), r"0 \(Conv1d\)"),
    ],
)
def test_refused(module, message):
    if isinstance(module, nn.Conv2d):
        module = nn.Sequential(module)
    with pytest.raises(NbqnnError, match=message):
        convert(module, QuantConfig())


def test_overrides_by_pattern():
    module = nn.Sequential(Block(), nn.Flatten(), nn.Linear(16, 3))
    config = QuantConfig(
        weight_bits=3,
        overrides={"*": {"act_bits": 6}, "0.*": {"weight_bits": 5}, "2": {"act_bits": 16}},
    )
    network = convert(module, config)
    conv, linear = network.weighted_layers().values()
    assert (conv.bits, conv.out.bits) == (5, 6)
    assert (linear.bits, linear.out.bits) == (3, 16)


def test_a_pattern_must_match():
    with pytest.raises(NbqnnError, match=r"^Override 'fc\*' must match a layer: one of 0\.conv, "):
        convert(nn.Sequential(Block()), QuantConfig(overrides={"fc*": {"weight_bits": 4}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 1}, r"^Weight bits must be in 2\.\.6, not 1$"),
        ({"weight_bits": 7}, r"^Weight bits must be in 2\.\.6, not 7$"),
        ({"weight_bits": "3"}, r"^Weight bits must be in 2\.\.6, not '3'$"),
        ({"act_bits": 17}, r"^Activation bits must be in 2\.\.16, not 17$"),
        ({"requant_mode": "fast"}, r"^Requantization mode must be shift or scale, not 'fast'$"),
        ({"estimator": "x"}, r"^Estimator must be one of "),
        (
            {"weight_exponents": "row"},
            r"^Weight exponents must be per channel or tensor, not 'row'$",
        ),
        ({"percentile": 0}, r"^Percentile must be in \(0, 100\], not 0$"),
        ({"overrides": {"a": {"bits": 3}}}, r"^Override of 'a' must set one of .*, not 'bits'$"),
        ({"overrides": {"a": {"act_bits": 1}}}, r"^Activation bits must be in 2\.\.16, not 1$"),
    ],
)
def test_bad_configuration(options, message):
    with pytest.raises(NbqnnError, match=message):
        convert(nn.Sequential(Block()), QuantConfig(**options))


@pytest.mark.parametrize("wrong", [None, {}, 3])
def test_wrong_kinds(wrong):
    with pytest.raises(TypeError, match=r"Module must be a torch\.nn\.Module"):
        convert(wrong, QuantConfig())
    with pytest.raises(TypeError, match="Configuration must be a QuantConfig"):
        convert(nn.Flatten(), wrong)
    with pytest.raises(TypeError, match="Module must come from convert"):
        calibrate(nn.Flatten(), [])


def test_evaluation_needs_calibration():
    network = convert(nn.Sequential(Block()), QuantConfig()).eval()
    with pytest.raises(NbqnnError, match="calibrated before"):
        network(torch.rand(1, 2, 4, 4))
