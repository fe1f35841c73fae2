"""Proves before a training that no accumulator can become too wide for the graph."""

from nbqnn_train.graph.limits import ACC_BITS
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.reading.refusals import NetworkRefused, Refusal
from nbqnn_train.quant.weighted import WeightedLayer

__all__ = ["check_widths"]


def check_widths(network: QuantNetwork, name: str) -> None:
    """Raises :class:`NetworkRefused` with the layers whose sums might need more than 48 bits,
    whatever weights and formats are learned.

    name : of the module, for the message.
    """
    holders: dict[str, str] = {}
    by_name = {operation.name: operation for operation in network.reading.operations}
    refused = []
    for step in network.steps:
        keeps = network.quantizer(step.name) is None
        holders[step.name] = holders[step.inputs[0]] if keeps else step.name
        op = network.ops[step.name]
        if not isinstance(op, WeightedLayer):
            continue
        bits = network.quantizer(holders[step.inputs[0]]).bits
        # A sign, and the sum of the largest magnitudes of weights and of codes without a sign.
        width = 1 + (op.largest_sum() << bits).bit_length()
        if width <= ACC_BITS[1]:
            continue
        operation = by_name[step.name]
        refused.append(
            Refusal(
                "width",
                operation.path,
                operation.source,
                operation.operation,
                f"sums of products of {op.bits}-bit weights and {bits}-bit activations could take "
                f"{width} bits; at most {ACC_BITS[1]} are allowed",
                "give weights or activations fewer bits",
            )
        )
    if refused:
        raise NetworkRefused(name, refused)
