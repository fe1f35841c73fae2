"""An accelerator behind a serial line: the computer's side of :mod:`hw.rtl.host`."""

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from hw.contract.serial_protocol import (
    DEFAULT_BAUD,
    DIVISOR_BITS,
    HEADER_BYTES,
    LEAST_DIVISOR,
    MAX_WORDS,
    STATUS,
    TRAILER_BYTES,
    HostRegister,
    Op,
    Space,
)
from hw.driver.bus import Buffer, BusError
from hw.driver.pages import PagedBuffer, Pages

__all__ = ["SerialLine", "SerialPort", "UartBus"]

_WORD_BYTES = 4
#: Start bit, eight data bits, stop bit.
_BITS_OF_A_BYTE = 10
#: Largest relative error of a bit's length against the requested speed.
_SPEED_TOLERANCE = 0.02
_RESPONSES = {1: "EXOKAY", 2: "SLVERR", 3: "DECERR"}


class SerialLine(Protocol):
    """Bytes to and from a board: eight data bits, no parity, one stop bit."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        ...

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer if they do not come in time."""
        ...

    def set_baud(self, baud: int) -> None:
        """Sets the bits per second from now on, in both directions."""
        ...

    def send_break(self) -> None:
        """Holds the line low for longer than a byte, and drops what was received."""
        ...


class SerialPort:
    """A :class:`SerialLine` through pyserial, e.g. ``SerialPort("/dev/ttyUSB0")``.

    The port is this process's alone until it is closed. ``time_limit_s`` is the longest wait for an
    answer, beside the time that its bytes take on the line.

    Raises :class:`BusError` where pyserial is missing, the port cannot be opened or is in use by
    another program, and later when it is unplugged.
    """

    def __init__(self, device: Path | str, *, time_limit_s: float = 2.0):
        try:
            import serial
        except ModuleNotFoundError:
            raise BusError(
                "a serial port needs pyserial, which is not installed; "
                "remedy: pip install 'nbqnn[board]'"
            ) from None
        self._device = str(device)
        self._time_limit_s = time_limit_s
        with self._working("be opened"):
            self._port = serial.Serial(self._device, DEFAULT_BAUD, exclusive=True)

    def write(self, data: bytes) -> None:
        with self._working("be written"):
            self._port.write(data)

    def read(self, count: int) -> bytes:
        with self._working("be read"):
            on_the_line = count * _BITS_OF_A_BYTE / self._port.baudrate
            self._port.timeout = self._time_limit_s + on_the_line
            return self._port.read(count)

    def set_baud(self, baud: int) -> None:
        with self._working(f"change to {baud} baud"):
            self._port.flush()
            # The board changes its speed at the end of its stop bit, which may not have come yet.
            time.sleep(0.01)
            self._port.baudrate = baud

    def send_break(self) -> None:
        with self._working("send a break"):
            self._port.send_break(0.01)
            # The pause lets the board see the line high again before the next byte.
            time.sleep(0.01)
            self._port.reset_input_buffer()

    @contextmanager
    def _working(self, what: str) -> Iterator[None]:
        """Turns whatever pyserial and the system raise into a :class:`BusError`."""
        try:
            yield
        except Exception as error:
            reason = getattr(error, "strerror", None) or error
            raise BusError(f"serial port {self._device!r} cannot {what}: {reason}") from None

    def close(self) -> None:
        """Frees the port."""
        self._port.close()


