"""Operators that change shapes and keep the order of the numbers."""

from dataclasses import replace
from math import prod

from nbqnn_train.graph.errors import GraphError
from nbqnn_train.graph.nodes import Flatten

from .building import of_activations, settled
from .lines import Chain
from .model import Operator
from .reader import Reader
from .values import Flat, Leaf, Tail, Value

__all__ = ["flat", "flatten", "reshape", "squeeze", "transpose", "unsqueeze"]


def _viewed(reader: Reader, op: Operator, value: Value, target: tuple[int, ...]) -> Value:
    """``value`` in the model's shape ``target``, which includes a batch of one."""
    if isinstance(value, Tail):
        return value
    own = value.shape
    long = [size for size in target if size != 1]
    features = prod(own)
    if prod(target) != features:
        raise GraphError(f"{op.what}: must hold {features} numbers an image, not {list(target)}")
    reader.model.shapes[op.outputs[0]] = tuple(target)
    if len(own) == 1:
        # A vector stays a vector, however many sizes of 1 it gets.
        if len(long) <= 1:
            return value
    elif tuple(target) in ((1, *own), (1, own[0], own[2])) and (len(target) == 4 or own[1] == 1):
        return value
    elif len(long) <= 1 and (len(target) <= 2 or features == own[0]):
        keeps = len(target) == 4 and target[1] == own[0] == features
        return value if keeps else flat(reader, op.outputs[0], value)
    raise GraphError(
        f"{op.what}: must flatten {own}, or only add or drop sizes of 1, not reshape to "
        f"{list(target[1:])}"
    )


def flat(reader: Reader, name: str, value: Value) -> Value:
    """Flattens (C, H, W) to (C*H*W,): activations at once, others after the next quantizer."""
    if not of_activations(reader, value):
        return Flat(value)
    value = settled(reader, f"Flatten {name!r}", value, f"{name}_in")
    line = value.chain.line
    node = reader.put(Flatten(name=reader.free(name), input=value.source))
    each = prod(value.shape[1:])

    def spread(column: tuple) -> tuple:
        return column if len(column) == 1 else tuple(v for v in column for _ in range(each))

    line = replace(line, scale=spread(line.scale), offset=spread(line.offset))
    return Leaf(node, reader.types[node].shape, Chain(line=line))


def _source(reader: Reader, op: Operator) -> tuple[Value, tuple[int, ...]]:
    value = reader.varying(op)
    return value, reader.model_shape(op.inputs[0], value)


def flatten(reader: Reader, op: Operator) -> Value:
    """(C, H, W) to (C*H*W,); nothing for vectors."""
    value, shape = _source(reader, op)
    axis = op.integer("axis", 1)
    if (axis + len(shape) if axis < 0 else axis) != 1 and prod(shape[:axis]) != 1:
        raise GraphError(f"{op.what}: axis must be 1, not {axis}")
    return _viewed(reader, op, value, (1, prod(value.shape)))


def reshape(reader: Reader, op: Operator) -> Value:
    """A reshape that flattens, or adds or removes sizes of 1 only."""
    value, shape = _source(reader, op)
    if "shape" in op.attributes:
        target = list(op.integers("shape"))
    else:
        target = [int(v) for v in reader.constant(op, 1).reshape(-1)]
    if not op.integer("allowzero", 0):
        target = [
            shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(target)
        ]
    features = prod(value.shape)
    known = prod(size for size in target if size != -1)
    if target.count(-1) == 1 and known > 0 and features % known == 0:
        target[target.index(-1)] = features // known
    elif target.count(-1) == 1 and len(target) > 1 and target[0] > 1:
        # The batch was fixed when the model was written.
        target = [1, *target[1:]]
        known = prod(size for size in target if size != -1)
        if known > 0 and features % known == 0:
            target[target.index(-1)] = features // known
    if len(target) > 1 and target[0] > 1 and prod(target[1:]) == features:
        target[0] = 1
    if any(size < 1 for size in target) or prod(target) != features:
        raise GraphError(f"{op.what}: must flatten {value.shape}, not reshape to {target[1:]}")
    return _viewed(reader, op, value, tuple(target))


def _axes(reader: Reader, op: Operator) -> list[int] | None:
    if reader.given(op, 1):
        return [int(axis) for axis in reader.constant(op, 1).reshape(-1)]
    return list(op.integers("axes")) if "axes" in op.attributes else None


def squeeze(reader: Reader, op: Operator) -> Value:
    """Removes sizes of 1."""
    value, shape = _source(reader, op)
    axes = _axes(reader, op)
    if axes is None:
        dropped = {i for i, size in enumerate(shape) if size == 1}
    else:
        dropped = {axis % len(shape) for axis in axes}
    if any(shape[axis] != 1 for axis in dropped):
        raise GraphError(f"{op.what}: axes must have size 1 in {list(shape)}")
    return _viewed(reader, op, value, tuple(s for i, s in enumerate(shape) if i not in dropped))


def unsqueeze(reader: Reader, op: Operator) -> Value:
    """Adds sizes of 1."""
    value, shape = _source(reader, op)
    axes = _axes(reader, op)
    if axes is None:
        raise GraphError(f"{op.what}: axes are missing")
    rank = len(shape) + len(axes)
    places = {axis % rank for axis in axes}
    rest = iter(shape)
    return _viewed(reader, op, value, tuple(1 if i in places else next(rest) for i in range(rank)))


def transpose(reader: Reader, op: Operator) -> Value:
    """A transposition that keeps the order of the numbers."""
    value, shape = _source(reader, op)
    order = list(op.integers("perm", tuple(reversed(range(len(shape))))))
    if sorted(order) != list(range(len(shape))):
        raise GraphError(f"{op.what}: perm must name the axes of {list(shape)}, not {order}")
    long = [axis for axis in order if shape[axis] != 1]
    if long != sorted(long):
        raise GraphError(
            f"{op.what}: an order of axes other than (N, C, H, W) is not supported; perm {order} "
            f"changes the order of {list(shape)}: export the network channels first"
        )
    return _viewed(reader, op, value, tuple(shape[axis] for axis in order))
