"""What a graph needs of any configuration: widths, the kind of requantizer, tables, products."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from hw.compiler.errors import CompileError
from hw.compiler.lower import lower
from hw.contract.config import AcceleratorConfig
from nbqnn_train.graph import Conv2d, Graph, Linear, tensor_types

__all__ = ["base_config"]

_MOST_ACC_BITS, _LEAST_ACC_BITS = 48, 8


def base_config(
    graph: Graph, pe: str, clock_mhz: int, *, data_width: int = 128, address_width: int = 40
) -> AcceleratorConfig:
    """A configuration with the narrowest widths for ``graph``; its sizes are placeholders.

    It has multipliers behind the array, tables and products only where the graph needs them.

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
        axi_data_width=data_width,
        axi_address_width=address_width,
        pe=pe,
        clock_mhz=clock_mhz,
    )
    units = list(_with_units(config))
    config = next((one for one in units if _runs(graph, one)), units[-1])
    # Any error of the configuration that has everything goes to the user.
    lower(graph, config)
    low, high = max(_LEAST_ACC_BITS, config.product_bits), _MOST_ACC_BITS
    while low < high:
        middle = (low + high) // 2
        if _runs(graph, replace(config, acc_bits=middle)):
            high = middle
        else:
            low = middle + 1
    return replace(config, acc_bits=high)


def _with_units(config: AcceleratorConfig) -> Iterator[AcceleratorConfig]:
    """The configuration with ever more of what is optional."""
    no_yes = (False, True)
    for requant, tables, products in product(("shift", "scale"), no_yes, no_yes):
        yield replace(config, requant=requant, tables=tables, products=products)


def _runs(graph: Graph, config: AcceleratorConfig) -> bool:
    try:
        lower(graph, config)
    except CompileError:
        return False
    return True
