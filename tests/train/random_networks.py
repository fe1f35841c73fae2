"""Random PyTorch networks over everything that converts: operations, windows, widths and modes."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from nbqnn_train.convert import QuantConfig
from nbqnn_train.models.shortcut import PaddedShortcut
from tests.train.random_operators import OPERATOR_KINDS, OperatorGrowth

__all__ = ["Drawn", "networks", "random_images", "randomized"]

#: Convolutions have the most that can go wrong.
_KINDS = (
    *3 * ("conv",),
    *("norm", "relu", "max", "average", "adaptive", "add", "concat", "shortcut"),
    *OPERATOR_KINDS,
)
_LAYERS = (nn.Conv2d, nn.Linear)
_VECTOR_KINDS = ("linear", "norm", "relu", "add", "concat", "table", "product", "channels")
#: Larger maps are not concatenated any more: tests stay quick.
_MOST_CHANNELS = 12


@dataclass(frozen=True)
class Drawn:
    """A network with random weights, how to quantize it, and images for it (N, C, H, W)."""

    module: nn.Module
    config: QuantConfig
    images: np.ndarray


def random_images(seed: int, shape: tuple[int, ...], signed: bool) -> np.ndarray:
    """Float32 images; without ``signed`` none is negative."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) if signed else rng.random(shape)).astype(np.float32)


