"""Memory that the accelerator cannot address is refused before anything is written."""

from dataclasses import replace

import numpy as np
import pytest

from hw.boards.presets import PRESETS
from hw.compiler import compile_graph
from hw.contract.isa import DESCRIPTOR_BYTES
from hw.contract.registers import IDENTITY, REGISTERS, VERSION
from hw.driver import AcceleratorError, Buffer, BusError, Driver, Pages, memory_bytes
from nbqnn_train.graph import Clip, Graph, Input

GRAPH = Graph(
    nodes=(
        Input(name="x", shape=(1, 2, 2), bits=8, signed=False, exponent=-8),
        Clip(name="y", input="x", low=0, high=100),
    ),
    outputs=("y",),
)


class Registers:
    """A board without memory of its own: buffers lie where the test says."""

    def __init__(self, config, address, *, size=None, values=()):
        self.values = {
            REGISTERS["identity"].offset: IDENTITY,
            REGISTERS["version"].offset: VERSION,
            REGISTERS["digest"].offset: config.digest,
            **dict(values),
        }
        self.address = address
        self.size = size
        self.written = {}
        self.freed = 0

    def read(self, offset):
        return self.values.get(offset, 0)

    def write(self, offset, value):
        assert 0 <= value < 1 << 32
        self.written[offset] = value

    def allocate(self, size):
        made = Buffer(np.zeros(size if self.size is None else self.size, np.uint8), self.address)
        made.free = self.free
        return made

    def free(self):
        self.freed += 1

    def wait(self):
        return True


def program_for(**fields):
    return compile_graph(GRAPH, replace(PRESETS["tiny"], name="addresses", **fields))


@pytest.mark.parametrize("bits", [32, 36, 40, 64])
@pytest.mark.parametrize("ports", [1, 2])
def test_the_highest_address(bits, ports):
    """A buffer may end with the last address; the next page is refused, and given back."""
    program = program_for(axi_address_width=bits, axi_ports=ports)
    size = memory_bytes(program)
    bus = Registers(program.config, (1 << bits) - size)
    Driver(bus, program)
    last = bus.written[REGISTERS["window_last_low"].offset]
    last |= bus.written[REGISTERS["window_last_high"].offset] << 32
    assert last == (1 << bits) - size + size // ports - 1
    assert bus.freed == 0

    for address in ((1 << bits) - size + 4096, 1 << bits, (1 << bits) + (1 << 70)):
        bus = Registers(program.config, address)
        with pytest.raises(
            BusError,
            match=rf"^the bus must give a buffer that ends at {(1 << bits) - 1:#x} or below "
            rf"\(axi_address_width = {bits}\), not {size} bytes at {address:#x}; remedy: ",
        ):
            Driver(bus, program)
        assert (bus.written, bus.freed) == ({}, 1)


@pytest.mark.parametrize(
    ("address", "size", "message"),
    [
        (4097, None, "a buffer at a multiple of 4096, not at 0x1001"),
        (-4096, None, "a buffer that ends at"),
        (4096, 4096, "a buffer of 20480 bytes, not of 4096"),
    ],
)
def test_buffers_that_are_none(address, size, message):
    program = program_for()
    bus = Registers(program.config, address, size=size)
    with pytest.raises(BusError, match=f"^the bus must give {message}"):
        Driver(bus, program)
    assert (bus.written, bus.freed) == ({}, 1)


def test_more_memory_than_there_are_addresses():
    """Refused before anyone is asked for it."""
    program = program_for()
    bus = Registers(program.config, 4096)
    bus.allocate = None
    with pytest.raises(
        BusError, match=r"^the program needs \d+ bytes of memory, more than the acc"
    ):
        Driver(bus, replace(program, scratch_bytes=1 << 32))


def test_programs_longer_than_their_register():
    program = program_for()
    bus = Registers(program.config, 4096)
    long = replace(program, commands=bytes(DESCRIPTOR_BYTES << 16))
    with pytest.raises(
        AcceleratorError, match=r"^register program_length must have 16 bits, not be 0x10000$"
    ):
        Driver(bus, long)
    assert bus.freed == 1


def test_a_busy_accelerator():
    """Another run's memory is not touched: nothing is allocated, nothing written."""
    program = program_for()
    bus = Registers(program.config, 4096, values={REGISTERS["status"].offset: 1}.items())
    bus.allocate = None
    with pytest.raises(AcceleratorError, match=r"^the accelerator must be idle, but is busy"):
        Driver(bus, program)
    assert bus.written == {}


def test_pages():
    """First fit, whole pages, back again; against a set of pages."""
    rng = np.random.default_rng(2)
    pages, taken = Pages(40 * 4096 + 17, "it"), {}
    for _ in range(300):
        if taken and rng.integers(2):
            begin = int(rng.choice(list(taken)))
            pages.give_back(begin)
            del taken[begin]
            continue
        wanted = int(rng.integers(1, 8 * 4096))
        used = set().union(*taken.values()) if taken else set()
        count = -(-wanted // 4096)
        fits = [at for at in range(41 - count) if not used & set(range(at, at + count))]
        if fits:
            begin, end = pages.take(wanted)
            assert (begin, end) == (fits[0] * 4096, (fits[0] + count) * 4096)
            taken[begin] = set(range(fits[0], fits[0] + count))
        else:
            with pytest.raises(BusError, match=f"^it must have {count * 4096} bytes free in one"):
                pages.take(wanted)
