"""Small networks, each with one operator or more beyond convolution, pooling and sums."""

import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.pointwise import pointwise
from tests.train.networks.families import FAMILIES, family
from tests.train.networks.parts import Net, conv, conv_bn

__all__ = ["OPERATORS"]

_BEFORE = set(FAMILIES)
#: By channel.
LIMITS = torch.tensor([0.25, 0.5, 1, 2]).view(1, 4, 1, 1)


def between(name: str, function, **parts) -> None:
    """A function between two convolutions, ``function(module, maps)`` of four channels."""

    def build():
        made = {part: make() for part, make in parts.items()}
        return Net(
            lambda m, x: m.last(function(m, m.first(x))),
            first=conv_bn(3, 4, act=None),
            last=conv(4, 3),
            **made,
        )

    family(name)(build)


def layer(name: str, make) -> None:
    between(name, lambda m, x: m.layer(x), layer=make)


@pointwise
def bump(x):
    return torch.where(x.abs() < 1, 1 - x**2, torch.zeros_like(x))


# Functions of one element.

layer("SiLU", nn.SiLU)
layer("SiLU in place", lambda: nn.SiLU(inplace=True))
layer("GELU", nn.GELU)
layer("GELU by tanh", lambda: nn.GELU("tanh"))
layer("ELU, CELU and SELU", lambda: nn.Sequential(nn.ELU(0.5), nn.CELU(2.0), nn.SELU()))
layer("Mish", nn.Mish)
layer("Softplus", lambda: nn.Softplus(2.0))
layer("hard swish", nn.Hardswish)
layer("hard sigmoid and sigmoid", lambda: nn.Sequential(nn.Hardsigmoid(), nn.Sigmoid()))
layer("tanh and its kin", lambda: nn.Sequential(nn.Tanhshrink(), nn.Tanh(), nn.LogSigmoid()))
layer("leaky ReLU", lambda: nn.LeakyReLU(0.125))
layer("PReLU", nn.PReLU)
layer("PReLU by channel", lambda: nn.PReLU(4))
layer("leaky ReLU with a random slope", nn.RReLU)
between("rests and powers of numbers", lambda m, x: x.remainder(0.5) + 2**x + torch.fmod(x, 0.75))
between("a rounded quotient", lambda m, x: torch.nan_to_num(x // 0.5) - x % torch.tensor(0.25))
layer("thresholds", lambda: nn.Sequential(nn.Hardshrink(), nn.Softshrink(), nn.Threshold(0.1, -1)))
between("swish by hand", lambda m, x: x * torch.sigmoid(1.702 * x))
between("swish by hand, in place", lambda m, x: x.mul_(x.sigmoid()))
between("hard swish by hand", lambda m, x: x * F.relu6(x + 3) / 6)
between("somebody's own functions", lambda m, x: torch.exp(-(x**2)) - x / (1 + x.abs()))
between("marked function", lambda m, x: bump(x) + x)
between("squared ReLU", lambda m, x: F.relu(x) ** 2)
between("largest of two lines", lambda m, x: torch.maximum(x, 0.1 * x))
layer("gated by half of the channels", lambda: nn.Sequential(conv(4, 8), nn.GLU(1)))
between("floor, ceiling and rounding", lambda m, x: x.floor() + (2 * x).ceil() + (x * 4).round())
between("sums over positions", lambda m, x: x + x.sum((2, 3), keepdim=True) - x.sum(2, True))
between(
    "attention from mean and maximum over channels",
    lambda m, x: x * m.layer(torch.cat([x.mean(1, True), x.max(1, True)[0]], 1)).sigmoid(),
    layer=lambda: conv(2, 1),
)
between("largest of six channels", lambda m, x: x + m.layer(x).amax(1).unsqueeze(1),
        layer=lambda: conv(4, 6))  # fmt: skip
between("between two maps", lambda m, x: x.lerp(m.layer(x), 0.3).lerp(x.relu(), x.sigmoid()),
        layer=lambda: conv(4, 4))  # fmt: skip
between("repeated channels", lambda m, x: m.layer(x.repeat(1, 2, 1, 1)), layer=lambda: conv(8, 4))

# Comparisons and choices.


def clipped_by_assignment(m, x):
    x = m.layer(x)
    x[x < -0.5] = -0.25
    return x.masked_fill_(x > 1, 1)


def inside(m, x):
    return x * ((x > -0.5) & ~(x >= 0.5)) + ((x < -1) | (x == 0)).float()


def first_that_is_larger(m, x):
    other = m.layer(x)
    return torch.where(x > other, x, other) - torch.where(x[:, :1] > 0, other, 0.5)


between("leaky ReLU by choice", lambda m, x: torch.where(x > 0, x, 0.1 * x))
between("a choice of numbers", lambda m, x: torch.where(x.gt(0.2), torch.ones_like(x), x * 0 - 1))
between("values in a range", inside)
between("assigned by a mask", clipped_by_assignment, layer=lambda: conv(4, 4))
between("masked by the input", lambda m, x: m.layer(x) * (x > 0), layer=lambda: conv(4, 4))
between("chosen by another map", first_that_is_larger, layer=lambda: conv(4, 4))
between(
    "largest and smallest of two maps",
    lambda m, x: torch.maximum(x, m.a(x)) - torch.min(x, m.a(x).mean((2, 3), keepdim=True)),
    a=lambda: conv(4, 4),
)

between(
    "limits that are tensors",
    lambda m, x: torch.clamp(m.a(x), torch.tensor(-0.5), torch.tensor([1.5])),
    a=lambda: conv(4, 4),
)
between("limits by channel", lambda m, x: torch.clamp(m.a(x), -LIMITS, LIMITS),
        a=lambda: conv(4, 4))  # fmt: skip
between("a limit that crosses another", lambda m, x: m.a(x).clamp(LIMITS - 0.5, LIMITS / LIMITS),
        a=lambda: conv(4, 4))  # fmt: skip
between(
    "larger and smaller than constants",
    lambda m, x: torch.maximum(LIMITS, m.a(x)) + torch.min(x, torch.tensor(1)),
    a=lambda: conv(4, 4),
)

# Products and sums.


def gated(m, x):
    gate = m.up(F.silu(m.down(x.mean((2, 3), keepdim=True))))
    return x * torch.sigmoid(gate)


def gated_by_linear(m, x):
    gate = F.hardsigmoid(m.up(F.relu(m.down(F.adaptive_avg_pool2d(x, 1).flatten(1)))))
    return x * gate.view(len(x), 4, 1, 1).expand_as(x)


between("squeeze and excite", gated, down=lambda: conv(4, 2, 1), up=lambda: conv(2, 4, 1))
between(
    "squeeze and excite, linear",
    gated_by_linear,
    down=lambda: nn.Linear(4, 2),
    up=lambda: nn.Linear(2, 4),
)
between("product of maps", lambda m, x: F.relu(x * m.layer(x)), layer=lambda: conv(4, 4))
between("attention by position", lambda m, x: x * m.layer(x).sigmoid(), layer=lambda: conv(4, 1))
between(
    "constant maps",
    lambda m, x: x * m.factor + m.offset,
    factor=lambda: nn.Parameter(torch.randn(4, 8, 8)),
    offset=lambda: nn.Parameter(torch.randn(1, 1, 8, 8)),
)
between(
    "differences and factors",
    lambda m, x: torch.add(x - m.a(x), m.b(x), alpha=0.25).sub(x, alpha=0.3),
    a=lambda: conv(4, 4),
    b=lambda: conv(4, 4),
)
between("one less than", lambda m, x: 1 - torch.sigmoid(x) * m.a(x), a=lambda: conv(4, 4))
between("sum with one position", lambda m, x: x + m.a(x).mean((2, 3), True), a=lambda: conv(4, 4))
between("sum of many", lambda m, x: sum([x, m.a(x), m.b(x), x]), a=nn.ReLU, b=lambda: conv(4, 4))

# Order.


def halves(m, x):
    first, second = x.chunk(2, 1)
    return torch.cat([m.layer(first), second], 1)


def linear_gate(m, x):
    value, gate = m.layer(x).split([4, 4], dim=1)
    return value * gate.tanh()


def shuffled(m, x):
    return x.view(len(x), 2, 2, 8, 8).transpose(1, 2).reshape(len(x), 4, 8, 8)


def focus(m, x):
    parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
    return m.layer(torch.cat(parts, 1))


def unshuffled_by_hand(m, x):
    return m.layer(x.view(-1, 4, 4, 2, 4, 2).permute(0, 3, 5, 1, 2, 4).reshape(-1, 16, 4, 4))


between("half of the channels", halves, layer=lambda: conv(2, 2))
between("gated linear unit", linear_gate, layer=lambda: conv(4, 8))
between("channel shuffle by hand", shuffled)
layer("channel shuffle", lambda: nn.ChannelShuffle(2))
layer("pixel shuffle and back", lambda: nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(2)))
between("focus", focus, layer=lambda: conv(16, 4))
between("pixel unshuffle by hand", unshuffled_by_hand, layer=lambda: conv(16, 4))
between("mirror images", lambda m, x: x.flip(3) + x.flip([2, 3]) + x.flip(1))
between("chosen channels", lambda m, x: x[:, [2, 0, 3, 3]])
between("a part of the map", lambda m, x: x[:, :, 1:-1, 2:7:2])
between(
    "groups as a dimension", lambda m, x: m.a(x.view(-1, 2, 2, 8, 8)[:, 1]), a=lambda: conv(2, 4)
)


# Larger and smaller maps.

layer("nearest", lambda: nn.Sequential(nn.Upsample(scale_factor=(3, 2)), nn.MaxPool2d(2)))
layer("bilinear", lambda: nn.Upsample(scale_factor=2, mode="bilinear"))
between("bilinear to a size", lambda m, x: F.interpolate(x, size=(32, 16), mode="bilinear").relu())
between(
    "every other position",
    lambda m, x: F.interpolate(x, scale_factor=0.5) - F.interpolate(x, None, 0.5, "nearest-exact"),
)
layer("half by bilinear", lambda: nn.Upsample(scale_factor=0.5, mode="bilinear"))
layer("nearest by fractions", lambda: nn.Sequential(nn.Upsample(size=(12, 5)), nn.Upsample(size=9)))
layer("nearest of centres", lambda: nn.Upsample(size=(12, 3), mode="nearest-exact"))
layer("aligned corners", lambda: nn.UpsamplingBilinear2d(size=(11, 15)))
layer("bilinear by 3", lambda: nn.Upsample(scale_factor=3, mode="bilinear"))
layer("bilinear by fractions", lambda: nn.Upsample(size=(5, 13), mode="bilinear"))
layer("bicubic", lambda: nn.Upsample(scale_factor=2, mode="bicubic"))
layer("bicubic by fractions", lambda: nn.Upsample((9, 5), mode="bicubic", align_corners=True))
between(
    "smaller without aliases",
    lambda m, x: F.interpolate(x, (3, 5), mode="bilinear", antialias=True),
)
layer("bilinear by stated fractions", lambda: nn.Upsample(scale_factor=(1.3, 0.7), mode="bilinear"))
between(
    "padding of all modes",
    lambda m, x: F.pad(m.edge(m.mirror(x)), (1, 0, 1, 0), value=0.25),
    mirror=lambda: nn.ReflectionPad2d((1, 2, 0, 1)),
    edge=lambda: nn.ReplicationPad2d((1, 1, 2, 2)),
)
between(
    "convolutions that pad by mode",
    lambda m, x: m.b(m.a(x)),
    a=lambda: conv(4, 4, padding_mode="reflect"),
    b=lambda: conv(4, 4, padding_mode="replicate"),
)
between("cropping by padding", lambda m, x: F.pad(x, (-1, 2, -2, 0)))
between("shifted map", lambda m, x: x + F.pad(x[:, :, 1:, 1:], (1, 0, 1, 0)))
between(
    "transposed convolution",
    lambda m, x: F.relu(m.norm(m.up(x))),
    up=lambda: nn.ConvTranspose2d(4, 4, 3, 2, 1, 1),
    norm=lambda: nn.BatchNorm2d(4),
)
between(
    "transposed convolution in groups",
    lambda m, x: m.b(m.a(x)),
    a=lambda: nn.ConvTranspose2d(4, 6, (2, 3), (2, 1), (0, 1), groups=2, bias=False),
    b=lambda: nn.ConvTranspose2d(6, 4, 4, 3, 2, output_padding=2, dilation=2),
)
between(
    "transposed convolution twice",
    lambda m, x: m.up(F.relu(m.up(x))),
    up=lambda: nn.ConvTranspose2d(4, 4, 3, 1, 1),
)

# Pooling.

layer("averages of what is there", lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False))
layer("averages of smaller last windows", lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True))
layer("averages with a divisor", lambda: nn.AvgPool2d(3, 1, 1, divisor_override=5))
between(
    "adaptive to any size",
    lambda m, x: F.adaptive_avg_pool2d(x, (3, 5)) + F.adaptive_max_pool2d(x, (3, 5)),
)
between("along one axis", lambda m, x: x.mean(2, True) + x.amax(2, True))


