"""The memory of one program: all regions in one block, cut into a stripe for each AXI port."""

import numpy as np

from hw.contract.isa import Region
from hw.contract.program import Port, Program
from hw.driver.bus import PAGE_BYTES, Bus

__all__ = ["ProgramMemory", "memory_bytes"]


def memory_bytes(program: Program) -> int:
    """Bytes of memory that :class:`ProgramMemory` asks a bus for."""
    return program.config.axi_ports * sum(length for _, length in _places(program).values())


def _places(program: Program) -> dict[Region, tuple[int, int]]:
    """Where each region begins in a port's stripe and how long it is there; whole pages."""
    config = program.config

    def extent(ports: tuple[Port, ...]) -> int:
        return max((port.offset + port.layout.host_bytes(config) for port in ports), default=0)

    sizes = {
        Region.PROGRAM: len(program.commands),
        Region.PARAMETERS: len(program.parameters),
        Region.INPUT: extent((program.input,)),
        Region.OUTPUT: extent(program.outputs),
        Region.SCRATCH: program.scratch_bytes,
    }
    places, start = {}, 0
    for region, size in sizes.items():
        length = -(-max(size, 1) // (config.axi_ports * PAGE_BYTES)) * PAGE_BYTES
        places[region] = start, length
        start += length
    return places


class ProgramMemory:
    """Regions of bytes as the program numbers them, wherever they lie.

    A region's bytes go through the ports in turn, ``axi_data_width // 8`` at a time: that is how
    the accelerator cuts its beats. With one port a region is contiguous.

    Parameters
    ----------
    bus : Bus
        Gives the block.
    program : Program
        Says how large the regions are; they are rounded up to pages of every port.

    Attributes
    ----------
    bases : dict of Region to int
        Addresses of the regions, in the first port's stripe.
    first : int
        Address of the first stripe.
    stripe : int
        Bytes of each stripe, a multiple of 4096.
    """

    def __init__(self, bus: Bus, program: Program):
        ports = program.config.axi_ports
        size = memory_bytes(program)
        self._step = program.config.axi_data_width // 8
        self._places = _places(program)
        self.stripe = size // ports
        self._block = bus.allocate(size)
        self.first = self._block.address
        self.bases = {region: self.first + start for region, (start, _) in self._places.items()}
        self._stripes = self._block.array[:size].reshape(ports, self.stripe)

    @property
    def last(self) -> int:
        """The last address of the first stripe."""
        return self.first + self.stripe - 1

    def write(self, region: Region, content: bytes | np.ndarray) -> None:
        """Fills a region from its beginning; zeros complete the last beat."""
        content = np.frombuffer(content, np.uint8)
        size = -(-len(content) // self._beat) * self._beat
        whole = np.zeros(size, np.uint8)
        whole[: len(content)] = content
        begin, end = self._range(region, 0, size)
        beats = whole.reshape(-1, len(self._stripes), self._step).transpose(1, 0, 2)
        self._stripes[:, begin:end] = beats.reshape(len(self._stripes), -1)
        for port in range(len(self._stripes)):
            self._block.to_device(port * self.stripe + begin, end - begin)

    def read(self, region: Region, offset: int, size: int) -> np.ndarray:
        """uint8 (size,), a copy; ``offset`` and ``size`` are multiples of a beat of all ports."""
        begin, end = self._range(region, offset, size)
        for port in range(len(self._stripes)):
            self._block.from_device(port * self.stripe + begin, end - begin)
        beats = self._stripes[:, begin:end].reshape(len(self._stripes), -1, self._step)
        return beats.transpose(1, 0, 2).flatten()

    @property
    def _beat(self) -> int:
        return len(self._stripes) * self._step

    def _range(self, region: Region, offset: int, size: int) -> tuple[int, int]:
        """Begin and end, in every stripe, of some of a region's bytes."""
        ports = len(self._stripes)
        start, length = self._places[region]
        if offset % self._beat or size % self._beat or offset + size > ports * length:
            raise ValueError(
                f"Bytes of region {region.name} must be whole beats in {ports * length}, "
                f"not {size} from {offset}"
            )
        return start + offset // ports, start + (offset + size) // ports
