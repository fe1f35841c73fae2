"""Joins operations that one layer can do: padding with the layer behind it, and factors."""

import math

import torch
from torch import Tensor

from nbqnn_train.quant.reading.operations import Operation, Reading
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal

__all__ = ["simplify"]


def simplify(reading: Reading, network: str) -> None:
    """Joins operations of ``reading``, in place. What it computes does not change.

    Raises :class:`NetworkRefused` for padding with minus infinity that no max pooling follows.
    """
    _join(reading, _joined_select)
    _join(reading, _joined_affine)
    _merge_padding(reading)
    left = [
        Refusal(
            "operation",
            operation.path,
            operation.source,
            operation.operation,
            "padding with minus infinity that is not for max pooling",
            "pad with zeros",
        )
        for operation in reading.operations
        if operation.kind == "select" and operation.settings["fill"] != 0
    ]
    if left:
        raise NetworkRefused(network, left)


def _users(reading: Reading) -> dict[str, list[Operation]]:
    users: dict[str, list[Operation]] = {o.name: [] for o in reading.operations}
    for operation in reading.operations:
        for source in operation.inputs:
            users[source].append(operation)
    return users


def _join(reading: Reading, joined) -> None:
    """Replaces an operation and its only reader by what ``joined`` gives for the pair."""
    outputs = {output.name for output in reading.outputs}
    by_name = {operation.name: operation for operation in reading.operations}
    users = _users(reading)
    gone = set()
    for second in reading.operations:
        if len(second.inputs) != 1:
            continue
        first = by_name[second.inputs[0]]
        if len(users[first.name]) != 1 or first.name in outputs or not joined(first, second):
            continue
        second.inputs = first.inputs
        for source in first.inputs:
            users[source] = [second if user is first else user for user in users[source]]
        gone.add(first.name)
    reading.operations[:] = [o for o in reading.operations if o.name not in gone]


def _joined_select(first: Operation, second: Operation) -> bool:
    """Makes ``second`` also do what ``first`` does, where one selection can do both."""
    if first.kind != "select" or second.kind != "select":
        return False
    a, b = first.settings, second.settings
    if a["fill"] != b["fill"] or (a["stride"] != (1, 1) and any(b["padding"])):
        return False
    b["stride"] = tuple(x * y for x, y in zip(a["stride"], b["stride"], strict=True))
    b["padding"] = tuple(x + y for x, y in zip(a["padding"], b["padding"], strict=True))
    b["channels"] = tuple(x + y for x, y in zip(a["channels"], b["channels"], strict=True))
    return True


def _joined_affine(first: Operation, second: Operation) -> bool:
    """Makes ``second`` also do what ``first`` does: the factor first, then the summand."""
    if first.kind != "affine" or second.kind != "affine":
        return False
    a, b = first.tensors, second.tensors
    if a["offset"] is None and b["scale"] is None:
        b["scale"] = a["scale"]
        return True
    tensors = (*a.values(), *b.values())
    if any(isinstance(tensor, torch.nn.Parameter) for tensor in tensors):
        return False  # parameters that are learned stay parameters
    scale_a, scale_b = _or(a["scale"], 1), _or(b["scale"], 1)
    b["offset"] = _or(a["offset"], 0) * scale_b + _or(b["offset"], 0)
    b["scale"] = scale_a * scale_b
    return True


def _or(tensor: Tensor | None, nothing: float) -> Tensor:
    return torch.full((1,), nothing, dtype=torch.float64) if tensor is None else tensor.double()


def _merge_padding(reading: Reading) -> None:
    """Moves padding into the layers that read it, where all of them can do it."""
    outputs = {output.name for output in reading.outputs}
    users = _users(reading)
    gone = set()
    for pad in reading.operations:
        if pad.kind != "select" or pad.name in outputs or not users[pad.name]:
            continue
        settings = pad.settings
        if settings["stride"] != (1, 1) or any(settings["channels"]):
            continue
        if not all(_takes(user, settings) for user in users[pad.name]):
            continue
        for user in users[pad.name]:
            own = user.settings["padding"]
            user.settings["padding"] = tuple(
                x + y for x, y in zip(own, settings["padding"], strict=True)
            )
            user.inputs = [pad.inputs[0] if s == pad.name else s for s in user.inputs]
        gone.add(pad.name)
    reading.operations[:] = [o for o in reading.operations if o.name not in gone]


def _takes(user: Operation, pad: dict) -> bool:
    """Whether padding before ``user`` is the same as more padding of its own."""
    if user.kind == "max_pool":
        if pad["fill"] != -math.inf or user.settings.get("kernel") is None:
            return False
        total = [x + y for x, y in zip(user.settings["padding"], pad["padding"], strict=True)]
        kernel = user.settings["kernel"] * 2
        return all(t < k for t, k in zip(total, kernel, strict=True))
    if pad["fill"] != 0:
        return False
    if user.kind == "avg_pool":
        return user.settings.get("kernel") is not None
    return user.kind == "conv"
