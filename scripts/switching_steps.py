"""What a processing element takes while a trained network computes its layers on real images."""

from dataclasses import replace

import numpy as np

from nbqnn_train.graph import (
    Add,
    AvgPool2d,
    Clip,
    Conv2d,
    Graph,
    Input,
    Linear,
    NbqnnError,
    Requantize,
    tensor_types,
)
from nbqnn_train.graph.interpreter import run
from sim.switching.elements import Steps

__all__ = ["finer", "full_precision", "layer_steps", "without_zeros"]

#: Outputs of a filter that are taken, one after the other.
_OUTPUTS = 40


def finer(graph: Graph, bits: int) -> Graph:
    """The same network with activations that have so many bits more, all below the point.

    Weights stay as they are. What was computed in steps of one is computed in steps of
    ``2**-bits``.
    """
    grown = []
    for node in graph.nodes:
        if isinstance(node, Input):
            node = replace(node, bits=node.bits + bits, exponent=node.exponent - bits)
        elif isinstance(node, Requantize):
            node = replace(
                node,
                bits=node.bits + bits,
                exponent=node.exponent - bits,
                bias=node.bias << bits,
                low=node.low << bits,
                high=(node.high + 1 << bits) - 1,
            )
        elif isinstance(node, Clip):
            node = replace(node, low=node.low << bits, high=(node.high + 1 << bits) - 1)
        elif isinstance(node, (Conv2d, Linear, Add, AvgPool2d)):
            node = replace(node, acc_bits=node.acc_bits + bits)
        grown.append(node)
    return replace(graph, nodes=tuple(grown))


def layer_steps(
    graph: Graph, images: np.ndarray, lanes: int, pixels: int, filters: int, seed: int
) -> tuple[Steps, tuple[tuple[str, int], ...]]:
    """Steps of one element, of all convolutions of unsigned activations that fill its lanes.

    Those with narrower weights than others, such as shortcuts that only move, are left out.

    As in the accelerator: the element has every ``pixels``-th position in row-major order, and the
    steps of an output are in the order channel group, kernel row, kernel column. Padding is the
    code 0. An activation is stored less half its range.

    Parameters
    ----------
    images : in the network's units, with the batch in front.
    filters : filters of each layer and image, drawn by chance.

    Returns
    -------
    tuple
        The steps, and for each output its layer and its filter.
    """
    types = tensor_types(graph)
    bits = max(node.weight_bits for node in graph.nodes if isinstance(node, Conv2d))
    chosen = [
        node
        for node in graph.nodes
        if isinstance(node, Conv2d)
        and (node.groups, node.weight.shape[1] % lanes) == (1, 0)
        and not types[node.input].signed
        and node.weight_bits == bits
    ]
    if not chosen:
        raise NbqnnError(
            f"network must have a convolution of unsigned activations whose channels fill {lanes} "
            "lanes"
        )
    traced = run(graph, images, trace=True)
    drawn = np.random.default_rng(seed)
    acts, weights, places = [], [], []
    for node in chosen:
        offset = 1 << (types[node.input].bits - 1)
        for codes in traced[node.input]:
            windows = _windows(node, codes - offset, -offset)
            count = min(_OUTPUTS, -(-len(windows) // pixels))
            first = int(drawn.integers(len(windows) - (count - 1) * pixels))
            own = windows[first::pixels][:count]
            for filter_ in drawn.choice(len(node.weight), min(filters, len(node.weight)), False):
                channels = node.weight.shape[1]
                factors = node.weight[filter_].reshape(channels // lanes, lanes, -1)
                factors = factors.transpose(0, 2, 1).reshape(-1, lanes)
                acts.append(_in_lanes(own, lanes))
                weights.append(np.tile(factors, (len(own), 1)))
                places += [(node.name, int(filter_), len(factors))] * len(own)
    last = np.zeros(sum(len(part) for part in acts), bool)
    last[np.cumsum([steps for _, _, steps in places]) - 1] = True
    steps = Steps(act=np.concatenate(acts), weight=np.concatenate(weights), last=last)
    return steps, tuple((name, filter_) for name, filter_, _ in places)


def _windows(node: Conv2d, stored: np.ndarray, zero: int) -> np.ndarray:
    """(outputs, channels, kernel rows * kernel columns) of stored codes (C, H, W)."""
    top, left, bottom, right = node.padding
    padded = np.pad(stored, ((0, 0), (top, bottom), (left, right)), constant_values=zero)
    rows, columns = (
        (size - 1) * d + 1 for size, d in zip(node.weight.shape[2:], node.dilation, strict=True)
    )
    views = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(1, 2))
    views = views[:, :: node.stride[0], :: node.stride[1], :: node.dilation[0], :: node.dilation[1]]
    channels, height, width = views.shape[:3]
    return views.reshape(channels, height * width, -1).transpose(1, 0, 2)


def _in_lanes(windows: np.ndarray, lanes: int) -> np.ndarray:
    """(outputs, channels, taps) -> (steps, lanes)."""
    outputs, channels, taps = windows.shape
    words = windows.reshape(outputs, channels // lanes, lanes, taps)
    return words.transpose(0, 1, 3, 2).reshape(-1, lanes)


def without_zeros(steps: Steps, zero: int, *, weights: bool, acts: bool, seed: int) -> Steps:
    """The same steps without zeros: a weight of 0 becomes 1 or -1, an activation one of the others.

    zero : the stored code of an activation of 0.
    """
    drawn = np.random.default_rng(seed)
    act, weight = steps.act.copy(), steps.weight.copy()
    if weights:
        empty = weight == 0
        weight[empty] = drawn.choice((-1, 1), int(empty.sum()))
    if acts:
        empty = act == zero
        act[empty] = drawn.choice(act[~empty], int(empty.sum()))
    return replace(steps, act=act, weight=weight)


def full_precision(
    steps: Steps, places: tuple[tuple[str, int], ...], tensors: dict[str, np.ndarray], bits: int
) -> Steps:
    """The same activations with weights of full precision, rounded to ``bits``.

    tensors : name -> weights, of a network in full precision. Each filter has a scale with which
        its largest weight is the largest number of so many bits.
    """
    lanes = steps.act.shape[1]
    named = {name.removesuffix(".weight").replace(".", "_"): of for name, of in tensors.items()}
    ends = np.flatnonzero(steps.last) + 1
    weight = np.empty_like(steps.weight)
    for (name, filter_), begin, end in zip(places, (0, *ends[:-1]), ends, strict=True):
        if name not in named:
            raise NbqnnError(f"weights must have one for layer {name}, but have none")
        real = named[name][filter_].astype(np.float64)
        rounded = np.rint(real * (((1 << bits - 1) - 1) / np.abs(real).max())).astype(np.int64)
        rounded = rounded.reshape(len(rounded) // lanes, lanes, -1).transpose(0, 2, 1)
        weight[begin:end] = rounded.reshape(-1, lanes)
    return replace(steps, weight=weight)
