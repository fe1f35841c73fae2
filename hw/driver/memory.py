"""The memory of one program: one buffer that holds all regions, in a stripe for each AXI port."""

import numpy as np

from hw.contract.isa import PAGE_BYTES, Region
from hw.contract.program import Program
from hw.driver.bus import Buffer, Bus, BusError

__all__ = ["ProgramMemory", "memory_bytes"]


def memory_bytes(program: Program) -> int:
    """Bytes that :class:`ProgramMemory` allocates from a bus."""
    return program.config.axi_ports * sum(length for _, length in _places(program).values())


def _places(program: Program) -> dict[Region, tuple[int, int]]:
    """Begin and length of each region in a port's stripe, in bytes; multiples of a page."""
    page = program.config.axi_ports * PAGE_BYTES
    places, start = {}, 0
    for region, size in program.region_bytes.items():
        length = -(-max(size, 1) // page) * PAGE_BYTES
        places[region] = start, length
        start += length
    return places


def _check_buffer(buffer: Buffer, size: int, address_bits: int) -> None:
    if len(buffer.array) < size:
        raise BusError(f"the bus must give a buffer of {size} bytes, not of {len(buffer.array)}")
    if buffer.address % PAGE_BYTES:
        raise BusError(
            f"the bus must give a buffer at a multiple of {PAGE_BYTES}, not at {buffer.address:#x}"
        )
    if not 0 <= buffer.address <= (1 << address_bits) - size:
        raise BusError(
            f"the bus must give a buffer that ends at {(1 << address_bits) - 1:#x} or below "
            f"(axi_address_width = {address_bits}), "
            f"not {size} bytes at {buffer.address:#x}; remedy: memory at lower addresses, or a "
            "configuration with more address bits"
        )


class ProgramMemory:
    """The regions of one program, in one buffer of the bus.

    A region's bytes are dealt out to the ports in turn, ``axi_data_width // 8`` at a time, as the
    accelerator's beats are. With one port a region is contiguous.

    Parameters
    ----------
    bus : Bus
        Gives the buffer.
    program : Program
        Says how large the regions are; they are rounded up to pages of every port.

    Raises
    ------
    BusError
        The buffer is too small, does not begin at a page, or does not end within the addresses of
        the accelerator (``axi_address_width`` bits). It is given back.

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
        if size > 1 << program.config.axi_address_width:
            raise BusError(
                f"the program needs {size} bytes of memory, more than the accelerator's addresses "
                f"reach (axi_address_width = {program.config.axi_address_width})"
            )
        self._step = program.config.axi_data_width // 8
        self._places = _places(program)
        self.stripe = size // ports
        self._buffer = bus.allocate(size)
        try:
            _check_buffer(self._buffer, size, program.config.axi_address_width)
        except BusError:
            self._buffer.free()
            raise
        self.first = self._buffer.address
        self.bases = {region: self.first + start for region, (start, _) in self._places.items()}
        self._stripes = self._buffer.array[:size].reshape(ports, self.stripe)

    @property
    def last(self) -> int:
        """The last address of the first stripe."""
        return self.first + self.stripe - 1

    def free(self) -> None:
        """Gives the buffer back to the bus; the accelerator must be idle."""
        self._buffer.free()

    def write(self, region: Region, content: bytes | np.ndarray, offset: int = 0) -> None:
        """Fills a region from ``offset``, a multiple of a beat. Zeros complete the last beat."""
        content = np.frombuffer(content, np.uint8)
        size = -(-len(content) // self._beat) * self._beat
        whole = np.zeros(size, np.uint8)
        whole[: len(content)] = content
        begin, end = self._range(region, offset, size)
        beats = whole.reshape(-1, len(self._stripes), self._step).transpose(1, 0, 2)
        self._stripes[:, begin:end] = beats.reshape(len(self._stripes), -1)
        for port in range(len(self._stripes)):
            self._buffer.to_device(port * self.stripe + begin, end - begin)

    def read(self, region: Region, offset: int, size: int) -> np.ndarray:
        """A copy, uint8 (size,). ``offset`` and ``size`` are multiples of a beat of all ports."""
        begin, end = self._range(region, offset, size)
        for port in range(len(self._stripes)):
            self._buffer.from_device(port * self.stripe + begin, end - begin)
        beats = self._stripes[:, begin:end].reshape(len(self._stripes), -1, self._step)
        return beats.transpose(1, 0, 2).flatten()

    @property
    def _beat(self) -> int:
        return len(self._stripes) * self._step

    def _range(self, region: Region, offset: int, size: int) -> tuple[int, int]:
        """Begin and end of a part of a region, in every stripe."""
        ports = len(self._stripes)
        start, length = self._places[region]
        if offset % self._beat or size % self._beat or offset + size > ports * length:
            raise ValueError(
                f"Bytes of region {region.name} must be whole beats in {ports * length}, "
                f"not {size} from {offset}"
            )
        return start + offset // ports, start + (offset + size) // ports
