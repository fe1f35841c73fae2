"""What a graph needs of any configuration: widths and the kind of requantizer."""

from dataclasses import replace

from hw.compiler.errors import CompileError
from hw.compiler.lower import lower
from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import Conv2d, Graph, Linear, tensor_types

__all__ = ["base_config"]

_MOST_ACC_BITS, _LEAST_ACC_BITS = 48, 8


def base_config(graph: Graph, pe: str, clock_mhz: int) -> AcceleratorConfig:
    """A configuration with the narrowest widths for ``graph``; its sizes are placeholders.

    Raises :class:`CompileError` for a graph that no accelerator computes, :exc:`ConfigError` for
    widths that no accelerator has.
    """
    types = tensor_types(graph).values()
    weighted = [node for node in graph.nodes if isinstance(node, (Conv2d, Linear))]
    config = AcceleratorConfig(
        name="base",
        lanes=16,
        filters=16,
        pixels=1,
        post_lanes=16,
        act_bits=max(2, *(type_.bits for type_ in types if not type_.is_accumulator)),
        weight_bits=max((node.weight_bits for node in weighted), default=3),
        acc_bits=_MOST_ACC_BITS,
        axi_data_width=128,
        pe=pe,
        clock_mhz=clock_mhz,
    )
    if not _runs(graph, config):
        config = replace(config, requant="scale")
        # Any other error of this configuration goes to the user.
        lower(graph, config)
    low, high = max(_LEAST_ACC_BITS, config.product_bits), _MOST_ACC_BITS
    while low < high:
        middle = (low + high) // 2
        if _runs(graph, replace(config, acc_bits=middle)):
            high = middle
        else:
            low = middle + 1
    return replace(config, acc_bits=high)


def _runs(graph: Graph, config: AcceleratorConfig) -> bool:
    try:
        lower(graph, config)
    except CompileError:
        return False
    return True
