"""What is not supported is refused at once: what it is, where, and what helps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import NetworkRefused, QuantConfig, convert
from nbqnn_train.graph import NbqnnError
from tests.train.networks.parts import Net, conv, conv_bn

MAP, SERIES, VECTOR = (3, 8, 8), (2, 16), (10,)


def refusal(module: nn.Module, shape: tuple[int, ...]) -> NetworkRefused:
    with pytest.raises(NetworkRefused) as caught:
        convert(module, QuantConfig(), torch.zeros(1, *shape))
    return caught.value


def after(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(conv(3, 4), *layers, conv(4, 2))


def attention(m, x):
    tokens = m.conv(x).flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def counting(m, x):
    m.calls += 1
    return m.conv(x) * m.calls


def part_in_place(m, x):
    y = m.conv(x)
    a, _ = y.chunk(2, 1)
    a.relu_()
    return y


def written(m, x):
    y = m.conv(x)
    y[:, 0] = 0
    return y


def chosen(m, x):
    return torch.where(torch.arange(8) > 3, m.conv(x), 0.0)


def without_gradients(m, x):
    with torch.no_grad():
        return m.conv(x)


@pytest.mark.parametrize(
    ("module", "shape", "reason", "place", "remedy"),
    [
        (after(nn.Softmax(1)), MAP, "softmax has no integer form", "1", "keep it for the end"),
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
            Net(lambda m, x: m.conv(x)[:, 7:9], conv=conv(3, 4)),
            MAP,
            "a part without elements, of 4 x 8 x 8",
            "the module itself",
            "take channels and positions that are there",
        ),
        (
            after(nn.Upsample(scale_factor=1.3)),
            MAP,
            "a resize by a fraction, from 8 x 8 to 10 x 10",
            "1",
            "enlarge by an integer",
        ),
        (
            Net(
                lambda m, x: F.grid_sample(m.conv(x), m.grid.repeat(len(x), 1, 1, 1)),
                conv=conv(3, 4),
                grid=nn.Parameter(torch.zeros(1, 5, 5, 2)),
            ),
            MAP,
            "grid_sampler has no integer form",
            "the module itself",
            "bilinear",
        ),
        (
            Net(lambda m, x: m.conv(x).transpose(2, 3) + 0 * x[:, :1], conv=conv(3, 4)),
            MAP,
            "a map whose dimensions are in another order",
            "the module itself (parts.py:",
            "keep (N, C, H, W)",
        ),
        (
            Net(
                lambda m, x: torch.cat(
                    [
                        torch.cat(
                            [
                                m.conv(x).flatten(2),
                                x.mean(1, True).expand(-1, 4, -1, -1).flatten(2),
                            ],
                            2,
                        ),
                        torch.ones(len(x), 4, 5),
                    ],
                    2,
                ),
                conv=conv(3, 4),
            ),
            MAP,
            "a constant beside what is concatenated at the end",
            "the module itself (parts.py:",
            "return it by itself",
        ),
        (
            Net(lambda m, x: m.conv(x)[:3], conv=conv(3, 4)),
            MAP,
            "a change of shape that mixes images",
            "the module itself (parts.py:",
            "keep the batch in front",
        ),
        (
            Net(lambda m, x: m.a(x) / m.b(x), a=conv(3, 4), b=conv(3, 4)),
            MAP,
            "a division by a value of the network",
            "the module itself (parts.py:",
            "divide by constants only",
        ),
        (
            Net(attention, conv=conv(3, 4)),
            MAP,
            "scaled_dot_product_attention has no integer form",
            "the module itself (parts.py:",
            "use convolutions in its place",
        ),
        (
            Net(lambda m, x: m.conv(x)[:, :, [3, 1, 4, 1, 5, 2, 6, 5] * 3], conv=conv(3, 4)),
            MAP,
            "a map whose dimensions are in another order",
            "the module itself (parts.py:",
            "keep (N, C, H, W)",
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
            Net(lambda m, x: m.conv(x).softmax(2), conv=conv(3, 4)),
            MAP,
            "softmax along dimension 2",
            "the module itself (parts.py:",
            "take it along channels: dim=1",
        ),
        (
            Net(lambda m, x: m.conv(x).topk(2, 1), conv=conv(3, 4)),
            MAP,
            "topk has no integer form",
            "the module itself (parts.py:",
            "nbqnn predict shows the largest values",
        ),
        (
            Net(chosen, conv=conv(3, 4)),
            MAP,
            "a choice by a constant tensor",
            "the module itself (parts.py:",
            "multiply by a constant of 0 and 1",
        ),
        (
            Net(lambda m, x: m.conv(x) > torch.rand(4, 1, 1), conv=conv(3, 4)),
            MAP,
            "a comparison (gt) with a constant tensor",
            "the module itself (parts.py:",
            "compare with numbers",
        ),
        (
            Net(lambda m, x: m.conv(x) * ((x[:, :1] > 0) | (x[:, 1:2] > 0)), conv=conv(3, 4)),
            MAP,
            "a condition of several values that are not joined by 'and'",
            "the module itself (parts.py:",
            "compare with numbers",
        ),
        (
            Net(lambda m, x: m.conv(x).sum((1, 2)), conv=conv(3, 4)),
            MAP,
            "the sum over dimensions [1, 2] of (4, 8, 8)",
            "the module itself (parts.py:",
            "or channels alone",
        ),
        (
            Net(part_in_place, conv=conv(3, 4)),
            MAP,
            "one of several parts of a tensor is changed in place",
            "the module itself (test_refusals.py:",
            "a = a.relu() in place of a.relu_()",
        ),
        (
            Net(written, conv=conv(3, 4)),
            MAP,
            "select_scatter has no integer form",
            "the module itself (parts.py:",
            "concatenate parts with torch.cat",
        ),
        (
            Net(lambda m, x: m.conv(x) * (1 / x.shape[0]), conv=conv(3, 4)),
            MAP,
            "what is computed for an image depends on the others of its batch",
            "the module itself",
            "compute each image from itself alone",
        ),
        (
            Net(lambda m, x: m.conv(x).roll(1, 0), conv=conv(3, 4)),
            MAP,
            "what is computed for an image depends on the others of its batch",
            "the module itself",
            "compute each image from itself alone",
        ),
        (
            Net(lambda m, x: m.conv(x) + x.mean((1, 2, 3)).view(2, 1, 1, 1), conv=conv(3, 4)),
            MAP,
            "it cannot be read: shape '[2, 1, 1, 1]' is invalid",
            "the module itself",
            "check that the module runs",
        ),
        (
            Net(
                lambda m, x: torch.minimum(m.conv(x), m.limit),
                conv=conv(3, 4),
                limit=nn.Parameter(torch.ones(1)),
            ),
            MAP,
            "limits that are learned",
            "the module itself (parts.py:",
            "give them requires_grad_(False)",
        ),
        (
            Net(
                lambda m, x: torch.minimum(m.conv(x).mean((2, 3), True), torch.ones(4, 8, 8)),
                conv=conv(3, 4),
            ),
            MAP,
            "limits of shape (4, 8, 8) for a value of shape (4, 1, 1)",
            "the module itself (parts.py:",
            "give one limit for all",
        ),
        (
            Net(lambda m, x: m.conv(x).clamp(max=m.conv(x).relu()), conv=conv(3, 4)),
            MAP,
            "limits that are computed from the input",
            "the module itself (parts.py:",
            "use maximum and minimum",
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
            Net(lambda m, x: m.conv(x) + torch.ones(7, 4, 1, 1), conv=conv(3, 4)),
            MAP,
            "a constant of shape (7, 4, 1, 1) with a value of shape (4, 8, 8)",
            "the module itself (parts.py:",
            "use one number for all, one for each channel",
        ),
        (
            Net(lambda m, x: (m.conv(x), 3 * torch.ones(2)), conv=conv(3, 4)),
            MAP,
            "an output that is not computed from the input",
            "the module itself",
            "return tensors that the network computes, nothing else",
        ),
        (
            Net(lambda m, x: m.conv(x).clamp(0.5, -0.5), conv=conv(3, 4)),
            MAP,
            "a lower limit of 0.5 above the upper one of -0.5",
            "the module itself (parts.py:",
            "exchange them",
        ),
        (
            after(nn.InstanceNorm2d(4, track_running_stats=True)),
            MAP,
            "a norm of every image by itself",
            "1",
            "train with BatchNorm in its place",
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


def test_torch_fails_at_some_buffers(monkeypatch):
    """Of several buffers of which one is given another tensor: which depends on their names."""

    def fails(*_):
        raise AssertionError("User output add is not in the correct order or is not found in ...")

    monkeypatch.setattr(torch.export, "export", fails)
    message = str(refusal(conv(3, 4), MAP))
    assert message.startswith("Conv2d cannot be converted: state that changes in evaluation (a buf")
    assert message.endswith("; change it in training only")


def test_only_the_refusal_is_printed(capfd):
    refusal(Net(lambda m, x: x if x.sum() > 0 else -x), MAP)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(1, 3))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(make):
    whole, part = make(nn.Linear(3, 2)), nn.Sequential(nn.ReLU(), make(nn.Linear(3, 2)))
    for module, name in ((whole, "Module"), (part, "1")):
        with pytest.raises(NbqnnError) as caught:
            convert(module, QuantConfig(), torch.zeros(1, 3))
        assert str(caught.value) == (
            f"{name} must be a module in Python, not TorchScript; remedy: give the module that was "
            "scripted or traced"
        )


def test_each_kind_once_with_a_count_and_a_few_places():
    blocks = [nn.Sequential(conv_bn(4, 4, act=None), nn.GroupNorm(2, 4)) for _ in range(6)]
    softmax = [nn.Softmax(1) for _ in range(6)]
    body = [layer for pair in zip(blocks, softmax, strict=True) for layer in pair]
    error = refusal(nn.Sequential(conv(3, 4), *body, nn.LayerNorm(8)), MAP)
    found = str(error).splitlines()
    assert found[0] == "Sequential cannot be converted, for 3 reasons:"
    assert found[1].startswith(
        "  group_norm has no integer form, 6 times, at 1.1, 3.1, 5.1 and 3 more places; train with "
        "BatchNorm in its place"
    )
    assert found[2].startswith("  softmax has no integer form, 6 times, at 2, 4, 6 and 3 more")
    assert found[3].startswith("  layer_norm has no integer form, at 13; ")
    assert len(found) == 4


def test_many_kinds_stay_on_one_screen():
    layers = [nn.AdaptiveMaxPool2d(6), nn.MaxPool2d(3, 1, dilation=2), nn.GroupNorm(1, 4)]
    layers += [nn.LayerNorm(2), nn.InstanceNorm2d(4), nn.Softmax(1), nn.Softmax2d(), nn.Softmin(1)]
    layers += [nn.LocalResponseNorm(2), nn.CircularPad2d(1), nn.LogSoftmax(1)]
    layers += [nn.Upsample(scale_factor=3.4), nn.LPPool2d(2, 2), nn.RMSNorm(6), nn.Softmax(2)]
    message = str(refusal(nn.Sequential(conv(3, 4), *layers, conv(4, 2)), MAP))
    lines = message.splitlines()
    assert len(lines) <= 20
    assert lines[-1].strip().startswith("and ")


def test_what_follows_from_a_refusal_is_not_refused_as_well():
    error = refusal(
        nn.Sequential(conv(3, 4), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(256, 3)), MAP
    )
    assert [one.operation for one in error.refusals] == ["group_norm"]


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