def randomized(module: nn.Module, seed: int) -> nn.Module:
    """Weights and batch norm as after a training, with negative and zero gammas."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            part.weight.data.normal_(std=0.3, generator=generator)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.1, 3, generator=generator)
            if part.affine:
                part.weight.data.normal_(generator=generator)
                part.weight.data[::5] = 0
                part.bias.data.normal_(generator=generator)
    return module


class _Plan(nn.Module):
    """Part after part, each on earlier values; value 0 is the input, the last one the output."""

    def __init__(self, parts: list[nn.Module], operands: list[tuple[int, ...]]):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.operands = operands

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for part, operands in zip(self.parts, self.operands, strict=True):
            values.append(part(*(values[index] for index in operands)))
        return values[-1]


class _Add(nn.Module):
    def __init__(self, activation: list[nn.Module]):
        super().__init__()
        self.activation = nn.Sequential(*activation)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.activation(a + b)


class _Concat(nn.Module):
    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, dim=1)


class _Builder(OperatorGrowth):
    """A plan that grows; ``values`` are what its parts give for one image of zeros."""

    def __init__(self, draw, shape: tuple[int, int, int]):
        self.draw = draw
        self.values = [torch.zeros(1, *shape)]
        self.parts: list[nn.Module] = []
        self.operands: list[tuple[int, ...]] = []

    def append(self, part: nn.Module, *operands: int) -> None:
        with torch.no_grad():
            value = part.eval()(*(self.values[index] for index in operands))
        self.values.append(value)
        self.parts.append(part)
        self.operands.append(operands)

    def grow(self) -> None:
        # Mostly the newest value: of others a part of the network would be left unused.
        last = len(self.values) - 1
        source = last if self.draw(st.integers(0, 3)) else self.draw(st.integers(0, last))
        value = self.values[source]
        kind = self.draw(st.sampled_from(_KINDS if value.dim() == 4 else _VECTOR_KINDS))
        getattr(self, f"_{kind}")(source, value)

    def finish(self) -> nn.Module:
        """The plan, with a linear layer at the end or without."""
        last = self.values[-1]
        if last.dim() == 4 and self.draw(st.booleans()):
            self.append(nn.Flatten(), len(self.values) - 1)
            last = self.values[-1]
            self._linear(len(self.values) - 1, last)
        if not self.parts:
            self._relu(0, last)
        return self._live()

    def _live(self) -> nn.Module:
        """The parts that the last value depends on."""
        needed = {len(self.parts)}
        for index in range(len(self.parts), 0, -1):
            if index in needed:
                needed.update(self.operands[index - 1])
        kept = sorted(needed - {0})
        number = {0: 0} | {index: position for position, index in enumerate(kept, start=1)}
        operands = [tuple(number[i] for i in self.operands[index - 1]) for index in kept]
        return _Plan([self.parts[index - 1] for index in kept], operands)

    def _activation(self) -> list[nn.Module]:
        low = self.draw(st.sampled_from([-2.0, -0.5, 0.25]))
        options = nn.ReLU(), nn.ReLU6(), nn.Hardtanh(low, low + 1.25), None
        chosen = self.draw(st.sampled_from(options))
        return [] if chosen is None else [chosen]

    def _window(self, value: Tensor, largest_dilation: int, half: bool) -> dict:
        """Kernel, stride, padding (of pooling at most half the kernel) and dilation that fit."""
        draw, window = self.draw, {"kernel": [], "stride": [], "padding": [], "dilation": []}
        for size in value.shape[2:]:
            kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, largest_dilation))
            padding = draw(st.integers(0, kernel // 2 if half else 2))
            if size + 2 * padding < dilation * (kernel - 1) + 1:
                kernel = dilation = 1
                padding = 0
            values = kernel, draw(st.integers(1, 3)), padding, dilation
            for name, number in zip(window, values, strict=True):
                window[name].append(number)
        return {name: tuple(numbers) for name, numbers in window.items()}

    def _conv(self, source: int, value: Tensor) -> None:
        draw, channels = self.draw, value.shape[1]
        window = self._window(value, largest_dilation=2, half=False)
        if draw(st.integers(0, 3)) == 0:
            window |= {"stride": 1, "padding": "same"}
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, max(1, 6 // groups)))
        layers = [
            nn.Conv2d(
                channels,
                outputs,
                window["kernel"],
                window["stride"],
                window["padding"],
                window["dilation"],
                groups,
                bias=draw(st.booleans()),
            )
        ]
        if draw(st.booleans()):
            layers.append(nn.BatchNorm2d(outputs, affine=draw(st.booleans())))
        self.append(nn.Sequential(*layers, *self._activation()), source)

    def _linear(self, source: int, value: Tensor) -> None:
        outputs = self.draw(st.integers(1, 6))
        layers = [nn.Linear(value.shape[1], outputs, bias=self.draw(st.booleans()))]
        if self.draw(st.booleans()):
            layers.append(nn.BatchNorm1d(outputs, affine=self.draw(st.booleans())))
        self.append(nn.Sequential(*layers, *self._activation()), source)

    def _norm(self, source: int, value: Tensor) -> None:
        norm = nn.BatchNorm2d if value.dim() == 4 else nn.BatchNorm1d
        layers = norm(value.shape[1]), *self._activation()
        self.append(nn.Sequential(*layers), source)

    def _relu(self, source: int, value: Tensor) -> None:
        self.append(nn.Sequential(*(self._activation() or [nn.Identity()])), source)

    def _max(self, source: int, value: Tensor) -> None:
        window = self._window(value, largest_dilation=1, half=True)
        pool = nn.MaxPool2d(window["kernel"], window["stride"], window["padding"])
        self.append(pool, source)

    def _average(self, source: int, value: Tensor) -> None:
        window = self._window(value, largest_dilation=1, half=True)
        pool = nn.AvgPool2d(window["kernel"], window["stride"], window["padding"])
        self.append(nn.Sequential(pool, *self._activation()), source)

    def _adaptive(self, source: int, value: Tensor) -> None:
        sizes = [
            self.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
            for size in value.shape[2:]
        ]
        self.append(nn.AdaptiveAvgPool2d(tuple(sizes)), source)

    def _add(self, source: int, value: Tensor) -> None:
        others = [i for i, other in enumerate(self.values) if other.shape == value.shape]
        other = self.draw(st.sampled_from(others))
        if other == source and self.draw(st.booleans()):
            features = value.shape[1]
            # A residual connection around a layer.
            if value.dim() == 4:
                layer = nn.Conv2d(features, features, 3, padding=1)
            else:
                layer = nn.Linear(features, features)
            self.append(nn.Sequential(layer, *self._activation()), source)
            other = len(self.values) - 1
        self.append(_Add(self._activation()), source, other)

    def _concat(self, source: int, value: Tensor) -> None:
        others = [
            i
            for i, other in enumerate(self.values)
            if other.dim() == value.dim()
            and other.shape[2:] == value.shape[2:]
            and (value.dim() == 2 or other.shape[1] + value.shape[1] <= _MOST_CHANNELS)
        ]
        if others:
            self.append(_Concat(), source, self.draw(st.sampled_from(others)))

    def _shortcut(self, source: int, value: Tensor) -> None:
        channels = value.shape[1]
        if channels <= _MOST_CHANNELS:
            padding, stride = self.draw(st.integers(0, 2)), self.draw(st.integers(1, 2))
            self.append(PaddedShortcut(channels, padding, stride), source)


@st.composite
def networks(draw) -> Drawn:
    """Networks of up to ten parts that branch and join, of mixed widths."""
    shape = draw(st.integers(1, 4)), draw(st.integers(3, 9)), draw(st.integers(3, 9))
    builder = _Builder(draw, shape)
    for _ in range(draw(st.integers(2, 9))):
        builder.grow()
    module = builder.finish()
    seed = draw(st.integers(0, 2**32 - 1))
    weight_bits, act_bits = st.integers(2, 6), st.integers(2, 16)
    # Sums and concatenations have no module of their own: this pattern reaches them.
    overrides = draw(st.sampled_from([{}, {"*": {"act_bits": draw(act_bits)}}]))
    paths = [name for name, part in module.named_modules() if isinstance(part, _LAYERS)]
    for path in paths:
        if draw(st.booleans()):
            overrides[path] = {"weight_bits": draw(weight_bits), "act_bits": draw(act_bits)}
    config = QuantConfig(
        weight_bits=draw(weight_bits),
        act_bits=draw(act_bits),
        input_bits=draw(st.none() | act_bits),
        output_bits=draw(st.none() | act_bits),
        requant_mode=draw(st.sampled_from(["shift", "scale"])),
        weight_exponents=draw(st.sampled_from(["channel", "tensor"])),
        percentile=draw(st.sampled_from([None, 90.0, 100.0])),
        overrides=overrides,
    )
    images = random_images(seed, (3, *shape), draw(st.booleans()))
    return Drawn(randomized(module, seed), config, images)
