"""A serial board without an accelerator, over its pins: requests, errors, speeds, breaks."""

import numpy as np
import pytest

from hw.contract.serial_protocol import DEFAULT_BAUD
from hw.driver import BusError, UartBus
from hw.rtl.verilog import emit
from sim.serial import VerilatedBoard
from sim.verilator import lint
from tests.hw.rtl.host.designs import CLOCK_KHZ, WORDS, HostBoard

CLOCK_HZ = 1000 * CLOCK_KHZ
#: Four cycles per bit: the fastest that there is.
FASTEST = CLOCK_HZ // 4
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def board():
    with VerilatedBoard(emit(HostBoard()), "host_board", clock_hz=CLOCK_HZ, optimize="-O1") as made:
        yield made


@pytest.fixture
def bus(board):
    board.press_reset()
    return UartBus(board, baud=FASTEST, time_limit_s=20.0)


def test_lint(tmp_path):
    assert lint(emit(HostBoard()), "host_board", tmp_path) == ""


def test_bytes_of_a_request(board):
    """As the protocol's description has them, at the speed after a reset."""
    board.press_reset()
    board.set_baud(DEFAULT_BAUD)
    # Two words from register 0: the identity, then one that is 0x1234 after a reset.
    request = bytes([0xA1, 0, 0, 0, 0x80, 2, 0])
    board.write(request)
    answer = bytes([0x4E, 0x51, 0x42, 0x4E, 0x34, 0x12, 0, 0, 0x50])
    assert board.read(20) == answer + bytes([(sum(request) + sum(answer)) % 256])
    # No words: a sign of life.
    board.write(bytes([0xA2, 1, 2, 3, 4, 0, 0]))
    assert board.read(20) == bytes([0x50, (0xA2 + 10 + 0x50) % 256])


@pytest.mark.parametrize("baud", [DEFAULT_BAUD, CLOCK_HZ // 16, CLOCK_HZ // 5, FASTEST])
def test_memory_and_registers(board, baud):
    board.press_reset()
    bus = UartBus(board, baud=baud)
    assert (bus.clock_hz, bus.memory_bytes) == (CLOCK_HZ, 4 * WORDS)
    memory = RNG.integers(0, 256, 4 * WORDS, np.uint8)
    words = 64 if baud == DEFAULT_BAUD else WORDS
    bus.write_memory(0, memory[: 4 * words].tobytes())
    for _ in range(6):
        begin, end = sorted((4 * RNG.integers(0, words + 1, 2)).tolist())
        if begin < end:
            assert bus.read_memory(begin, end - begin) == memory[begin:end].tobytes()
            memory[begin:end] = RNG.integers(0, 256, end - begin, np.uint8)
            bus.write_memory(begin, memory[begin:end].tobytes())
    assert bus.read_memory(0, 4 * words) == memory[: 4 * words].tobytes()
    for value in (0, 0xFFFFFFFF, 0x80000001):
        bus.write(4, value)
        assert bus.read(4) == value
    assert [bus.read(0x40 + 4 * index) for index in range(8)] == [i + 7 for i in range(8)]


def test_one_buffer_is_all_that_fits(bus):
    buffer = bus.allocate(4 * WORDS)
    assert (buffer.address, buffer.array.size) == (0, 4 * WORDS)
    buffer.array[:] = RNG.integers(0, 256, 4 * WORDS)
    content = buffer.array.copy()
    # Bytes that begin and end inside words carry their words with them.
    buffer.to_device(101, 300)
    buffer.array[:] = 0
    buffer.from_device(99, 304)
    assert np.array_equal(buffer.array[100:400], content[100:400])
    message = "must have 4096 bytes free in one piece, but has 0 of 4096 free; remedy: "
    with pytest.raises(BusError, match=message):
        bus.allocate(1)
    buffer.free()
    assert bus.allocate(1).address == 0


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (lambda bus: bus.read(0x20), "read of 1 words at 0x80000020 was answered with SLVERR"),
        (lambda bus: bus.write(0, 1), "write of 1 words at 0x80000000 was answered with SLVERR"),
        (
            lambda bus: bus.read_memory(4 * WORDS - 4, 8),
            "read of 2 words at 0xffc was answered with DECERR",
        ),
        (
            lambda bus: bus.write_memory(1 << 29, bytes(4)),
            "write of 1 words at 0x20000000 was answered with DECERR",
        ),
        (
            lambda bus: bus.read_memory(1 << 30, 4),
            "read of 1 words at 0x40000000 was answered with DECERR",
        ),
        (
            lambda bus: bus.write_memory(0xC0000004, bytes(4)),
            "write of 1 words at 0xc0000004 was answered with SLVERR",
        ),
        (
            lambda bus: bus.read_memory(0xC0000010, 4),
            "read of 1 words at 0xc0000010 was answered with DECERR",
        ),
    ],
)
def test_errors_are_answered(bus, access, message):
    bus.write(4, 77)
    with pytest.raises(BusError, match=f"^{message}$"):
        access(bus)
    assert bus.read(4) == 77


