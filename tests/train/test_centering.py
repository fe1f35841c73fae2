"""The mean of the batch in place of batch norm, once its scale is in the weights."""

import copy

import pytest
import torch
from torch import nn

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.quant.calibration import estimate_means
from nbqnn_train.quant.centering import centered, remember_mean

MODES = ["shift", "scale"]


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 2)])
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients(shape, biased):
    generator = torch.Generator().manual_seed(len(shape))
    value = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = bias if biased else None
    result, mean = centered(value.clone(), bias)
    axes = [0, *range(2, len(shape))]
    torch.testing.assert_close(mean, value.detach().mean(axes))
    torch.testing.assert_close(result.mean(axes), torch.zeros(3).double() if bias is None else bias)
    torch.testing.assert_close(result.var(axes), value.var(axes))
    inputs = (value,) if bias is None else (value, bias)
    assert torch.autograd.gradcheck(lambda v, b=None: centered(v.clone(), b)[0], inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_the_width_is_widened_first(dtype):
    value = (100 + torch.randn(64, 2, generator=torch.Generator().manual_seed(0))).to(dtype)
    result, mean = centered(value, None)
    assert result.dtype == mean.dtype == torch.float32
    torch.testing.assert_close(result, value.float() - value.float().mean(0))


def test_running_mean_is_that_of_the_norms_input():
    norm, gain = nn.BatchNorm1d(3, momentum=0.25), torch.tensor([2.0, -4.0, 0.0])
    norm.running_mean.fill_(8.0)
    # 0.75 * 8 + 0.25 * (mean / gain + bias); what is multiplied by zero needs only to be a number.
    remember_mean(norm, torch.tensor([2.0, 2.0, 0.0]), gain, torch.tensor([1.0, 0.5, 1.0]))
    assert norm.running_mean.tolist() == [6.5, 6.0, 6.25]


class Small(nn.Module):
    """A batch norm behind a convolution, one behind a linear layer and one alone."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(32, 5, bias=False), nn.BatchNorm1d(5)),
        )

    def forward(self, x):
        return self.body(x)


def small(mode: str):
    """The network in float64, calibrated, its statistics far from those of the images."""
    torch.manual_seed(1)
    module = Small()
    for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.1, 2)
        nn.init.uniform_(norm.weight, -1, 1)
    network = convert(module, QuantConfig(requant_mode=mode)).double()
    images = torch.randn(48, 2, 6, 6).double()
    calibrate(network, [images])
    return network, images


@pytest.mark.parametrize("mode", MODES)
def test_estimated_means_are_those_of_all_images(mode):
    """Then the batch's mean and the running mean are the same, and so is what is computed."""
    network, images = small(mode)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    estimate_means(network, [images])
    after = network.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.rsplit(".", 1)[1] for name in changed} == {"running_mean", "num_batches_tracked"}
    assert not network.mode.frozen
    network.mode.refresh = False
    live = copy.deepcopy(network).train()(images)
    network.mode.frozen = True
    folded = network.train()(images)
    # Offsets are rounded to a grid in one of them, so a few codes differ.
    step = network.ops["body_7"].out.format.step
    assert ((live - folded).abs() > 1.5 * step).double().mean() < 0.02


@pytest.mark.parametrize("mode", MODES)
def test_estimate_is_the_average_over_batches(mode):
    network, images = small(mode)
    estimate_means(network, [images[:16], images[16:32], images[32:]])
    layer = network.ops["body_0"]
    norm = layer.norm
    assert norm.momentum == 0.1
    assert network.mode.refresh
    # The first layer sees the images, quantized; its mean over batches is that over all.
    quantized = network.ops[network.steps[0].name].out(images)
    gain = layer._gain()
    weight = layer.weight * layer._per_channel(layer._fold(gain))
    weight = layer._project(weight, layer.exponent)
    sums = layer._linear(quantized, weight).mean((0, 2, 3))
    expected = sums / (gain if mode == "shift" else torch.sign(gain)) + layer.bias
    torch.testing.assert_close(norm.running_mean, expected)
