"""Reads layers with weights: convolution, linear, batch norm."""

import torch
from torch import Tensor, fx

from nbqnn_train.quant.reading.arranging import indices
from nbqnn_train.quant.reading.reader import Reader
from nbqnn_train.quant.reading.refusals import Unsupported
from nbqnn_train.quant.reading.rules import rule
from nbqnn_train.quant.reading.values import Constant, Value, canonical

__all__ = []

_MAPS = "use maps (C, H, W) and two-dimensional layers"


def _pair(value) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _weights(reader: Reader, node: fx.Node, role: str, argument) -> Tensor | None:
    """The weights: a parameter itself, or with a note a tensor computed from parameters."""
    constant = reader.constant(argument)
    if constant is None:
        return None
    if constant.path:
        return constant.tensor
    if constant.kept is not None:
        if constant.origin not in reader.masked:
            reader.note(node, f"{role} has a mask; what it makes zero stays zero")
            reader.masked[constant.origin] = torch.nn.Parameter(constant.tensor)
        return reader.masked[constant.origin]
    reader.rounded = True
    if not constant.learned:
        return constant.tensor
    reader.note(node, f"{role} is computed from parameters; its present value is what learns on")
    return torch.nn.Parameter(constant.tensor)


def _layer_tensors(reader: Reader, node: fx.Node, weight, bias) -> dict[str, Tensor | None]:
    return {
        "weight": _weights(reader, node, "the weight", weight),
        "bias": _weights(reader, node, "the bias", bias),
        "kept": reader.constant(weight).kept,
    }


