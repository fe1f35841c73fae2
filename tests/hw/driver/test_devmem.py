"""Registers and memory through a file in the place of /dev/mem; waiting."""

import errno
import os
import resource
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hw.contract.registers import REGISTERS
from hw.driver import BusError, DevMemBus, PolledInterrupt, UioInterrupt
from hw.driver.barrier import memory_barrier

REGISTERS_AT, MEMORY_AT, MEMORY_BYTES = 0x2000, 0x8000, 0x4000


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "mem"
    path.write_bytes(bytes(range(256)) * 256)
    return path


def bus(device, **options):
    return DevMemBus(
        registers=REGISTERS_AT,
        memory=MEMORY_AT,
        memory_bytes=MEMORY_BYTES,
        device=device,
        **options,
    )


def test_registers_and_memory(device):
    opened = bus(device)
    assert opened.read(0x10) == 0x13121110
    opened.write(0x14, 0xDEADBEEF)
    first, second = opened.allocate(5000), opened.allocate(1)
    assert (first.address, second.address) == (MEMORY_AT, MEMORY_AT + 0x2000)
    assert (first.array.size, second.array.size) == (0x2000, 0x1000)
    assert not first.array.any()
    second.array[:4] = [1, 2, 3, 4]
    second.to_device(0, 4)
    second.from_device(0, 4)
    content = np.frombuffer(device.read_bytes(), np.uint8)
    assert content[REGISTERS_AT + 0x14 :][:4].tobytes() == struct.pack("<I", 0xDEADBEEF)
    assert content[MEMORY_AT + 0x2000 :][:4].tolist() == [1, 2, 3, 4]
    message = (
        "^the reserved memory must have 8192 bytes free in one piece, but has 4096 of 16384 free; "
        "remedy: close drivers that are not in use, or more memory$"
    )
    with pytest.raises(BusError, match=message):
        opened.allocate(0x2000)
    first.free()
    again = opened.allocate(0x1800)
    assert again.address == MEMORY_AT
    # What was freed is another buffer's now.
    first.free()
    assert opened.allocate(1).address == MEMORY_AT + 0x3000


