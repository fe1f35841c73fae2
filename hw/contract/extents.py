"""How much of the host's memory a program may ask for, and that its commands stay within it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hw.contract.config import AcceleratorConfig
from hw.contract.isa import Command, Load, Memory, Region, Store
from hw.contract.words import TensorLayout, word_beats
from nbqnn_train.graph import TensorType

if TYPE_CHECKING:
    from hw.contract.program import Port

__all__ = ["check_extents", "check_transfers"]

_PAGE = 4096


def check_extents(
    config: AcceleratorConfig,
    types: Mapping[str, TensorType],
    batch: int,
    regions: Mapping[str, Iterable["Port"]],
    scratch_bytes: int,
) -> None:
    """Raises :exc:`ValueError` if tensors lie too far apart or the scratch region is too large.

    regions : ports under ``inputs``, ``outputs`` and ``traced``; these lie in the scratch region.
    types : types of all tensors of the graph, for one image.
    """
    for region in ("inputs", "outputs"):
        ports = list(regions[region])
        most = sum(_whole_pages(config, port.layout) for port in ports)
        for port in ports:
            end = port.offset + port.layout.host_bytes(config)
            if end > most:
                raise ValueError(f"port {port.name!r} must end within {most} bytes, not at {end}")
    # Each tensor may lie there twice: for the next layer, and traced.
    most = 2 * sum(_whole_pages(config, _layout(type_, batch)) for type_ in types.values())
    if scratch_bytes > most:
        raise ValueError(f"scratch_bytes must be at most {most}, not {scratch_bytes}")
    for port in regions["traced"]:
        end = port.offset + port.layout.host_bytes(config)
        if end > scratch_bytes:
            raise ValueError(
                f"port {port.name!r} must end within {scratch_bytes} bytes of scratch, not at {end}"
            )


def check_transfers(
    config: AcceleratorConfig, commands: Sequence[Command], sizes: Mapping[Region, int]
) -> None:
    """Raises :exc:`ValueError` if a command loads or stores beyond the end of its region.

    sizes : bytes of each region, in all ports' memory together.
    """
    for number, command in enumerate(commands):
        if not isinstance(command, Load | Store):
            continue
        word = word_beats(config, Memory(command.memory)) * config.axi_beat_bits // 8
        last = command.offset + max(command.rows - 1, 0) * command.offset_stride
        end = last * config.axi_ports + command.words * word
        region = Region(command.region)
        if end > sizes[region]:
            raise ValueError(
                f"command {number} must end within the {sizes[region]} bytes of region "
                f"{region.name}, not at {end}"
            )


def _layout(type_: TensorType, batch: int) -> TensorLayout:
    channels, height, width = (*type_.shape, 1, 1)[:3]
    return TensorLayout(
        channels=channels, height=batch * height, width=width, pitch=width, offset=0
    )


def _whole_pages(config: AcceleratorConfig, layout: TensorLayout) -> int:
    align = _PAGE * config.axi_ports
    return -(-layout.host_bytes(config) // align) * align
