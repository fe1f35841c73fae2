"""A serial port through pyserial, over a pseudo-terminal."""

import os
import pty
import sys
import termios
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
