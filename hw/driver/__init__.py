"""The driver: loads programs and runs images, on a board and in simulation alike."""

from hw.driver.batch import BatchResult, run_batch
from hw.driver.bus import Buffer, Bus, BusError
from hw.driver.devmem import DevMemBus
from hw.driver.driver import AcceleratorError, Driver, RunResult, reset_accelerator
from hw.driver.interrupt import PolledInterrupt, UioInterrupt
from hw.driver.mapped import MappedRegisters
from hw.driver.memory import memory_bytes
from hw.driver.pages import Pages
from hw.driver.pynq import PynqBus
from hw.driver.uart import SerialPort, UartBus
from hw.driver.udmabuf import UDmaBufBus

__all__ = [
    "AcceleratorError",
    "BatchResult",
    "Buffer",
    "Bus",
    "BusError",
    "DevMemBus",
    "Driver",
    "MappedRegisters",
    "Pages",
    "PolledInterrupt",
    "PynqBus",
    "RunResult",
    "SerialPort",
    "UDmaBufBus",
    "UartBus",
    "UioInterrupt",
    "memory_bytes",
    "reset_accelerator",
    "run_batch",
]