@rule("conv2d", "conv1d")
def _convolution(
    reader: Reader, node: fx.Node, operand, weight, bias, stride, padding, dilation, groups
) -> Value:
    value = reader.value(operand)
    tensors = _layer_tensors(reader, node, weight, bias)
    flat = tensors["weight"].dim() == 3
    kernel = (1, tensors["weight"].shape[2]) if flat else tuple(tensors["weight"].shape[2:])

    def two(numbers, other: int) -> tuple[int, int]:
        return (other, _pair(numbers)[0]) if flat else _pair(numbers)

    stride, dilation = two(stride, 1), two(dilation, 1)
    if padding == "valid":
        padding = (0, 0, 0, 0)
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        top, left = (t // 2 for t in total)
        padding = (top, left, total[0] - top, total[1] - left)
    else:
        padding = two(padding, 0) * 2
    out = tuple(node.meta["val"].shape[1:])
    channels = len(tensors["weight"])
    if len(out) != (2 if flat else 3):
        raise Unsupported("a convolution without a batch", "keep the batch in front", "shape")
    shape = (channels, 1, out[1]) if flat else out
    features = (value.base[0],) if value.plain else ()
    if reader.shape(value) == features and kernel == (1, 1) and padding == (0, 0, 0, 0):
        # A map of one position is held as a vector. There a convolution is a linear layer.
        if groups != 1:
            raise Unsupported("a grouped convolution of a vector", _MAPS, "shape")
        settings = {"weight_shape": (channels, *features)}
        return reader.emit(
            node, "linear", (value.name,), (channels,), base=out, tensors=tensors, **settings
        )
    value = reader.map(value)
    return reader.emit(
        node,
        "conv",
        (value.name,),
        shape,
        base=out,
        tensors=tensors,
        weight_shape=(channels, tensors["weight"].shape[1], *kernel),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@rule("conv_transpose2d", "conv_transpose1d")
def _transposed_convolution(
    reader: Reader,
    node: fx.Node,
    operand,
    weight,
    bias,
    stride,
    padding,
    output_padding,
    groups,
    dilation,
) -> Value:
    value = reader.map(reader.value(operand))
    tensors = _layer_tensors(reader, node, weight, bias)
    flat = tensors["weight"].dim() == 3

    def two(numbers, other: int) -> tuple[int, int]:
        return (other, _pair(numbers)[0]) if flat else _pair(numbers)

    inputs, outputs, *kernel = tensors["weight"].shape
    kernel = (1, *kernel) if flat else tuple(kernel)
    out = tuple(node.meta["val"].shape[1:])
    return reader.emit(
        node,
        "conv_transpose",
        (value.name,),
        canonical(out),
        base=out,
        tensors=tensors,
        weight_shape=(outputs * groups, inputs // groups, *kernel),
        stride=two(stride, 1),
        padding=two(padding, 0) * 2,
        dilation=two(dilation, 1),
        groups=groups,
        output_padding=two(output_padding, 0),
    )


@rule("linear")
def _linear(reader: Reader, node: fx.Node, operand, weight, bias) -> Value:
    tensors = _layer_tensors(reader, node, weight, bias)
    return _emit_linear(reader, node, reader.value(operand), tensors)


@rule("mm", "matmul")
def _product(reader: Reader, node: fx.Node, **operands) -> Value:
    left, right = operands.values()
    if not reader.is_value(left) or reader.is_value(right):
        raise Unsupported(
            "a matrix product of two values of the network",
            "use convolutions or linear layers in its place",
        )
    weight = reader.constant(right)
    if weight.tensor.dim() != 2:
        raise Unsupported("a product with something other than a matrix", "use a linear layer")
    return _emit_linear(reader, node, reader.value(left), _transposed(reader, node, weight, None))


@rule("addmm")
def _addmm(reader: Reader, node: fx.Node, operand, mat1, mat2, beta, alpha) -> Value:
    if reader.is_value(mat2) or reader.is_value(operand) or beta != 1 or alpha != 1:
        raise Unsupported(
            "a matrix product of two values of the network",
            "use convolutions or linear layers in its place",
        )
    tensors = _transposed(reader, node, reader.constant(mat2), reader.constant(operand))
    return _emit_linear(reader, node, reader.value(mat1), tensors)


def _transposed(reader: Reader, node: fx.Node, weight: Constant, bias: Constant | None) -> dict:
    reader.rounded = reader.rounded or not weight.path
    tensors = {"weight": weight.tensor.detach().t().contiguous(), "bias": None}
    if weight.learned:
        tensors["weight"] = torch.nn.Parameter(tensors["weight"])
    if bias is not None:
        tensors["bias"] = bias.tensor
    return tensors


def _emit_linear(reader: Reader, node: fx.Node, value: Value, tensors: dict) -> Value:
    features, inputs = tensors["weight"].shape
    last = value.order is not None and not value.steps and value.order[-1] == 0
    if last and value.order == (*range(1, len(value.base)), 0):
        # With channels last the same linear layer at every position is a 1 x 1 convolution.
        before = reader.map(Value(value.name, value.base))
        shape = (features, *reader.shape(before)[1:])
        settings = {
            "weight_shape": (features, inputs, 1, 1),
            "stride": (1, 1),
            "padding": (0, 0, 0, 0),
            "dilation": (1, 1),
            "groups": 1,
        }
        base = (features, *value.base[1:])
        out = reader.emit(
            node,
            "conv",
            (before.name,),
            shape,
            base=base,
            tensors=tensors,
            plain=False,
            **settings,
        )
        return out.permuted(value.order)
    if value.size != inputs:
        raise Unsupported(
            f"a linear layer of {inputs} features on the dimensions {value.shape}",
            "flatten to (N, F), or use a convolution of 1 x 1",
            "shape",
        )
    settings = {"weight_shape": (features, inputs)}
    if not value.plain and len(value.shape) == 1:
        # Weights in the order of the map, in place of a map in the order of the weights.
        settings["columns"] = tuple(torch.argsort(indices(value)).tolist())
        value = Value(value.name, (inputs,), flat=value.flat)
    value = reader.vector(value)
    base = tuple(node.meta["val"].shape[1:])
    return reader.emit(
        node, "linear", (value.name,), (features,), base=base, tensors=tensors, **settings
    )


def _emit_norm(reader: Reader, node: fx.Node, operand, weight, bias, mean, var, eps, momentum):
    value = reader.value(operand)
    value = reader.map(value) if len(value.base) > 1 else reader.vector(value)
    found = {
        "weight": reader.constant(weight),
        "bias": reader.constant(bias),
        "mean": reader.constant(mean),
        "var": reader.constant(var),
    }
    low = float(found["var"].tensor.min())
    if low + eps <= 0:
        raise Unsupported(
            f"batch norm with a variance of {low:g}",
            "give running_var values of 0 or more",
            "weights",
        )
    path = found["mean"].path.rpartition(".")[0]
    owner = reader.program.modules.get(path)
    if hasattr(owner, "momentum"):
        momentum = owner.momentum
    tensors = {
        "weight": _weights(reader, node, "the weight", weight),
        "bias": _weights(reader, node, "the bias", bias),
        "mean": found["mean"].tensor,
        "var": found["var"].tensor,
        "tracked": getattr(owner, "num_batches_tracked", None),
    }
    return reader.emit(
        node,
        "norm",
        (value.name,),
        reader.shape(value),
        base=value.base,
        tensors=tensors,
        eps=eps,
        momentum=momentum,
    )


@rule("batch_norm")
def _batch_norm(
    reader, node, operand, weight, bias, running_mean, running_var, training, momentum, eps, **_
) -> Value:
    if running_mean is None or training:
        raise Unsupported(
            "batch norm without running statistics",
            "train with track_running_stats=True",
        )
    return _emit_norm(reader, node, operand, weight, bias, running_mean, running_var, eps, momentum)


@rule("_native_batch_norm_legit_no_training")
def _native_batch_norm(
    reader, node, operand, weight, bias, running_mean, running_var, momentum, eps
) -> Value:
    return _emit_norm(reader, node, operand, weight, bias, running_mean, running_var, eps, momentum)


@rule("instance_norm")
def _instance_norm(reader: Reader, node: fx.Node, running_mean, **_) -> Value:
    if running_mean is None:
        return _no_statistics(reader, node)
    raise Unsupported("a norm of every image by itself", "train with BatchNorm in its place")


@rule("_native_batch_norm_legit", "native_batch_norm")
def _no_statistics(reader: Reader, node: fx.Node, **_) -> Value:
    raise Unsupported(
        "a norm without running statistics", "train with BatchNorm and its running statistics"
    )
