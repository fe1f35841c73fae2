"""What calibration takes its formats from, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.export import export_graph
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.activations import ActivationQuantizer
from nbqnn_train.quant.mode import Mode
from nbqnn_train.quantize import quantize

IMAGES = torch.rand(8, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def float_network():
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*layers).eval()


def network():
    return convert(float_network(), QuantConfig())


def formats(batches):
    converted = network()
    calibrate(converted, batches)
    return converted.formats()


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("first", [0, 1])
def test_every_channel_row_and_column_counts(axis, first):
    """Values are only in every second slice: errors are those of all values, wherever they are."""
    values = torch.zeros(64, 4, 32, 32)
    generator = torch.Generator().manual_seed(1)
    half = list(values.shape)
    half[axis] //= 2
    values.narrow(axis, 0, values.shape[axis])[(slice(None),) * axis + (slice(first, None, 2),)] = (
        torch.randn(half, generator=generator)
    )
    values[::16, 0, 5, 7] = 30  # outliers that a coarse step would be wasted on
    quantizer = ActivationQuantizer(4, Mode())
    quantizer.observe(values)

    def error(exponent):
        step = 2.0**exponent
        codes = torch.floor(values / step + 0.5).clamp(-8, 7)
        return float((codes * step - values).square().sum())

    best = min(range(-6, 4), key=error)
    assert quantizer.best_exponent(quantizer.recorded(), signed=True) == best


def test_channels_in_front_of_a_depthwise_layer_count_as_its_filters_say():
    """Batch norm makes one channel 256 times as large, and that of the depthwise layer undoes it.
    Formats are those of the least error behind the depthwise layer, which reaches one position.
    Weights are powers of two, so that rounding them changes nothing."""
    torch.manual_seed(2)
    depthwise = nn.Conv2d(6, 6, 1, groups=6, bias=False)
    module = nn.Sequential(
        *(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.Hardswish(), depthwise, nn.BatchNorm2d(6)),
        *(nn.ReLU(), nn.Conv2d(6, 3, 1)),
    ).eval()
    for layer in (module[0], depthwise):
        powers = torch.randint(-2, 1, layer.weight.shape)
        layer.weight.data = layer.weight.sign() * 2.0**powers
    large = torch.tensor([1.0, 1, 1, 256, 1, 1])
    module[1].weight.data *= large
    module[4].running_var *= large.square()
    images = torch.randn(8, 2, 6, 6)
    converted = convert(module, QuantConfig())
    calibrate(converted, [images])

    gain = depthwise.weight.flatten() / (module[4].running_var + module[4].eps).sqrt()

    def least(values, function, low):
        def error(exponent):
            step = 2.0**exponent
            rounded = torch.floor(values / step + 0.5).clamp(low, low + 255) * step
            lost = (function(rounded) - function(values)) * gain.reshape(-1, 1, 1)
            return float(lost.double().square().sum())

        return min(range(-12, 6), key=error)

    with torch.no_grad():
        before = module[1](module[0](images))
        chosen = [converted.formats()[name].exponent for name in ("_0", "_2")]
        assert chosen[0] == least(before, module[2], -128)
        assert chosen[1] == least(module[2](before), lambda values: values, -128)
    assert max(chosen) < 0  # where all channels count alike it is 3


@pytest.mark.parametrize("count", [1, 5, 32768, 32769, 65536, 3 * 5 * 7 * 11 * 13 * 17])
def test_a_sample_is_of_bounded_size(count):
    quantizer = ActivationQuantizer(8, Mode())
    quantizer.observe(torch.arange(float(count)))
    (sample,) = quantizer.recorded()
    assert min(count, 1 << 14) <= len(sample) - 2 <= 1 << 15
    assert sample.unique().numel() >= min(count, 1 << 14)


def test_pairs_with_labels_are_taken():
    loader = DataLoader(TensorDataset(IMAGES, torch.arange(8)), batch_size=4)
    assert formats(loader) == formats(list(IMAGES.split(4)))
    assert formats([(IMAGES, None)]) == formats([[IMAGES, "names"]]) == formats([IMAGES])


def test_other_real_dtypes_are_taken():
    assert formats([IMAGES.double()]) == formats([IMAGES])


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f4"])
def test_arrays_are_taken(kind):
    array = IMAGES.numpy().astype(kind)
    assert formats([array[::-1]]) == formats([IMAGES.flip(0)])
    assert formats([(array, np.arange(8))]) == formats([IMAGES])


def test_inference_mode_changes_nothing():
    """What is converted within one learns afterwards."""
    module = float_network()
    with torch.inference_mode():
        converted = convert(module, QuantConfig())
        calibrate(converted, [IMAGES + 0])
        quantized = quantize(module, [IMAGES + 0] * 2, QuantConfig())
    assert converted.formats() == formats([IMAGES])
    for result in (converted, quantized):
        result.train()(IMAGES).sum().backward()
        weights = [p for p in result.parameters() if p.dim() > 1]
        assert weights
        assert all(weight.grad is not None for weight in weights)


def test_a_graph_follows():
    converted = network()
    calibrate(converted, [(IMAGES, torch.arange(8))])
    assert export_graph(converted, (2, 6, 6)).outputs


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "Calibration must see at least one batch, not none"),
        (IMAGES, "Batches must be a list or loader of tensors, not one Tensor"),
        (3, "Batches must be a list or loader of tensors, not one int"),
        (
            [np.array(["a"])],
            "Batch 0 of the inputs must be a tensor, or a pair that begins with one, not ndarray",
        ),
        (IMAGES.numpy(), "Batches must be a list or loader of tensors, not one ndarray"),
        (
            [IMAGES.numpy().astype(np.uint8)],
            "Batch 0 of the inputs must hold real numbers as the network was trained with, "
            "not torch.uint8",
        ),
        (
            [IMAGES.to_sparse()],
            "Batch 0 of the inputs must be dense, not torch.sparse_coo; remedy: .to_dense()",
        ),
        (
            [("a", IMAGES)],
            "Batch 0 of the inputs must be a tensor, or a pair that begins with one, "
            "not tuple of str, Tensor",
        ),
        (
            [IMAGES, (255 * IMAGES).to(torch.uint8)],
            "Batch 1 of the inputs must hold real numbers as the network was trained with, "
            "not torch.uint8",
        ),
        (
            [IMAGES[:0]],
            "Batch 0 of the inputs must hold inputs along its first axis, "
            "not be of shape (0, 2, 6, 6)",
        ),
        (
            [IMAGES, IMAGES[:, :, :5]],
            "Batch 1 of the inputs must hold inputs of shape (2, 6, 6) like those before, "
            "not (2, 5, 6)",
        ),
        ([IMAGES[0]], "Batch 0 of the inputs must be of shape (N, C, H, W), not (2, 6, 6)"),
        (
            [torch.where(IMAGES[1, 0, 2, 3] == IMAGES, math.nan, IMAGES)],
            "Batch 0 of the inputs must be finite, not nan at [1, 0, 2, 3]",
        ),
    ],
)
def test_refused(batches, message):
    with pytest.raises(NbqnnError) as caught:
        calibrate(network(), batches)
    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(4, 3, 6, 6), (4, 2, 8, 8), (4, 2, 1, 1)])
def test_a_shape_that_does_not_fit(shape):
    message = r"^Input shape \(.*\) must fit the network: [^\n]+$"
    with pytest.raises(NbqnnError, match=message):
        calibrate(network(), [torch.zeros(shape)])


def test_refused_inputs_leave_the_network_as_it_was():
    converted = network()
    calibrate(converted, [IMAGES])
    before = converted.formats()
    with pytest.raises(NbqnnError):
        calibrate(converted, [torch.zeros(4, 2, 9, 9)])
    assert converted.formats() == before
    assert np.isfinite(converted.eval()(IMAGES).detach().numpy()).all()
