"""Training a converted network in one's own loop: without a schedule, with one, with Lightning."""

import copy

import lightning
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quantize import quantize
from nbqnn_train.quantized_training import QuantizedTraining, parameter_groups
from tests.train.exactness import assert_exact

STEPS = 40


def data():
    """Images whose class is the quarter with the bright spot."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (256,), generator=generator)
    images = 0.5 * torch.randn(256, 1, 8, 8, generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 4 * (label // 2) + 1, 4 * (label % 2) + 1] += 3
    return images, labels


IMAGES, LABELS = data()


def loader():
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=32)


def module():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


def prepared(**options):
    network = convert(module(), QuantConfig(weight_bits=3)).train()
    optimizer = torch.optim.SGD(parameter_groups(network, 1e-4), lr=0.1, momentum=0.9)
    training = QuantizedTraining(network, optimizer, steps=STEPS, batches=loader(), **options)
    return network, optimizer, training


def batches(first=0):
    for number in range(first, STEPS):
        start = 32 * (number % 8)
        yield IMAGES[start : start + 32], LABELS[start : start + 32]


def trained(**options):
    network, optimizer, training = prepared(**options)
    for images, labels in batches():
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        training.step()
    return network


def accuracy(network):
    outputs = network.double().eval()(IMAGES.double())
    return float((outputs.argmax(1) == LABELS).double().mean())


def assert_same(first, second):
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("mode", ["shift", "scale"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_without_a_schedule_every_parameter_gets_its_gradient(mode, calibrated):
    network = convert(module(), QuantConfig(requant_mode=mode))
    if calibrated:
        calibrate(network, loader())
    F.cross_entropy(network.train()(IMAGES), LABELS).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_without_a_schedule_the_loss_is_that_of_quantized_weights():
    network = convert(module(), QuantConfig(weight_bits=2))
    weight = network.weighted_layers()["_6"]
    before = network.train()(IMAGES)
    with torch.no_grad():
        codes = weight.estimator.codes(weight.weight, weight.exponent[:, None], 2)
        weight.weight.copy_(codes * 2.0 ** weight.exponent[:, None])
    torch.testing.assert_close(network(IMAGES), before)


def test_without_a_schedule_a_plain_loop_learns():
    network = convert(module(), QuantConfig(weight_bits=3)).train()
    calibrate(network, loader())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    before = accuracy(copy.deepcopy(network))
    for _ in range(2):
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
    calibrate(network, loader())
    assert before < 0.5 < 0.9 < accuracy(network)


def test_a_plain_loop_ends_with_what_is_exported():
    network = trained()
    assert network.mode.blend == 1
    assert network.mode.frozen
    folded = copy.deepcopy(network).double().train()(IMAGES.double())
    assert accuracy(network) > 0.9
    torch.testing.assert_close(folded, network(IMAGES.double()))
    assert_exact(network, IMAGES[:4].numpy())


def test_after_quantize_training_begins_where_it_was():
    network = quantize(module().eval(), loader(), QuantConfig(weight_bits=3))
    before = {name: layer.exponent.clone() for name, layer in network.weighted_layers().items()}
    weights = {name: layer.weight.clone() for name, layer in network.weighted_layers().items()}
    F.cross_entropy(network.train()(IMAGES), LABELS).backward()
    for name, layer in network.weighted_layers().items():
        assert torch.equal(layer.exponent, before[name])
        assert torch.equal(layer.weight, weights[name])
        assert bool(layer.weight.grad.any())


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_weights_stand_still_at_the_end_whatever_the_optimizer(kind):
    """One group for all, with decay, momentum and a rate of its own: nothing moves them."""
    network = convert(module(), QuantConfig()).train()
    optimizer = kind(network.parameters(), lr=0.01, weight_decay=0.1)
    training = QuantizedTraining(
        network, optimizer, steps=STEPS, batches=loader(), settle=0.25, sets_rates=False
    )
    for number, (images, labels) in enumerate(batches()):
        if number == 30:
            before = copy.deepcopy(network)
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        training.step()
        assert optimizer.param_groups[0]["lr"] == 0.01
    for name, layer in network.weighted_layers().items():
        assert torch.equal(layer.weight, before.ops[name].weight)
    assert torch.equal(network.ops["_0"].norm.weight, before.ops["_0"].norm.weight)
    assert not torch.equal(network.ops["_6"].bias, before.ops["_6"].bias)


def test_rates_are_those_of_the_schedule():
    _, optimizer, training = prepared()
    schedule = training._phases.schedule
    optimizer.zero_grad()
    for step in range(STEPS):
        rates = [group["lr"] for group in optimizer.param_groups]
        weights = 0.1 * schedule.weight_learning_rate(step)
        assert rates == [weights, weights, 0.1 * schedule.learning_rate(step)]
        training.step()


def test_clipping_in_between_is_three_calls_in_place_of_one():
    network, optimizer, training = prepared()
    for images, labels in batches():
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        training.scale_gradients()
        nn.utils.clip_grad_norm_(network.parameters(), 1e9)
        optimizer.step()
        training.advance()
    assert_same(network, trained())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*many workers.*")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*logging interval.*")
def test_lightning_calls_the_optimizer_itself():
    class Loop(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network, self.optimizer, self.training_steps = prepared()

        def configure_optimizers(self):
            return self.optimizer

        def training_step(self, batch, index):
            images, labels = batch
            return F.cross_entropy(self.network(images), labels)

        def on_before_optimizer_step(self, optimizer):
            self.training_steps.scale_gradients()

        def on_train_batch_end(self, outputs, batch, index):
            self.training_steps.advance()

    loop = Loop()
    lightning.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(loop, loader())
    assert_same(loop.network, trained())


def test_accelerate_prepares_the_optimizer():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    network, optimizer, _ = prepared()
    network, optimizer = accelerator.prepare(network, optimizer)
    inner = accelerator.unwrap_model(network)
    training = QuantizedTraining(inner, optimizer, steps=STEPS, batches=loader())
    for images, labels in batches():
        optimizer.zero_grad()
        accelerator.backward(F.cross_entropy(network(images), labels))
        training.step()
    assert_same(network, trained())


@pytest.mark.parametrize("at", [1, 20, 38])
def test_an_interrupted_loop_goes_on_as_if_nothing_had_been(at):
    network, optimizer, training = prepared()
    states = None
    for number, (images, labels) in enumerate(batches()):
        if number == at:
            states = copy.deepcopy([part.state_dict() for part in (network, optimizer, training)])
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        training.step()
    resumed, optimizer, training = prepared()
    for part, state in zip((resumed, optimizer, training), states, strict=True):
        part.load_state_dict(state)
    for images, labels in batches(at):
        optimizer.zero_grad()
        F.cross_entropy(resumed(images), labels).backward()
        training.step()
    assert_same(resumed, network)


def test_more_steps_than_announced_are_refused():
    _, _, training = prepared()
    for _ in range(STEPS):
        training.step()
    with pytest.raises(NbqnnError, match=r"^Training must not go on after its 40 steps$"):
        training.advance()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "Steps must be at least 1, not 0"),
        ({"steps": 1.5}, "Steps must be at least 1, not 1.5"),
        ({"warmup": 1}, "Share of the steps for warmup must be in [0, 1), not 1"),
        ({"settle": -0.1}, "Share of the steps for settle must be in [0, 1), not -0.1"),
        ({"blend_power": 0.5}, "Blend power must be in 1..16, not 0.5"),
        ({"batches": [torch.zeros(0, 1, 8, 8)]}, "Batch 0 of the inputs must hold inputs along"),
        ({"batches": []}, "Calibration must see at least one batch, not none"),
    ],
)
def test_refused(options, message):
    network = convert(module(), QuantConfig())
    options = {"steps": STEPS, "batches": [IMAGES]} | options
    with pytest.raises(NbqnnError) as caught:
        QuantizedTraining(network, None, **options)
    assert str(caught.value).startswith(message)


def test_a_module_that_was_not_converted():
    with pytest.raises(TypeError, match="Network must come from convert, not be Sequential"):
        QuantizedTraining(module(), None, steps=1, batches=[IMAGES])
