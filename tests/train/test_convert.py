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


class Joined(nn.Module):
    """A sum of two maps, joined with the input."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return torch.cat([self.conv(x) + x, x], dim=1)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.joined = Joined()

    def forward(self, x):
        return self.joined(x)


@pytest.mark.parametrize("pattern", ["*", "joined"])
def test_overrides_reach_sums_and_concatenations(pattern):
    """They have the path of the module that computes them."""
    config = QuantConfig(act_bits=4, overrides={pattern: {"act_bits": 10}})
    network = convert(Outer(), config, torch.rand(1, 2, 4, 4))
    bits = {type(op).__name__: op.out.bits for op in network.ops.values()}
    assert bits["AddOp"] == bits["ConcatOp"] == 10
    assert bits["InputOp"] == 4
    assert bits["WeightedLayer"] == (10 if pattern == "*" else 4)


@pytest.mark.parametrize(("given", "bits"), [(None, 4), (8, 8), (2, 2)])
def test_bits_of_inputs(given, bits):
    network = convert(nn.Sequential(Block()), QuantConfig(act_bits=4, input_bits=given))
    assert [q.bits for q in network.quantizers()] == [bits, 4]


@pytest.mark.parametrize("ends", [[], [nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.Flatten()]])
def test_bits_of_outputs(ends):
    """They are those of the layer that computes them, whatever moves them on; inner ones stay."""
    module = nn.Sequential(nn.Conv2d(2, 2, 1), Block(), *ends)
    config = QuantConfig(act_bits=4, output_bits=9, overrides={"*": {"act_bits": 5}})
    network = convert(module, config, torch.rand(1, 2, 4, 4))
    assert [q.bits for q in network.quantizers()] == [4, 5, 9]


def test_a_pattern_must_match():
    with pytest.raises(NbqnnError, match=r"^Override 'fc\*' must match a layer: one of 0\.conv, "):
        convert(nn.Sequential(Block()), QuantConfig(overrides={"fc*": {"weight_bits": 4}}))
    with pytest.raises(
        NbqnnError, match=r"^Override '\*' must match a layer, but the network has none$"
    ):
        convert(
            nn.Identity(), QuantConfig(overrides={"*": {"act_bits": 4}}), torch.rand(1, 2, 4, 4)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 1}, r"^Weight bits must be in 2\.\.6, not 1$"),
        ({"weight_bits": 7}, r"^Weight bits must be in 2\.\.6, not 7$"),
        ({"weight_bits": "3"}, r"^Weight bits must be in 2\.\.6, not '3'$"),
        ({"act_bits": 17}, r"^Activation bits must be in 2\.\.16, not 17$"),
        ({"input_bits": 1}, r"^Input bits must be in 2\.\.16, not 1$"),
        ({"output_bits": 17}, r"^Output bits must be in 2\.\.16, not 17$"),
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


@pytest.mark.parametrize("inside", [lambda network: network, nn.Sequential])
def test_a_converted_network_is_refused(inside):
    converted = convert(nn.Sequential(Block()), QuantConfig())
    with pytest.raises(NbqnnError, match="must be in full precision, not converted already; rem"):
        convert(inside(converted), QuantConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.to("meta"), "conv.weight must have values, not be on the device 'meta'"),
        (
            lambda m: m.norm.running_var.fill_(-2),
            "batch norm with a variance of -2, at norm .*; give running_var values of 0 or more",
        ),
    ],
)
def test_weights_that_are_none_are_refused(change, message):
    module = Block()
    change(module)
    with pytest.raises(NbqnnError, match=message):
        convert(module, QuantConfig(), torch.zeros(1, 2, 8, 8))


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


@pytest.mark.parametrize("mode", [True, False])
def test_the_result_is_in_training_mode_with_all_its_parts(mode):
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train(mode)
    network = convert(module, QuantConfig(), torch.zeros(1, 4))
    assert all(part.training for part in network.modules())
    assert module[1].training == mode
    x = torch.ones(8, 4)
    assert not torch.equal(network(x), network(x))  # dropout drops before any calibration
