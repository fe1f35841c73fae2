"""Sums of more than two tensors: on the array, from tensors that were joined before."""

import numpy as np

from hw.compiler.constants import identity_params, requantize_params
from hw.compiler.errors import CompileError
from hw.compiler.layer import Layer
from hw.compiler.lower.context import Context
from hw.contract.isa import Unit
from nbqnn_train.graph import Add, Requantize
from nbqnn_train.graph.operators import Sum

__all__ = ["sum_of_many"]


def sum_of_many(
    context: Context,
    node: Add | Sum,
    requantize: Requantize,
    factors: dict[str, int],
    constant: np.ndarray,
) -> Layer:
    """The layer that adds tensors times ``factors`` and ``constant`` (C,).

    The array takes two tensors: all but the last one are joined before, as they are stored. So
    every channel of the joined tensor has the offset that its operand had.

    Raises :class:`CompileError` for factors that are no weights, or sums that do not fit.
    """
    config = context.config
    largest = 1 << config.weight_magnitude_bits - 1
    for name, factor in factors.items():
        if abs(factor) & (abs(factor) - 1) or abs(factor) > largest:
            raise CompileError(
                f"layer {node.name}: a sum of {len(factors)} tensors takes each times a power of "
                f"two up to {largest}, not {name} times {factor}"
            )
    sources = [context.memory_of(name) for name in factors]
    channels = context.shapes[requantize.name][0]
    joined = sources[0]
    for position, source in enumerate(sources[1:-1], start=2):
        joined = _join(context, f"{node.name}.{position}", joined, source)
    own = np.arange(channels)
    weight = np.zeros((channels, (len(sources) - 1) * channels, 2, 1), np.int64)
    for operand, factor in enumerate(factors.values()):
        last = operand + 1 == len(sources)
        weight[own, own if last else operand * channels + own, int(last)] = factor
    correction, low, high = _range(context, factors)
    limit = 1 << config.acc_bits - 1
    if high >= limit or low < -limit:
        bits = max(high, -low - 1).bit_length() + 1
        raise CompileError(
            f"layer {node.name}: sums up to {max(high, -low)} need {bits} accumulator bits, more "
            f"than acc_bits = {config.acc_bits} of the configuration"
        )
    out_offset = context.offsets[requantize.name]
    return Layer(
        name=node.name,
        sources=(joined, sources[-1]),
        target=requantize.name,
        unit=Unit.ARRAY,
        weight=weight,
        kernel=(2, 1),
        params=requantize_params(
            config,
            node.name,
            requantize,
            correction + constant,
            np.full(channels, low),
            np.full(channels, high),
            out_offset,
        ),
        low=requantize.low - out_offset,
        high=requantize.high - out_offset,
        pad=0,
        out_shape=context.shapes[requantize.name],
    )


def _join(context: Context, target: str, joined: str, source: str) -> str:
    """Adds a layer that puts a tensor's channels behind those of another, as they are stored."""
    config = context.config
    first, second = context.shapes[joined][0], context.shapes[source][0]
    shape = (first + second, *context.shapes[joined][1:])
    weight = np.zeros((shape[0], max(first, second), 2, 1), np.int64)
    weight[np.arange(first), np.arange(first), 0] = 1
    weight[first + np.arange(second), np.arange(second), 1] = 1
    context.shapes[target], context.offsets[target] = shape, 0
    half = 1 << config.act_bits - 1
    context.layers.append(
        Layer(
            name=target,
            sources=(joined, source),
            target=target,
            unit=Unit.ARRAY,
            weight=weight,
            kernel=(2, 1),
            params=identity_params(config, config.post_lanes),
            shared_params=True,
            low=-half,
            high=half - 1,
            pad=0,
            out_shape=shape,
        )
    )
    return target


def _range(context: Context, factors: dict[str, int]) -> tuple[int, int, int]:
    """What the array's sums lack, and their smallest and largest value."""
    correction = low = high = 0
    for name, factor in factors.items():
        type_, offset = context.types[name], context.offset_of(name)
        inverted = int(factor < 0 and context.config.pe == "shift")
        ends = sorted(factor * (code - offset) for code in (type_.low, type_.high))
        correction += factor * offset + inverted
        low, high = low + ends[0] - inverted, high + ends[1] - inverted
    return correction, low, high
