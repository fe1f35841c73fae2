"""Windows of one or two dimensions: strides, and padding in all of its forms."""

from dataclasses import dataclass

from nbqnn_train.graph.errors import GraphError

from .model import Operator

__all__ = ["Side", "Window", "transposed_sides", "window_of"]


@dataclass(frozen=True)
class Window:
    """kernel, stride, dilation (vertical, horizontal); padding (top, left, bottom, right).

    beyond : whether the last windows reach beyond the padding of the model (ceil_mode).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    beyond: bool = False


def _pair(op: Operator, name: str, default: int, dimensions: int) -> tuple[int, int]:
    values = op.integers(name, ()) or (default,) * dimensions
    if len(values) != dimensions or any(value < 1 for value in values):
        raise GraphError(f"{op.what}: {name} must be {dimensions} numbers from 1, not {values}")
    return (1, *values) if dimensions == 1 else values


def window_of(
    op: Operator, size: tuple[int, int], kernel: tuple[int, ...], dimensions: int
) -> Window:
    """The windows of ``op`` on maps of ``size``.

    kernel : one number for each of the ``dimensions`` (1 or 2); a series is a map of one row.
    """
    if dimensions not in (1, 2) or len(kernel) != dimensions:
        raise GraphError(f"{op.what}: windows must have one or two dimensions, not {len(kernel)}")
    stated = op.integers("kernel_shape", ())
    if stated and stated != tuple(kernel):
        raise GraphError(f"{op.what}: kernel_shape {stated} must be that of the weights {kernel}")
    full = (1, *kernel) if dimensions == 1 else tuple(kernel)
    stride = _pair(op, "strides", 1, dimensions)
    dilation = _pair(op, "dilations", 1, dimensions)
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, full, strict=True))
    padding = _padding(op, size, reach, stride, dimensions)
    beyond = False
    if op.integer("ceil_mode", 0):
        padding, beyond = _rounded_up(size, reach, stride, padding)
    return Window(full, stride, dilation, padding, beyond)


def _padding(op, size, reach, stride, dimensions) -> tuple[int, int, int, int]:
    auto = op.text("auto_pad", "NOTSET") or "NOTSET"
    if auto == "NOTSET":
        pads = op.integers("pads", ()) or (0,) * (2 * dimensions)
        if len(pads) != 2 * dimensions or any(value < 0 for value in pads):
            raise GraphError(f"{op.what}: pads must be {2 * dimensions} numbers from 0, not {pads}")
        return (0, pads[0], 0, pads[1]) if dimensions == 1 else pads
    if auto == "VALID":
        return (0, 0, 0, 0)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise GraphError(
            f"{op.what}: auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {auto!r}"
        )
    before, after = [], []
    for length, window, step in zip(size, reach, stride, strict=True):
        outputs = -(-length // step)
        total = max((outputs - 1) * step + window - length, 0)
        less, more = total // 2, total - total // 2
        before.append(less if auto == "SAME_UPPER" else more)
        after.append(more if auto == "SAME_UPPER" else less)
    return (*before, *after)


def _rounded_up(size, reach, stride, padding) -> tuple[tuple[int, int, int, int], bool]:
    """Padding at the end that completes the last window of ceil_mode."""
    ends = []
    for i in (0, 1):
        room = size[i] + padding[i] + padding[i + 2] - reach[i]
        outputs = -(-room // stride[i]) + 1
        if (outputs - 1) * stride[i] >= size[i] + padding[i]:
            outputs -= 1
        missing = (outputs - 1) * stride[i] + reach[i] - size[i] - padding[i]
        ends.append(max(padding[i + 2], missing))
    result = (padding[0], padding[1], *ends)
    return result, result != padding


@dataclass(frozen=True)
class Side:
    """Of one axis of a transposed convolution: what is cut off before and behind, and what is added
    behind."""

    before: int
    behind: int
    more: int


def transposed_sides(
    op: Operator, size: tuple[int, ...], kernel: tuple[int, int], dimensions: int
) -> tuple[tuple[int, int], tuple[int, int], list[Side]]:
    """Stride, dilation and the sides of both axes of a transposed convolution on maps of ``size``.

    ``output_shape`` and ``auto_pad`` say the sides in place of ``pads``, as ONNX has it.
    """
    stride = _pair(op, "strides", 1, dimensions)
    dilation = _pair(op, "dilations", 1, dimensions)
    front = (0,) * (2 - dimensions)
    more = front + (op.integers("output_padding", ()) or (0,) * dimensions)
    wanted = op.integers("output_shape", ())[-dimensions:]
    auto = op.text("auto_pad", "NOTSET") or "NOTSET"
    if auto.startswith("SAME") and not wanted:
        wanted = tuple(a * b for a, b in zip(size, stride, strict=True))[2 - dimensions :]
    wanted = (1,) * (2 - dimensions) + wanted if wanted else ()
    pads = _padding(op, (1, 1), (1, 1), (1, 1), dimensions) if auto == "NOTSET" else (0, 0, 0, 0)
    sides = []
    for axis in (0, 1):
        before, behind, added = pads[axis], pads[axis + 2], more[axis]
        if wanted:
            whole = stride[axis] * (size[axis] - 1) + dilation[axis] * (kernel[axis] - 1) + 1
            total = whole + added - wanted[axis]
            before = max(0, total // 2 if auto == "SAME_UPPER" else total - total // 2)
            behind = total - before
        if behind < 0:
            behind, added = 0, added - behind
        if not 0 <= added < max(stride[axis], dilation[axis]):
            raise GraphError(
                f"{op.what}: output_padding must be below the larger of stride and dilation, "
                f"{max(stride[axis], dilation[axis])}, not {added}"
            )
        sides.append(Side(before, behind, added))
    return stride, dilation, sides