def test_memory_that_another_process_has(device):
    """It is refused until that process ends; other bytes of the device are not."""
    holder = (
        "from hw.driver import DevMemBus; import sys; "
        f"bus = DevMemBus(registers={REGISTERS_AT}, memory={MEMORY_AT - 0x2000}, "
        f"memory_bytes=0x3000, device={str(device)!r}); print('mapped', flush=True); "
        "sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"mapped\n"
        where = f"memory '{device}' cannot be mapped at {REGISTERS_AT:#x}, 4096 bytes: another "
        with pytest.raises(BusError, match=f"^{where}program has mapped some of it, or .*remedy"):
            bus(device)
        with pytest.raises(BusError, match=f"at {MEMORY_AT:#x}, 16384 bytes: another program"):
            DevMemBus(registers=0, memory=MEMORY_AT, memory_bytes=MEMORY_BYTES, device=device)
        beside = DevMemBus(registers=0, memory=MEMORY_AT + 0x1000, memory_bytes=1, device=device)
        assert beside.read(0) == 0x03020100
        del beside
    finally:
        other.communicate(timeout=60)
    bus(device)


def test_two_buses_of_one_process_over_the_same_memory(device):
    """They never hand out the same page, and let go of the memory when both are gone."""
    first, second = bus(device), bus(device)
    ours, theirs = first.allocate(1), second.allocate(1)
    assert (ours.address, theirs.address) == (MEMORY_AT, MEMORY_AT + 0x1000)
    message = "at 0x8000, 4096 bytes: .* or this one has with other bounds"
    with pytest.raises(BusError, match=message):
        DevMemBus(registers=REGISTERS_AT, memory=MEMORY_AT, memory_bytes=0x1000, device=device)
    ours.free()
    assert second.allocate(1).address == MEMORY_AT
    del first, second, ours, theirs
    DevMemBus(registers=REGISTERS_AT, memory=MEMORY_AT, memory_bytes=0x1000, device=device)


def test_a_barrier_before_and_after_every_run(device, monkeypatch):
    """Stores reach memory before the store that starts; results are loaded after the wait."""
    order = []
    opened = bus(device)
    barrier = opened._barrier
    monkeypatch.setattr(opened, "_barrier", lambda: (order.append("barrier"), barrier()))
    buffer = opened.allocate(100)
    order.append("input")
    buffer.to_device(0, 100)
    order.append("result")
    buffer.from_device(0, 100)
    assert order == ["barrier", "input", "barrier", "result", "barrier"]
    monkeypatch.setattr("platform.machine", lambda: "m68k")
    memory_barrier.cache_clear()
    with pytest.raises(BusError, match=r"^the processor must be one of .*, not 'm68k'$"):
        memory_barrier()


def test_devices_that_cannot_be_used(device, tmp_path):
    with pytest.raises(BusError, match=r"^memory '.*none' cannot be opened: No such file"):
        bus(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"")
    with pytest.raises(
        BusError, match=r"^memory '.*short' cannot be mapped at 0x2000, 4096 bytes:"
    ):
        bus(tmp_path / "short")


def test_no_memory(device):
    with pytest.raises(BusError, match=r"^the reserved memory must have 1 byte or more, not 0$"):
        DevMemBus(registers=REGISTERS_AT, memory=MEMORY_AT, memory_bytes=0, device=device)


def test_polling(device):
    """Ends with the interrupt, and without one at the limit."""
    opened = bus(device, time_limit_s=0.02)
    status = REGISTERS["irq_status"].offset
    opened.write(status, 0)
    began = time.monotonic()
    assert not opened.wait()
    assert 0.02 <= time.monotonic() - began < 5
    threading.Timer(0.05, lambda: opened.write(status, 1)).start()
    assert PolledInterrupt(opened.read).wait(20.0)


def test_uio(tmp_path, monkeypatch):
    """A pipe in the place of the device: 1 is written, then four bytes are waited for."""
    path = tmp_path / "uio0"
    os.mkfifo(path)
    interrupt = UioInterrupt(path)
    written = []
    monkeypatch.setattr(os, "write", lambda file, content: written.append(content))
    assert not interrupt.wait(0.01)
    monkeypatch.undo()
    other = os.open(path, os.O_RDWR)
    monkeypatch.setattr(os, "write", lambda file, content: written.append(content))
    path_writer = threading.Timer(0.05, lambda: os.writev(other, [struct.pack("=I", 3)]))
    path_writer.start()
    assert interrupt.wait(20.0)
    # It was taken: the next wait is for another one.
    assert not interrupt.wait(0.01)
    assert written == [struct.pack("=I", 1)] * 3
    # One that came after a wait in vain is not taken for the next one.
    os.writev(other, [struct.pack("=II", 4, 5)])
    assert not interrupt.wait(0.01)
    monkeypatch.undo()
    os.close(other)
    interrupt.close()
    with pytest.raises(BusError, match=r"^interrupt '.*none' cannot be opened: No such file"):
        UioInterrupt(tmp_path / "none")


def test_uio_with_many_open_files(tmp_path):
    """More than a thousand: select() would refuse them."""
    path = tmp_path / "uio0"
    os.mkfifo(path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, limits[1]), limits[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        interrupt = UioInterrupt(path)
        files.append(interrupt._file)
        assert interrupt._file > 1023
        # The pipe gives back what was written to it.
        assert interrupt.wait(0.01)
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_devices_that_are_not_uio(tmp_path, monkeypatch):
    """A file always seems to have something to read."""
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(BusError, match=r"^interrupt '.*file' must be a UIO device, but is not$"):
        UioInterrupt(file).wait(20.0)
    os.mkfifo(tmp_path / "uio0")
    interrupt = UioInterrupt(tmp_path / "uio0")

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(BusError, match=r"must let interrupts through, but does not: Input/out"):
        interrupt.wait(20.0)
