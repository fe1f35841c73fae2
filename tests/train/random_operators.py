"""How random networks grow by functions of one element, products, order, padding and sizes."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["OPERATOR_KINDS", "OperatorGrowth"]

OPERATOR_KINDS = (
    *("table", "difference", "product", "gate", "channels", "part", "order"),
    *("enlarge", "pad", "transposed", "region"),
)
_FUNCTIONS = (
    *(nn.SiLU, nn.GELU, nn.ELU, nn.Mish, nn.Softplus, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid),
    *(nn.Tanh, nn.LeakyReLU, nn.PReLU),
)


class Call(nn.Module):
    """A function of values as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values)


class OperatorGrowth:
    """What the builder of plans does for operators; it has ``draw``, ``values`` and ``append``."""

    def _table(self, source: int, value: Tensor) -> None:
        self.append(self.draw(st.sampled_from(_FUNCTIONS))(), source)

    def _alike(self, value: Tensor) -> int:
        others = [i for i, other in enumerate(self.values) if other.shape == value.shape]
        return self.draw(st.sampled_from(others))

    def _difference(self, source: int, value: Tensor) -> None:
        alpha = self.draw(st.sampled_from((1.0, 0.5, 0.3)))
        part = Call(lambda a, b: torch.sub(a, b, alpha=alpha))
        self.append(part, source, self._alike(value))

    def _product(self, source: int, value: Tensor) -> None:
        self.append(Call(torch.mul), source, self._alike(value))

    def _gate(self, source: int, value: Tensor) -> None:
        layers = nn.AdaptiveAvgPool2d(1), nn.Conv2d(value.shape[1], value.shape[1], 1)
        self.append(nn.Sequential(*layers, nn.Hardsigmoid()), source)
        self.append(Call(torch.mul), source, len(self.values) - 1)

    def _channels(self, source: int, value: Tensor) -> None:
        channels = value.shape[1]
        chosen = self.draw(st.lists(st.integers(0, channels - 1), min_size=1, max_size=6))
        self.append(Call(lambda x: x[:, chosen]), source)

    def _part(self, source: int, value: Tensor) -> None:
        parts = []
        for size in value.shape[2:]:
            start, step = self.draw(st.integers(0, size - 1)), self.draw(st.integers(1, 2))
            parts.append(slice(start, None, step))
        self.append(Call(lambda x: x[:, :, parts[0], parts[1]]), source)

    def _order(self, source: int, value: Tensor) -> None:
        channels, height, width = value.shape[1:]
        flips = [lambda x: x.flip(2), lambda x: x.flip([2, 3])]
        options = [Call(self.draw(st.sampled_from(flips)))]
        if max(height, width) <= 8:
            options.append(nn.Sequential(nn.Conv2d(channels, 4, 1), nn.PixelShuffle(2)))
        if min(height, width) > 1 and channels < 4:
            even = Call(lambda x: x[:, :, : height // 2 * 2, : width // 2 * 2])
            options.append(nn.Sequential(even, nn.PixelUnshuffle(2)))
        self.append(self.draw(st.sampled_from(options)), source)

    def _enlarge(self, source: int, value: Tensor) -> None:
        if max(value.shape[2:]) > 8:
            return
        mode = self.draw(st.sampled_from(("nearest", "bilinear", "bicubic")))
        if mode != "bicubic" and self.draw(st.booleans()):
            self.append(nn.Upsample(scale_factor=2, mode=mode), source)
            return
        size = self.draw(st.tuples(*2 * [st.integers(1, 12)]))
        corners = None if mode == "nearest" else self.draw(st.booleans())
        self.append(nn.Upsample(size, mode=mode, align_corners=corners), source)

    def _pad(self, source: int, value: Tensor) -> None:
        mode = self.draw(st.sampled_from(("reflect", "replicate", "constant")))
        most = min(value.shape[2:]) - 1 if mode == "reflect" else 2
        sizes = [self.draw(st.integers(0, min(most, 2))) for _ in range(4)]
        self.append(Call(lambda x: F.pad(x, sizes, mode)), source)

    def _transposed(self, source: int, value: Tensor) -> None:
        channels = value.shape[1]
        if max(value.shape[2:]) > 8:
            return
        groups = channels if self.draw(st.booleans()) else 1
        stride = self.draw(st.integers(1, 3))
        added = self.draw(st.integers(0, stride - 1))
        kernel = self.draw(st.integers(1, 3))
        layer = nn.ConvTranspose2d(channels, groups * 2, kernel, stride, 0, added, groups)
        self.append(nn.Sequential(layer, *self._activation()), source)

    def _region(self, source: int, value: Tensor) -> None:
        sizes = tuple(self.draw(st.integers(1, size)) for size in value.shape[2:])
        options = [nn.AdaptiveAvgPool2d(sizes), nn.AdaptiveMaxPool2d(sizes)]
        if min(value.shape[2:]) > 1:
            options.append(nn.AvgPool2d(2, 2, 1, ceil_mode=True, count_include_pad=False))
        self.append(self.draw(st.sampled_from(options)), source)
