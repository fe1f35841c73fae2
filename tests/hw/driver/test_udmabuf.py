"""u-dma-buf through files in the place of its device and attributes."""

import numpy as np
import pytest

from hw.driver import BusError, MappedRegisters, UDmaBufBus

AT, BYTES = 0x7_4000_0000, 0x5000


@pytest.fixture
def files(tmp_path):
    attributes = tmp_path / "class" / "udmabuf0"
    attributes.mkdir(parents=True)
    (attributes / "phys_addr").write_text(f"{AT:#x}\n")
    (attributes / "size").write_text(f"{BYTES}\n")
    (tmp_path / "udmabuf0").write_bytes(b"\xee" * BYTES)
    (tmp_path / "uio4").write_bytes(bytes(range(256)) * 16)
    return tmp_path


def bus(files):
    registers = MappedRegisters(files / "uio4")
    return UDmaBufBus(registers, devices=files, sys=files / "class")


def test_memory_and_its_synchronization(files):
    opened = bus(files)
    assert opened.read(0x10) == 0x13121110
    opened.write(0x14, 0xDEADBEEF)
    assert opened.read(0x14) == 0xDEADBEEF
    attributes = files / "class" / "udmabuf0"
    first, second = opened.allocate(1), opened.allocate(0x2001)
    assert (first.address, second.address) == (AT, AT + 0x1000)
    assert len(second.array) == 0x3000
    assert not second.array.any()
    # Zeros are flushed: offset in the upper half, size and "do it, both ways" in the lower.
    assert (attributes / "sync_for_device").read_text() == "0x0000100000003001"
    second.array[:3] = [1, 2, 3]
    second.to_device(24, 9)
    assert (attributes / "sync_for_device").read_text() == "0x0000101000000021"
    second.from_device(0x20, 0x40)
    assert (attributes / "sync_for_cpu").read_text() == "0x0000102000000041"
    content = np.frombuffer((files / "udmabuf0").read_bytes(), np.uint8)
    assert content[0x1000:0x1004].tolist() == [1, 2, 3, 0]
    second.free()
    assert opened.allocate(0x4000).address == AT + 0x1000
    with pytest.raises(BusError, match=r"^buffer 'udmabuf0' must have 4096 bytes free in one"):
        opened.allocate(1)


def test_what_is_refused(files):
    attributes = files / "class" / "udmabuf0"
    registers = MappedRegisters(files / "uio4")
    with pytest.raises(BusError, match=r"none/phys_addr' cannot be read: No such file.*; remedy"):
        UDmaBufBus(registers, buffer="none", devices=files, sys=files / "class")
    (attributes / "size").write_text("much")
    with pytest.raises(BusError, match=r"udmabuf0/size' must hold a number$"):
        bus(files)
    (attributes / "size").write_text(str(1 << 20))
    (files / "udmabuf0").unlink()
    with pytest.raises(BusError, match=r"udmabuf0' cannot be opened: No such file"):
        bus(files)
    with pytest.raises(BusError, match=r"uio5' cannot be opened: No such file"):
        MappedRegisters(files / "uio5")


def test_what_a_synchronizing_write_cannot_name_is_not_allocated(files):
    """It has 32 bits for a size, so 4 GiB at once would be a size of 0 elsewhere."""
    (files / "class" / "udmabuf0" / "size").write_text(f"{1 << 33}\n")
    with (files / "udmabuf0").open("r+b") as file:
        file.truncate(1 << 33)
    with pytest.raises(BusError, match=r"^buffer 'udmabuf0' must have 4294967296 bytes free"):
        bus(files).allocate(1 << 32)
