"""Values that are repeated along axes of size 1: broadcasting, Expand, Tile."""

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.operators import Channels, Upsample2d

from .building import settled
from .model import Operator
from .parts import moved
from .reader import Reader
from .values import Leaf, Value

__all__ = ["alike", "expand", "tile"]


def alike(reader: Reader, op: Operator, a: Value, b: Value) -> tuple[Value, Value]:
    """Both operands in the shape to which ONNX broadcasts them."""
    if a.shape == b.shape:
        return a, b
    shapes = [
        reader.model_shape(name, value) for name, value in zip(op.inputs, (a, b), strict=True)
    ]
    together = _broadcast(*shapes)
    if together is None:
        raise GraphError(f"{op.what}: operands must have equal shapes, not {a.shape} and {b.shape}")
    first, second = (
        _repeated(reader, op, value, name, together)
        for value, name in zip((a, b), op.inputs, strict=True)
    )
    return first, second


def expand(reader: Reader, op: Operator) -> Value:
    """One position or channel in place of many."""
    value = reader.varying(op)
    own = reader.model_shape(op.inputs[0], value)
    wanted = tuple(int(size) for size in reader.constant(op, 1).reshape(-1))
    wanted = (1,) * (len(own) - len(wanted)) + wanted
    together = _broadcast(own, wanted)
    if together is None or together[0] != 1:
        raise GraphError(
            f"{op.what}: shape must repeat axes of size 1 of {list(own)} behind the batch, not be "
            f"{list(wanted)}"
        )
    return _repeated(reader, op, value, op.inputs[0], together)


def tile(reader: Reader, op: Operator) -> Value:
    """All channels again and again, or one position."""
    value = reader.varying(op)
    own = reader.model_shape(op.inputs[0], value)
    times = tuple(int(count) for count in reader.constant(op, 1).reshape(-1))
    fits = len(times) == len(own) and times[0] == 1 and min(times) >= 1
    axes = list(zip(times, own, strict=True))[2:] if fits else []
    if not fits or any(count > 1 and size > 1 for count, size in axes):
        raise GraphError(
            f"{op.what}: repeats must be of channels, or of axes of size 1, of {list(own)}, not "
            f"{list(times)}"
        )
    shape = (1, own[1], *(count * size for count, size in axes))
    leaf = _repeated(reader, op, value, op.inputs[0], shape)
    return leaf if times[1] == 1 else _channels(reader, op, leaf, [*range(own[1])] * times[1])


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of both together; None where they do not fit, or have different ranks."""
    if len(a) != len(b) or any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        return None
    return tuple(max(x, y) if 0 not in (x, y) else 0 for x, y in zip(a, b, strict=True))


def _repeated(
    reader: Reader, op: Operator, value: Value, name: str, shape: tuple[int, ...]
) -> Value:
    """``value``, the tensor ``name``, in the ``shape`` of the model, batch included."""
    shape = (shape[1], 1, shape[2]) if len(shape) == 3 else shape[1:]
    if value.shape == shape:
        return value
    leaf = settled(reader, op.what, value, name)
    if leaf.shape[1:] != shape[1:]:
        factor = tuple(new // old for new, old in zip(shape[1:], leaf.shape[1:], strict=True))
        free = reader.free(f"{op.outputs[0]}_positions")
        leaf = moved(reader, leaf, Upsample2d(name=free, input=leaf.source, factor=factor))
    return leaf if leaf.shape[0] == shape[0] else _channels(reader, op, leaf, [0] * shape[0])


def _channels(reader: Reader, op: Operator, leaf: Leaf, index: list[int]) -> Leaf:
    free = reader.free(f"{op.outputs[0]}_channels")
    return moved(reader, leaf, Channels(name=free, input=leaf.source, index=index), index)
