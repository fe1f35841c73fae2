"""How much of the host's memory a program may ask for: what its graph's tensors justify."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hw.contract.config import AcceleratorConfig
from hw.contract.words import TensorLayout
from nbqnn_train.graph import TensorType

if TYPE_CHECKING:
    from hw.contract.program import Port

__all__ = ["check_extents"]

_PAGE = 4096


def check_extents(
    config: AcceleratorConfig,
    types: Mapping[str, TensorType],
    batch: int,
    regions: Mapping[str, Iterable["Port"]],
    scratch_bytes: int,
) -> None:
    """:exc:`ValueError` for tensors far from each other, or scratch that no tensors need.

    regions : ports by ``inputs``, ``outputs`` and ``traced``; the last are in the scratch region.
    types : of all tensors of the graph, one image each.
    """
    for region in ("inputs", "outputs"):
        ports = list(regions[region])
        most = sum(_whole_pages(config, port.layout) for port in ports)
        for port in ports:
            end = port.offset + port.layout.host_bytes(config)
            if end > most:
                raise ValueError(f"port {port.name!r} must end within {most} bytes, not at {end}")
    # Each tensor once for the next layer, and once to be looked at.
    most = 2 * sum(_whole_pages(config, _layout(type_, batch)) for type_ in types.values())
    if scratch_bytes > most:
        raise ValueError(f"scratch_bytes must be at most {most}, not {scratch_bytes}")
    for port in regions["traced"]:
        end = port.offset + port.layout.host_bytes(config)
        if end > scratch_bytes:
            raise ValueError(
                f"port {port.name!r} must end within {scratch_bytes} bytes of scratch, not at {end}"
            )


def _layout(type_: TensorType, batch: int) -> TensorLayout:
    channels, height, width = (*type_.shape, 1, 1)[:3]
    return TensorLayout(
        channels=channels, height=batch * height, width=width, pitch=width, offset=0
    )


def _whole_pages(config: AcceleratorConfig, layout: TensorLayout) -> int:
    align = _PAGE * config.axi_ports
    return -(-layout.host_bytes(config) // align) * align