def test_interrupt(bus):
    bus.write(8, 1)
    assert bus.wait()
    bus.write(8, 0)
    bus._time_limit_s = 0.05
    assert not bus.wait()


def test_garbage_and_breaks(board, bus):
    """Bytes that begin no request do nothing; a break ends whatever was going on."""
    bus.write(4, 5)
    board.write(bytes([0, 0xFF, 0x50, 0x13]))
    assert board.read(1) == b""
    assert bus.read(4) == 5
    for part in (1, 3, 7, 9):
        # A write that stops before its first word is complete.
        board.write(bytes([0xA2, 4, 0, 0, 0x80, 1, 0, 9, 9, 9, 9])[:part])
        assert board.read(1) == b""
        fresh = UartBus(board)
        assert fresh.read(4) == 5
        fresh._set_baud(FASTEST)


class Disturbed:
    """A line that once loses, adds or changes bytes of an answer, or is interrupted."""

    def __init__(self, board):
        self.board = board
        self.write, self.set_baud = board.write, board.set_baud
        self.disturbs = None
        self.left = b""

    def read(self, count):
        answer = self.left + self.board.read(count)
        disturbs, self.disturbs = self.disturbs, None
        if disturbs is not None:
            answer = disturbs(answer)
        answer, self.left = answer[:count], answer[count:]
        return answer

    def send_break(self):
        self.left = b""
        self.board.send_break()


def interrupt(answer):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "disturbs",
    [
        lambda answer: answer[:-1],
        lambda answer: answer[1:],
        lambda answer: bytes([0x50]) + answer,
        lambda answer: bytes([answer[0] ^ 4]) + answer[1:],
        interrupt,
    ],
)
def test_a_disturbed_answer(board, disturbs):
    """Is refused, and the next request has its own answer."""
    line = Disturbed(board)
    bus = UartBus(line, baud=FASTEST)
    for value in (6, 7):
        bus.write(4, value)
        line.disturbs = disturbs
        with pytest.raises((BusError, KeyboardInterrupt)):
            bus.read(4)
        assert bus.read(4) == value
        assert bus.read(0x44) == 8


def test_a_computer_at_the_wrong_speed(board, bus):
    """Whatever the board made of it, a new connection works."""
    board.set_baud(DEFAULT_BAUD)
    board.write(bytes(range(0, 256, 5)))
    board.read(1000)
    assert UartBus(board).read(0) == 0x4E42514E


@pytest.mark.parametrize("baud", [CLOCK_HZ // 3, CLOCK_HZ * 2, 10, int(CLOCK_HZ / 4.5), 0, -1])
def test_speeds_that_the_clock_does_not_give(board, bus, baud):
    with pytest.raises(BusError, match=rf"^baud must be {CLOCK_HZ} divided by .*, not {baud}$"):
        UartBus(board, baud=baud)


class Line:
    """A line whose answers are made up."""

    def __init__(self, answer):
        self.answer = answer

    def write(self, data):
        self.request = data

    def read(self, count):
        return self.answer(self.request)[:count]

    def set_baud(self, baud):
        pass

    def send_break(self):
        pass


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda request: b"",
            "must answer a read of 1 words at 0xc000000c with 6 bytes, but gave 0",
        ),
        (lambda request: request, "garbled a read of 1 words at 0xc000000c"),
        (lambda request: bytes(6), "garbled a read of 1 words at 0xc000000c"),
    ],
)
def test_nothing_sensible_at_the_other_end(answer, message):
    with pytest.raises(BusError, match=f"^the serial line {message}$"):
        UartBus(Line(answer))
