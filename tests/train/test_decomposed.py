"""Sign, zero and exponent learned apart."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.evaluation import evaluate
from nbqnn_train.export import export_graph
from nbqnn_train.graph import run
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.training import train
from nbqnn_train.quant.decomposed import SignZeroShift
from nbqnn_train.quantize import quantize

LEVELS = {2: [0, 1], 3: [0, 1, 2, 4], 4: [0, 1, 2, 4, 8, 16, 32, 64]}


@pytest.mark.parametrize("bits", LEVELS)
def test_begins_with_the_nearest_levels(bits):
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(bits))
    parts = SignZeroShift(weight, bits)
    parts.begin(weight)
    found = parts().detach()
    step = torch.ldexp(torch.ones(5, 1), parts.exponent[:, None])
    levels = torch.tensor(LEVELS[bits]) * step[..., None]
    levels = torch.cat([-levels, levels], dim=2).expand(5, 40, -1)
    nearest = (levels - weight[..., None]).abs().amin(dim=2)
    torch.testing.assert_close((found - weight).abs(), nearest)
    assert all(float(w) in (levels[row, 0]).tolist() for row in range(5) for w in found[row])


def weights_of(sign: float, nonzero: float, shifts: tuple[float, float]):
    """A layer of 3 bits with one weight in steps of 1/4, and these latent numbers."""
    parts = SignZeroShift(torch.ones(1, 1), 3)
    with torch.no_grad():
        parts.exponent.fill_(-2)
        parts.sign.fill_(sign)
        parts.nonzero.fill_(nonzero)
        for latent, value in zip(parts.shifts, shifts, strict=True):
            latent.fill_(value)
    return parts, parts()


@pytest.mark.parametrize(
    ("latent", "weight"),
    [
        ((0.1, 0.1, (-1.0, -1.0)), 0.25),
        ((0.1, 0.1, (1.0, -1.0)), 0.25),  # the run of ones must end with the last
        ((0.1, 0.1, (-1.0, 1.0)), 0.5),
        ((-0.1, 0.1, (1.0, 1.0)), -1.0),
        ((-0.1, -0.1, (1.0, 1.0)), 0.0),
    ],
)
def test_each_is_decided_by_numbers_of_its_own(latent, weight):
    assert float(weights_of(*latent)[1].detach()) == weight


def test_gradients_pass_straight_through():
    """Of ``(2 s - 1) * z * 2**(b * (a + 1)) / 4``; a decision is as steep as 1 over 1/4."""
    parts, weight = weights_of(-0.1, 0.1, (-1.0, 1.0))
    weight.sum().backward()
    assert float(parts.sign.grad) == 2 * 2 / 4 * 2  # over twice the width
    assert float(parts.nonzero.grad) == -2 / 4 * 4
    slope = -2 * math.log(2) / 4 * 4
    assert [float(latent.grad) for latent in parts.shifts] == pytest.approx([slope, slope])


def small() -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    nn.init.uniform_(norm.weight, -1.5, 1.5)  # factors of both signs that are no powers of two
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, bias=False), norm, nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )


@pytest.mark.parametrize("mode", ["shift", "scale"])
def test_what_was_learned_is_what_is_exported(mode):
    network = convert(small(), QuantConfig(estimator="s3", requant_mode=mode))
    images = torch.randn(32, 2, 6, 6)
    calibrate(network, [images])
    network.train()(images)
    before = {name: layer.parts() for name, layer in network.weighted_layers().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(network(images), torch.arange(32) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    for layer in network.weighted_layers().values():
        layer.refresh()  # gamma has learned, too
    network.eval().double()
    formats = network.formats()
    codes = run(export_graph(network, (2, 6, 6)), images.numpy())
    exact = network(images.double()).detach()
    assert torch.equal(exact, torch.from_numpy(codes) * formats[network.steps[-1].name].step)
    changed = 0
    sources = {step.name: step.inputs for step in network.steps}
    for name, layer in network.weighted_layers().items():
        integers = layer.integers(formats[sources[name][0]])
        norm, shape = layer.norm, (-1, *(1,) * (layer.weight.dim() - 1))
        sign = torch.ones(1) if norm is None else torch.sign(norm.weight.detach())
        step = 2.0 ** layer.parts.exponent.double()
        found = layer.parts().detach() * sign.reshape(shape) / step.reshape(shape)
        assert torch.equal(integers.codes, found.long())
        changed += int((layer.parts() != before[name]).sum())
    assert changed


def test_rounded_weights_are_taken_over():
    images = [torch.randn(32, 2, 6, 6)]
    apart = quantize(small(), images, QuantConfig(estimator="s3"))
    together = quantize(small(), images, QuantConfig())
    assert torch.equal(apart(images[0]), together(images[0]))


def test_a_training(tmp_path):
    config = TrainConfig(model="digits", data="digits", epochs=2, estimator="s3")
    result = train(config, tmp_path / "run")
    assert result["accuracy"] > 0.8
    assert evaluate(tmp_path / "run", "digits").accuracy == result["accuracy"]
