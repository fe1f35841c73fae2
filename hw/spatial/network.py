"""From a graph of dense layers to a circuit that takes a vector and gives one every cycle."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.layer import DenseLayer, DensePlan, Rounding
from hw.spatial.sharing import adder_graph
from nbqnn_train.graph import (
    Flatten,
    Graph,
    Input,
    Linear,
    NbqnnError,
    Requantize,
    TensorType,
    tensor_types,
    validate,
    value_bounds,
)

__all__ = ["DenseNetwork", "NetworkPlan", "SpatialError", "plan_network"]


class SpatialError(NbqnnError):
    """A graph that no circuit can be made of; the message names the layer and the remedy."""


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """A chain of dense layers.

    layers : in order.
    source, result : types of the input's and the output's codes.
    """

    layers: tuple[DensePlan, ...]
    source: TensorType
    result: TensorType

    @property
    def latency(self) -> int:
        """Cycles from an input to its output's registers."""
        return 1 + sum(layer.latency for layer in self.layers)

    @property
    def tables(self) -> int:
        """Look-up tables of all additions, estimated; rounding comes on top."""
        return sum(layer.graph.tables for layer in self.layers)


def plan_network(
    graph: Graph, levels: int, progress: Callable[[str], None] = lambda layer: None
) -> NetworkPlan:
    """The circuit of ``graph``, with ``levels`` additions between registers.

    ``progress`` is called with the name of each layer before its sums are searched.

    Raises :class:`SpatialError` with everything that is not a dense layer.
    """
    validate(graph)
    if levels < 1:
        raise SpatialError(f"additions between registers must be 1 or more, not {levels}")
    types, bounds = tensor_types(graph), value_bounds(graph)
    _check(graph)
    layers = []
    source = graph.input_nodes[0].name
    for node in graph.nodes:
        if isinstance(node, Linear):
            progress(node.name)
            requantize = next(n for n in graph.nodes if node.name in n.inputs)
            layers.append(_layer(node, requantize, types, bounds, len(layers), levels))
    return NetworkPlan(tuple(layers), types[source], types[graph.outputs[0]])


def _check(graph: Graph) -> None:
    refused = [
        f"{node.name} ({type(node).__name__})"
        for node in graph.nodes
        if not isinstance(node, (Input, Linear, Requantize, Flatten))
    ]
    if refused:
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise SpatialError(
            f"a circuit has dense layers (Linear, Requantize) alone, not {', '.join(refused[:5])}"
            f"{more}; remedy: generate an overlay (--preset)"
        )
    if len(graph.input_nodes) != 1 or len(graph.outputs) != 1:
        raise SpatialError(
            f"a circuit has one input and one output, not {len(graph.input_nodes)} and "
            f"{len(graph.outputs)}"
        )
    for before, node in zip(graph.nodes, graph.nodes[1:], strict=False):
        if node.inputs != (before.name,):
            raise SpatialError(f"layer {node.name}: must read the layer before it in a circuit")
        if isinstance(before, Linear) != isinstance(node, Requantize):
            raise SpatialError(
                f"layer {node.name}: a circuit rounds every dense layer once, behind its sums"
            )


def _layer(
    node: Linear,
    requantize: Requantize,
    types: dict[str, TensorType],
    bounds: dict[str, tuple[int, int]],
    number: int,
    levels: int,
) -> DensePlan:
    weight, constants, roundings = [], [], []
    for row, multiplier, bias, shift in zip(
        node.weight, requantize.multiplier, requantize.bias, requantize.shift, strict=True
    ):
        multiplier, shift = int(multiplier), int(shift)
        if multiplier & (multiplier - 1):
            raise SpatialError(
                f"layer {node.name}: multipliers must be powers of two in a circuit, "
                f"not {multiplier}; remedy: quantize in shift mode"
            )
        # floor((sum * 2**p + c) / 2**shift) is floor((sum + floor(c / 2**p)) / 2**(shift - p)).
        left = min(multiplier.bit_length() - 1, shift)
        constant = int(bias) + ((1 << shift) >> 1)
        weight.append(row * (multiplier >> left))
        constants.append(constant >> left)
        roundings.append(Rounding(shift - left, requantize.low, requantize.high))
    low, high = bounds[node.input]
    graph = adder_graph(np.stack(weight), [(low, high)] * node.weight.shape[1], constants)
    name = re.sub(r"\W", "_", node.name)
    return DensePlan(
        name=f"{number}_{name}",
        graph=graph,
        constants=tuple(constants),
        in_bits=types[node.input].bits,
        roundings=tuple(roundings),
        out_bits=requantize.bits,
        levels=levels,
    )


class DenseNetwork(Component):
    """All layers one behind the other: one vector per cycle, latency ``plan.latency`` cycles.

    No backpressure: what comes in goes out.

    Members
    -------
    i : ``In``, the input's codes, feature 0 in the low bits; ``i_valid`` : ``In(1)``
    o : ``Out``, the output's codes; ``o_valid`` : ``Out(1)``
    """

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        source, result = plan.source, plan.result
        super().__init__({
            "i": In(int(np.prod(source.shape)) * source.bits), "i_valid": In(1),
            "o": Out(int(np.prod(result.shape)) * result.bits), "o_valid": Out(1),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return "nbqnn_dense_network"

    def build(self) -> Module:
        m = Module()
        value = Signal(len(self.i), reset_less=True)
        m.d.sync += value.eq(self.i)
        for number, plan in enumerate(self.plan.layers):
            m.submodules[f"layer_{number}"] = layer = DenseLayer(plan)
            m.d.comb += layer.i.eq(value)
            value = layer.o
        valid = Signal(self.plan.latency)
        m.d.sync += valid.eq((valid << 1) | self.i_valid)
        m.d.comb += [self.o.eq(value), self.o_valid.eq(valid[-1])]
        return m