@family("u-net")
def unet():
    def forward(m, x):
        a = m.a(x)
        b = m.b(F.max_pool2d(a, 2))
        return m.last(torch.cat([a, m.up(b)], 1))

    up = nn.ConvTranspose2d(8, 4, 2, 2)
    return Net(forward, a=conv_bn(3, 4), b=conv_bn(4, 8), up=up, last=conv(8, 2))


@family("series, enlarged and averaged", (2, 10))
def enlarged_series():
    def forward(m, x):
        x = F.interpolate(m.up(m.a(x)), scale_factor=2, mode="linear")
        x = F.pad(F.interpolate(x, scale_factor=2), (2, 1), mode="reflect")
        return m.b(F.avg_pool1d(x, 3, 2, 1, count_include_pad=False))

    up = nn.ConvTranspose1d(4, 4, 3, 2)
    return Net(forward, a=nn.Conv1d(2, 4, 3), up=up, b=nn.Conv1d(4, 3, 3))


@family("super resolution")
def super_resolution():
    return nn.Sequential(conv(3, 4), nn.Tanh(), conv(4, 12), nn.PixelShuffle(2))


@family("vectors in parts", (10,))
def vectors():
    def forward(m, x):
        first, second = m.a(x).chunk(2, -1)
        return m.b(F.silu(first) * second - first)

    return Net(forward, a=nn.Linear(10, 12), b=nn.Linear(6, 3))


@family("series with gates", (2, 16))
def gated_series():
    def forward(m, x):
        value, gate = m.a(x).chunk(2, 1)
        return m.b(torch.tanh(value) * torch.sigmoid(gate))

    return Net(forward, a=nn.Conv1d(2, 8, 3, padding=1), b=nn.Conv1d(4, 3, 3))


@family("decoder from a vector", (12,))
def decoder():
    def forward(m, x):
        return m.b(F.leaky_relu(m.a(x)).view(-1, 4, 3, 3))

    return Net(forward, a=nn.Linear(12, 36), b=conv(4, 2))


OPERATORS = [name for name in FAMILIES if name not in _BEFORE]
