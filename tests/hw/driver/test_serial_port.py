"""A serial port through pyserial, over a pseudo-terminal."""

import os
import pty
import sys
import termios
import threading
import time
import tty

import pytest

from hw.driver import BusError, SerialPort


def test_bytes_and_speeds():
    pytest.importorskip("serial")
    far, near = pty.openpty()
    tty.setraw(far)
    try:
        port = SerialPort(os.ttyname(near), time_limit_s=0.2)
        assert termios.tcgetattr(near)[4] == termios.B115200
        port.write(bytes(range(256)))
        received = b""
        while len(received) < 256:
            received += os.read(far, 256)
        assert received == bytes(range(256))
        os.write(far, b"\x00\xff\x11\x13answer")
        assert port.read(10) == b"\x00\xff\x11\x13answer"
        # Fewer in time than were asked for.
        os.write(far, b"abc")
        assert port.read(5) == b"abc"
        port.set_baud(1_000_000)
        assert termios.tcgetattr(near)[4] == termios.B1000000
        port.close()
    finally:
        os.close(far)
        os.close(near)


def test_ports_that_cannot_be_opened(tmp_path, monkeypatch):
    pytest.importorskip("serial")
    with pytest.raises(BusError, match=r"^serial port '.*none' cannot be opened: .*No such file"):
        SerialPort(str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(
        BusError, match=r"^a serial port needs pyserial, .*install 'nbqnn\[board\]'"
    ):
        SerialPort(str(tmp_path / "none"))


@pytest.fixture
def line():
    """The board's end of a pseudo-terminal, and the computer's as a serial port."""
    pytest.importorskip("serial")
    far, near = pty.openpty()
    tty.setraw(far)
    port = SerialPort(os.ttyname(near), time_limit_s=0.2)
    yield far, port
    port.close()
    os.close(near)


def test_a_long_answer(line):
    """The limit is for the wait, not for the time that bytes take on the line."""
    far, port = line
    content = os.urandom(20_000)  # 1.7 s at 115,200 baud

    def answer():
        for begin in range(0, len(content), 1000):
            time.sleep(0.05)
            os.write(far, content[begin : begin + 1000])

    writer = threading.Thread(target=answer)
    writer.start()
    assert port.read(len(content)) == content
    writer.join()
    began = time.monotonic()
    assert port.read(1) == b""
    assert time.monotonic() - began < 1.5
    os.close(far)


def test_one_program_at_a_time(line):
    far, port = line
    with pytest.raises(BusError, match=r"^serial port '.*' cannot be opened: .*lock"):
        SerialPort(port._device)
    os.close(far)


def test_unplugged(line):
    far, port = line
    os.close(far)
    for access in (lambda: port.read(6), lambda: port.write(bytes(7)), port.send_break):
        with pytest.raises(BusError, match=r"^serial port '/dev/.*' cannot (be|send)"):
            access()
