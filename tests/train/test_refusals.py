"""What is not supported is refused at once: what it is, where, and what helps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import NetworkRefused, QuantConfig, convert
from tests.train.networks.parts import Net, conv, conv_bn

MAP, SERIES, VECTOR = (3, 8, 8), (2, 16), (10,)
PARTS = "compute the parts with layers of their own, or return the whole"
ENLARGE = "leave enlarging maps to what follows the network"


def refusal(module: nn.Module, shape: tuple[int, ...]) -> NetworkRefused:
    with pytest.raises(NetworkRefused) as caught:
        convert(module, QuantConfig(), torch.zeros(1, *shape))
    return caught.value


def after(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(conv(3, 4), *layers, conv(4, 2))


def squeeze_excite(m, x):
    x = m.conv(x)
    return x * torch.sigmoid(m.fc(x.mean((2, 3), keepdim=True)))


def shuffle(m, x):
    x = m.conv(x)
    return m.last(x.view(len(x), 2, 2, 8, 8).transpose(1, 2).reshape(len(x), 4, 8, 8))


def attention(m, x):
    tokens = m.conv(x).flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def counting(m, x):
    m.calls += 1
    return m.conv(x) * m.calls


def without_gradients(m, x):
    with torch.no_grad():
        return m.conv(x)


@pytest.mark.parametrize(
    ("module", "shape", "reason", "place", "remedy"),
    [
        (after(nn.Sigmoid()), MAP, "sigmoid has no integer form", "1", "train with ReLU6"),
        (after(nn.SiLU()), MAP, "silu has no integer form", "1", "train with ReLU in its place"),
        (after(nn.GELU()), MAP, "gelu has no integer form", "1", "train with ReLU in its place"),
        (after(nn.Hardswish()), MAP, "hardswish has no integer form", "1", "train with ReLU6"),
        (after(nn.LeakyReLU(0.1)), MAP, "leaky_relu has no integer form", "1", "train with ReLU"),
        (after(nn.PReLU()), MAP, "prelu has no integer form", "1", "train with ReLU"),
        (after(nn.Tanh()), MAP, "tanh has no integer form", "1", "train with ReLU6"),
        (after(nn.Softmax(1)), MAP, "softmax has no integer form", "1", "the largest value stays"),
        (after(nn.GroupNorm(2, 4)), MAP, "group_norm has no integer form", "1", "BatchNorm"),
        (after(nn.LayerNorm(8)), MAP, "layer_norm has no integer form", "1", "BatchNorm"),
        (after(nn.InstanceNorm2d(4)), MAP, "a norm without running statistics", "1", "BatchNorm"),
        (
            after(nn.BatchNorm2d(4, track_running_stats=False)),
            MAP,
            "batch norm without running statistics",
            "1",
            "train with track_running_stats=True",
        ),
        (
            after(nn.ConvTranspose2d(4, 4, 2, 2)),
            MAP,
            "conv_transpose2d has no integer form",
            "1",
            ENLARGE,
        ),
        (
            after(nn.Upsample(scale_factor=2)),
            MAP,
            "upsample_nearest2d has no integer form",
            "1",
            ENLARGE,
        ),
        (
            nn.Sequential(conv(3, 4), nn.PixelShuffle(2)),
            MAP,
            "pixel_shuffle has no integer form",
            "1",
            ENLARGE,
        ),
        (after(nn.ChannelShuffle(2)), MAP, "channel_shuffle has no integer form", "1", "1 x 1"),
        (
            Net(squeeze_excite, conv=conv(3, 4), fc=conv(4, 4, 1)),
            MAP,
            "a product of two values of the network",
            "the module itself (parts.py:",
            "sums and concatenations are supported",
        ),
        (
            Net(lambda m, x: sum(m.conv(x).chunk(2, 1)), conv=conv(3, 4)),
            MAP,
            "chunk has no integer form",
            "the module itself (parts.py:",
            PARTS,
        ),
        (
            Net(lambda m, x: torch.add(*m.conv(x).split(2, 1)), conv=conv(3, 4)),
            MAP,
            "split has no integer form",
            "the module itself (parts.py:",
            PARTS,
        ),
        (
            Net(lambda m, x: m.conv(x)[:, :, 2:6], conv=conv(3, 4)),
            MAP,
            "a slice of a value",
            "the module itself (parts.py:",
            PARTS,
        ),
        (
            Net(shuffle, conv=conv(3, 4), last=conv(4, 2)),
            MAP,
            "a map whose dimensions are in another order",
            "last (parts.py:",
            "keep (N, C, H, W)",
        ),
        (
            Net(attention, conv=conv(3, 4)),
            MAP,
            "scaled_dot_product_attention has no integer form",
            "the module itself (parts.py:",
            "use convolutions in its place",
        ),
        (
            nn.Sequential(conv(3, 4, padding_mode="reflect")),
            MAP,
            "padding of mode reflect",
            "0",
            "pad with zeros, or not at all",
        ),
        (
            after(nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
            MAP,
            "average pooling with padding that is not counted",
            "1",
            "train with count_include_pad=True",
        ),
        (
            after(nn.AvgPool2d(3, 2, ceil_mode=True)),
            MAP,
            "average pooling with ceil_mode, whose last windows are smaller",
            "1",
            "train with ceil_mode=False",
        ),
        (
            after(nn.AdaptiveAvgPool2d(3)),
            MAP,
            "adaptive pooling of 8 x 8 to 3 x 3, with windows of different sizes",
            "1",
            "pool to a size that divides the map, such as 1",
        ),
        (
            after(nn.MaxPool2d(3, 1, dilation=2)),
            MAP,
            "max pooling with dilation",
            "1",
            "train without dilation",
        ),
        (
            Net(lambda m, x: m.conv(x).view(-1, 128), conv=conv(3, 4)),
            MAP,
            "a change of shape that mixes images",
            "the module itself (parts.py:",
            "flatten with x.flatten(1): the batch stays in front",
        ),
        (
            Net(lambda m, x: m.conv(x).sum((2, 3)), conv=conv(3, 4)),
            MAP,
            "sum has no integer form",
            "the module itself (parts.py:",
            "use the mean in its place",
        ),
        (
            Net(lambda m, x: F.dropout(m.conv(x), 0.5), conv=conv(3, 4)),
            MAP,
            "dropout has no integer form",
            "the module itself (parts.py:",
            "give it training=self.training, so that evaluation has none",
        ),
        (
            Net(lambda m, x: (y := m.conv(x), y), conv=conv(3, 4)),
            MAP,
            "an output that is returned twice",
            "the module itself",
            "return each tensor once",
        ),
        (
            Net(counting, conv=conv(3, 4), calls=nn.Buffer(torch.ones(()))),
            MAP,
            "state that changes in evaluation (calls)",
            "the module itself",
            "change it in training only",
        ),
        (
            Net(without_gradients, conv=conv(3, 4)),
            MAP,
            "wrap_with_set_grad_enabled has no integer form",
            "the module itself",
            "leave torch.no_grad out of the forward",
        ),
        (
            nn.Sequential(nn.Linear(8, 4)),
            MAP,
            "a linear layer of 8 features on the dimensions (3, 8, 8)",
            "0",
            "flatten to (N, F), or use a convolution of 1 x 1",
        ),
        (
            nn.Sequential(nn.Conv1d(2, 4, 3), nn.LSTM(14, 3)),
            SERIES,
            "lstm has no integer form",
            "1",
            "use convolutions in its place",
        ),
        (
            Net(lambda m, x: m.fc(x.half().float()), fc=nn.Linear(10, 3)),
            VECTOR,
            "a conversion to float16",
            "the module itself (parts.py:",
            "leave the type of numbers to the quantized network",
        ),
        (
            Net(lambda m, x: m.conv(x) + torch.ones(8), conv=conv(3, 4)),
            MAP,
            "a constant of shape (8,) with a value of shape (4, 8, 8)",
            "the module itself (parts.py:",
            "use one number for all, or one for each channel",
        ),
        (
            Net(lambda m, x: (m.conv(x), 3 * torch.ones(2)), conv=conv(3, 4)),
            MAP,
            "an output that is not computed from the input",
            "the module itself",
            "return tensors that the network computes, nothing else",
        ),
        (
            Net(lambda m, x: x if x.sum() > 0 else -x),
            MAP,
            "what is computed depends on values (a Python condition on a tensor)",
            "the module itself (test_refusals.py:",
            "let the module compute the same for every input",
        ),
        (
            nn.Sequential(conv(4, 4)),
            MAP,
            "it cannot be read: Given groups=1, weight of size [4, 4, 3, 3]",
            "the module itself",
            "check that the module runs on the example, in evaluation mode",
        ),
    ],
)
def test_refused(module, shape, reason, place, remedy):
    error = refusal(module, shape)
    message = str(error)
    assert reason in message
    assert f"at {place}" in message
    assert remedy in message
    first = next(r for r in error.refusals if reason in r.reason)
    assert first.kind in ("operation", "shape", "weights", "input", "output", "width", "module")


def test_each_kind_once_with_a_count_and_a_few_places():
    blocks = [nn.Sequential(conv_bn(4, 4, act=nn.SiLU), nn.Sigmoid()) for _ in range(6)]
    error = refusal(nn.Sequential(conv(3, 4), *blocks, nn.Upsample(scale_factor=2)), MAP)
    assert str(error).splitlines() == [
        "Sequential cannot be converted, for 3 reasons:",
        "  silu has no integer form, 6 times, at 1.0.2, 2.0.2, 3.0.2 and 3 more places; train with "
        "ReLU in its place",
        "  sigmoid has no integer form, 6 times, at 1.1, 2.1, 3.1 and 3 more places; train with "
        "ReLU6 in its place",
        f"  upsample_nearest2d has no integer form, at 7; {ENLARGE}",
    ]
    assert len(error.refusals) == 13
    assert {refusal.operation for refusal in error.refusals} == {
        "silu",
        "sigmoid",
        "upsample_nearest2d",
    }


def test_many_kinds_stay_on_one_screen():
    names = "SiLU GELU ELU Tanh Mish Softplus CELU SELU Hardswish Hardsigmoid LogSigmoid Softsign"
    layers = [getattr(nn, name)() for name in names.split()]
    message = str(refusal(nn.Sequential(conv(3, 4), *layers, conv(4, 2)), MAP))
    lines = message.splitlines()
    assert len(lines) <= 20
    assert lines[-1].strip().startswith("and ")


def test_what_follows_from_a_refusal_is_not_refused_as_well():
    error = refusal(
        nn.Sequential(conv(3, 4), nn.PixelShuffle(2), nn.Flatten(), nn.Linear(256, 3)), MAP
    )
    assert [one.operation for one in error.refusals] == ["pixel_shuffle"]


def test_two_inputs_of_which_one_is_not_used():
    module = Net(lambda m, x, y: m.conv(x), conv=conv(3, 4))
    x = torch.zeros(1, *MAP)
    with pytest.raises(NetworkRefused, match="an input that nothing is computed from"):
        convert(module, QuantConfig(), (x, x))


def test_integers_are_no_input():
    module = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(NetworkRefused, match="an input of int64"):
        convert(module, QuantConfig(), torch.zeros(1, 3, dtype=torch.int64))


def test_an_example_must_be_one():
    with pytest.raises(TypeError, match=r"^Example must be a tensor, .* not int$"):
        convert(nn.Sequential(conv(3, 4)), QuantConfig(), 3)
