"""Operators with weights, norms, pooling and padding."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nbqnn_train.models.from_onnx.operator import Apply, Part, builder, real
from nbqnn_train.qonnx.windows import transposed_sides

__all__ = []

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}
_MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d}
_AVG_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d}
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
_MODES = {"CONSTANT": "constant", "REFLECT": "reflect", "EDGE": "replicate", "WRAP": "circular"}


def _weights(part: Part, change: str = "", factor: float = 1.0) -> nn.Parameter:
    """The weights: input 1, shared with every operator that reads it."""
    return part.parameter(1, change, factor, part.operator.inputs[1])


def _bias(part: Part, change: str = "", factor: float = 1.0) -> nn.Parameter | None:
    """The bias: input 2, shared with the operators with which the weights are shared."""
    return part.parameter(2, change, factor, part.operator.inputs[1])


def _rank(part: Part) -> int:
    """Number of dimensions of a window: 1 for series, 2 for maps."""
    rank = len(part.shape(0)) - 2
    if rank not in (1, 2):
        raise part.refuse(f"its input must be a map or a series, not of shape {part.shape(0)}")
    return rank


def _spread(part: Part, name: str, rank: int, default: int) -> tuple[int, ...]:
    found = part.operator.integers(name, (default,) * rank)
    return found * rank if len(found) == 1 else found


def _padding(part: Part, kernel: tuple, stride: tuple, dilation: tuple) -> list[tuple[int, int]]:
    """Padding of each dimension: before and behind."""
    rank = len(kernel)
    kind = part.operator.text("auto_pad", "NOTSET")
    if kind == "VALID":
        return [(0, 0)] * rank
    if kind == "NOTSET":
        pads = part.operator.integers("pads", (0,) * (2 * rank))
        return [(pads[axis], pads[axis + rank]) for axis in range(rank)]
    found = []
    for axis, size in enumerate(part.shape(0)[2:]):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (-(-size // stride[axis]) - 1) * stride[axis] + reach - size)
        smaller, larger = total // 2, total - total // 2
        found.append((smaller, larger) if kind == "SAME_UPPER" else (larger, smaller))
    return found


def _split(padding: list[tuple[int, int]]) -> tuple[tuple[int, ...], list[int]]:
    """Splits padding: what the layer does itself, and what is put around the map before it."""
    if all(before == behind for before, behind in padding):
        return tuple(before for before, _ in padding), []
    return (0,) * len(padding), [size for pair in reversed(padding) for size in pair]


class Weighted(nn.Module):
    """A function of a value, weights and perhaps a bias, such as a convolution."""

    def __init__(self, function, weight: nn.Parameter, bias: nn.Parameter | None, **settings):
        super().__init__()
        self.function, self.settings = function, settings
        self.around = settings.pop("around", [])
        self.weight = weight
        self.register_parameter("bias", bias)

    def forward(self, value: Tensor) -> Tensor:
        if self.around:
            value = functional.pad(value, self.around)
        return self.function(value, self.weight, self.bias, **self.settings)


@builder("Conv")
def _conv(part: Part) -> nn.Module:
    rank = _rank(part)
    weight = _weights(part)
    stride, dilation = _spread(part, "strides", rank, 1), _spread(part, "dilations", rank, 1)
    own, around = _split(_padding(part, tuple(weight.shape[2:]), stride, dilation))
    return Weighted(
        _CONVOLUTIONS[rank],
        weight,
        _bias(part),
        stride=stride,
        padding=own,
        dilation=dilation,
        groups=part.operator.integer("group", 1),
        around=around,
    )


@builder("ConvTranspose")
def _conv_transpose(part: Part) -> nn.Module:
    rank = _rank(part)
    weight = _weights(part)
    sizes, kernel = (tuple(shape[2:]) for shape in (part.shape(0), weight.shape))
    if rank == 1:
        sizes, kernel = (1, *sizes), (1, *kernel)
    stride, dilation, sides = transposed_sides(part.operator, sizes, kernel, rank)
    own, more, cropped = [], [], []
    for side, step, apart in list(zip(sides, stride, dilation, strict=True))[2 - rank :]:
        # PyTorch cuts off alike before and behind: output padding and a crop do the rest.
        left = side.before - side.behind + side.more
        if left < max(step, apart):
            own.append(side.before)
            more.append(max(0, left))
            cropped = [0, min(0, left), *cropped]
        else:
            own.append(side.behind)
            more.append(side.more)
            cropped = [side.behind - side.before, 0, *cropped]
    layer = Weighted(
        _TRANSPOSED[rank],
        weight,
        _bias(part),
        stride=stride[2 - rank :],
        padding=tuple(own),
        output_padding=tuple(more),
        dilation=dilation[2 - rank :],
        groups=part.operator.integer("group", 1),
    )
    if not any(cropped):
        return layer
    return nn.Sequential(layer, Apply(lambda value: functional.pad(value, cropped)))


@builder("Gemm")
def _gemm(part: Part) -> nn.Module:
    operator = part.operator
    if operator.integer("transA", 0):
        raise part.refuse("transA must be 0: the batch is in front")
    turned = "" if operator.integer("transB", 0) else "transposed"
    weight = _weights(part, turned, operator.number("alpha", 1.0))
    bias = None
    if part.has(2):
        bias = _bias(part, "flat", operator.number("beta", 1.0))
        if bias.numel() != weight.shape[0]:
            raise part.refuse(f"input 2 must have {weight.shape[0]} numbers, not {bias.numel()}")
    return Weighted(functional.linear, weight, bias)


@builder("MatMul")
def _matmul(part: Part) -> nn.Module:
    if part.is_constant(1) and part.constant(1).ndim == 2:
        return Weighted(functional.linear, _weights(part, "transposed"), None)
    return part.applied(torch.matmul)


@builder("BatchNormalization")
def _batch_normalization(part: Part) -> nn.Module:
    operator = part.operator
    if operator.integer("training_mode", 0) or len(operator.outputs) > 1:
        raise part.refuse("statistics must be running ones; remedy: export in evaluation mode")
    kind = _BATCH_NORMS.get(len(part.shape(0)))
    if kind is None:
        raise part.refuse(f"its input must be a map, a series or a vector, not {part.shape(0)}")
    mean, variance = real(part.constant(3)).float(), real(part.constant(4)).float()
    momentum = 1 - operator.number("momentum", 0.9)
    norm = kind(len(mean), eps=operator.number("epsilon", 1e-5), momentum=momentum)
    norm.weight, norm.bias = part.parameter(1), part.parameter(2)
    norm.running_mean, norm.running_var = mean, variance
    return norm


@builder("PRelu")
def _prelu(part: Part) -> nn.Module:
    slope = part.parameter(1, "flat")
    if slope.numel() not in (1, part.shape(0)[1]):
        raise part.refuse(f"slopes must be one, or one for each channel, not {slope.numel()}")
    return Weighted(lambda value, slopes, _: functional.prelu(value, slopes), slope, None)


@builder("LayerNormalization")
def _layer_normalization(part: Part) -> nn.Module:
    rank = len(part.shape(0))
    axis = part.operator.integer("axis", -1) % rank
    shape, eps = part.shape(0)[axis:], part.operator.number("epsilon", 1e-5)

    def normalize(value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.layer_norm(value, shape, weight, bias, eps)

    return Weighted(normalize, part.parameter(1), part.parameter(2))


@builder("InstanceNormalization")
def _instance_normalization(part: Part) -> nn.Module:
    eps = part.operator.number("epsilon", 1e-5)

    def normalize(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.instance_norm(value, weight=weight, bias=bias, eps=eps)

    return Weighted(normalize, part.parameter(1), part.parameter(2))


# Pooling and padding.


def _pooled(part: Part, fill: float, pools: dict, **settings) -> Apply:
    rank = _rank(part)
    kernel = _spread(part, "kernel_shape", rank, 1)
    stride = _spread(part, "strides", rank, 1)
    dilation = _spread(part, "dilations", rank, 1)
    ceil = bool(part.operator.integer("ceil_mode", 0))
    own, around = _split(_padding(part, kernel, stride, dilation))
    own_fits = all(2 * size <= k for size, k in zip(own, kernel, strict=True))
    if not own_fits:
        own, around = (0,) * rank, [size for pad in reversed(own) for size in (pad, pad)]
    if around and settings.get("count_include_pad") is False:
        own, ceil = _not_counted(part, kernel, stride)
        around = []
    if fill:
        settings["dilation"] = dilation
    elif any(step != 1 for step in dilation):
        raise part.refuse(f"dilations must be 1 in averages, not {list(dilation)}")

    def pool(value: Tensor) -> Tensor:
        if around:
            value = functional.pad(value, around, value=fill)
        return pools[rank](value, kernel, stride, own, ceil_mode=ceil, **settings)

    return Apply(pool)


def _not_counted(part: Part, kernel: tuple, stride: tuple) -> tuple[tuple[int, ...], bool]:
    """Padding on both sides and whether to round up, where that gives the windows of padding that
    differs by side: no window reaches into what is too much, and none of it is counted."""
    padding = _padding(part, kernel, stride, (1,) * len(kernel))
    own = tuple(before for before, _ in padding)
    sizes, after = part.shape(0)[2:], part.result_shape()[2:]
    axes = list(zip(sizes, own, kernel, stride, after, strict=True))
    for ceil in (False, True):
        if all(_windows(*axis[:4], ceil) == axis[4] and 2 * axis[1] <= axis[2] for axis in axes):
            return own, ceil
    raise part.refuse("padding that is not counted must be equal on both sides, and small")


def _windows(size: int, own: int, kernel: int, stride: int, ceil: bool) -> int:
    """Number of PyTorch's windows; none begins in the padding behind."""
    left = size + 2 * own - kernel
    count = (-(-left // stride) if ceil else left // stride) + 1
    return count - (ceil and (count - 1) * stride >= size + own)


@builder("MaxPool")
def _max_pool(part: Part) -> nn.Module:
    if len(part.operator.outputs) > 1:
        raise part.refuse("the places of the largest values must not be used")
    return _pooled(part, -math.inf, _MAX_POOLS)


@builder("AveragePool")
def _average_pool(part: Part) -> nn.Module:
    counted = bool(part.operator.integer("count_include_pad", 0))
    rank = _rank(part)
    kernel, stride = (_spread(part, name, rank, 1) for name in ("kernel_shape", "strides"))
    padded = any(any(pair) for pair in _padding(part, kernel, stride, (1,) * rank))
    return _pooled(part, 0.0, _AVG_POOLS, count_include_pad=counted or not padded)


@builder("GlobalAveragePool")
def _global_average_pool(part: Part) -> nn.Module:
    pool = {1: functional.adaptive_avg_pool1d, 2: functional.adaptive_avg_pool2d}[_rank(part)]
    return Apply(lambda value: pool(value, 1))


@builder("GlobalMaxPool")
def _global_max_pool(part: Part) -> nn.Module:
    pool = {1: functional.adaptive_max_pool1d, 2: functional.adaptive_max_pool2d}[_rank(part)]
    return Apply(lambda value: pool(value, 1))


@builder("Pad")
def _pad(part: Part) -> nn.Module:
    mode = _MODES.get(part.operator.text("mode", "constant"))
    if mode is None:
        raise part.refuse("mode must be constant, reflect, edge or wrap")
    fill = part.number(2) if part.has(2) else part.operator.number("value", 0.0)
    pads = part.integers(1, "pads") or []
    rank = len(part.shape(0))
    axes = part.integers(3, "") or range(rank)
    sizes = {axis % rank: at for at, axis in enumerate(axes)}
    around = []
    for axis in reversed(range(rank)):
        at = sizes.get(axis)
        around += [0, 0] if at is None else [pads[at], pads[at + len(sizes)]]
    if any(around[-2:]):
        raise part.refuse("the batch must not be padded")
    around = around[: 2 * (rank - 1)] if mode == "constant" else around[: 2 * (rank - 2)]
    return Apply(lambda value: functional.pad(value, around, mode=mode, value=fill or 0.0))