class UartBus:
    """A :class:`hw.driver.Bus` over a serial line.

    An answer that is garbled, incomplete or not waited for (Ctrl-C) leaves the two sides out of
    step. The next request then begins as the first one does, with a break.

    Parameters
    ----------
    line : SerialLine
    baud : int, optional
        Bits per second, to which the line changes after an answer at 115,200.
    time_limit_s : float
        Longest wait for the interrupt.

    Raises
    ------
    BusError
        Nothing answers, or the board's clock does not allow that speed.
    """

    def __init__(self, line: SerialLine, *, baud: int | None = None, time_limit_s: float = 10.0):
        self._line = line
        self._time_limit_s = time_limit_s
        self._baud: int | None = None
        self._in_step = False
        self.clock_hz = 1000 * self._host(HostRegister.CLOCK_KHZ)
        self.memory_bytes = self._host(HostRegister.MEMORY_BYTES)
        self._pages = Pages(self.memory_bytes, "the board's memory")
        if baud is not None:
            self._set_baud(baud)
            self._baud = baud

    def read(self, offset: int) -> int:
        return self._read_words(Space.REGISTERS.base + offset, 1)[0]

    def write(self, offset: int, value: int) -> None:
        self._write_words(Space.REGISTERS.base + offset, struct.pack("<I", value))

    def allocate(self, size: int) -> Buffer:
        begin, end = self._pages.take(size)
        return _UartBuffer(self, np.zeros(end - begin, np.uint8), begin)

    def wait(self) -> bool:
        deadline = time.monotonic() + self._time_limit_s
        while not self._host(HostRegister.INTERRUPT) & 1:
            if time.monotonic() > deadline:
                return False
        return True

    def read_memory(self, address: int, size: int) -> bytes:
        """``size`` bytes of the board's memory; ``address`` and ``size`` are multiples of 4."""
        content = b""
        while size > len(content):
            words = min(MAX_WORDS, (size - len(content)) // _WORD_BYTES)
            values = self._read_words(Space.MEMORY.base + address + len(content), words)
            content += struct.pack(f"<{words}I", *values)
        return content

    def write_memory(self, address: int, content: bytes) -> None:
        """Writes the board's memory; ``address`` and the length are multiples of 4."""
        step = MAX_WORDS * _WORD_BYTES
        for begin in range(0, len(content), step):
            self._write_words(Space.MEMORY.base + address + begin, content[begin : begin + step])

    def _fall_in_step(self) -> None:
        """Makes the board forget the request in hand, and returns to the line's speed."""
        self._line.set_baud(DEFAULT_BAUD)
        self._line.send_break()
        self._in_step = True
        if self._baud is not None:
            self._set_baud(self._baud)

    def _set_baud(self, baud: int) -> None:
        divisor = round(self.clock_hz / baud) if baud > 0 else 0
        actual = self.clock_hz / max(1, divisor)
        if (
            not LEAST_DIVISOR <= divisor < 1 << DIVISOR_BITS
            or abs(actual / baud - 1) > _SPEED_TOLERANCE
        ):
            raise BusError(
                f"baud must be {self.clock_hz} divided by an integer from {LEAST_DIVISOR}, "
                f"within 2 %, not {baud}"
            )
        self._write_words(Space.HOST.base + HostRegister.DIVISOR, struct.pack("<I", divisor))
        self._line.set_baud(baud)
        if self._host(HostRegister.DIVISOR) != divisor:
            raise BusError(f"the board must follow to {baud} baud, but did not")

    def _host(self, register: HostRegister) -> int:
        return self._read_words(Space.HOST.base + register, 1)[0]

    def _read_words(self, address: int, count: int) -> tuple[int, ...]:
        answer = self._exchange(Op.READ, address, count, b"", _WORD_BYTES * count)
        return struct.unpack(f"<{count}I", answer)

    def _write_words(self, address: int, content: bytes) -> None:
        self._exchange(Op.WRITE, address, len(content) // _WORD_BYTES, content, 0)

    def _exchange(self, op: Op, address: int, count: int, content: bytes, size: int) -> bytes:
        request = struct.pack("<BIH", op, address, count) + content
        assert len(request) == HEADER_BYTES + len(content)
        if not self._in_step:
            self._fall_in_step()
        self._in_step = False
        self._line.write(request)
        answer = self._line.read(size + TRAILER_BYTES)
        what = f"{op.name.lower()} of {count} words at {address:#x}"
        if len(answer) != size + TRAILER_BYTES:
            raise BusError(
                f"the serial line must answer a {what} with {size + TRAILER_BYTES} bytes, "
                f"but gave {len(answer)}"
            )
        status, total = answer[-TRAILER_BYTES:]
        if total != (sum(request) + sum(answer[:-1])) % 256 or status & ~3 != STATUS:
            raise BusError(f"the serial line garbled a {what}")
        self._in_step = True
        if status != STATUS:
            raise BusError(f"{what} was answered with {_RESPONSES[status & 3]}")
        return answer[:size]


class _UartBuffer(PagedBuffer):
    """Memory of the board, with a copy on the computer."""

    def __init__(self, bus: UartBus, array: np.ndarray, address: int):
        super().__init__(bus._pages, address, array, address)
        self._bus = bus

    def to_device(self, offset: int, size: int) -> None:
        begin, end = _whole_words(offset, size)
        self._bus.write_memory(self.address + begin, self.array[begin:end].tobytes())

    def from_device(self, offset: int, size: int) -> None:
        begin, end = _whole_words(offset, size)
        content = self._bus.read_memory(self.address + begin, end - begin)
        self.array[begin:end] = np.frombuffer(content, np.uint8)


def _whole_words(offset: int, size: int) -> tuple[int, int]:
    """First and last byte of the words that hold these bytes."""
    return offset & -_WORD_BYTES, -(-(offset + size) // _WORD_BYTES) * _WORD_BYTES
