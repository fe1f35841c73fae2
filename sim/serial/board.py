"""A Verilated board top as a serial line: the same bytes as over the real board's USB port."""

import ctypes
import sys
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from hw.contract.serial_protocol import DEFAULT_BAUD
from hw.tools.cache import cached_folder, keep_only
from sim.verilator import compile_model, link, tool_versions, verilate

__all__ = ["VerilatedBoard"]

_HARNESS = Path(__file__).with_name("harness.cpp")
_NAME = "board.so"
#: Only the harness's own functions are visible, so that several models in one process stay apart.
_FLAGS = ("-fPIC", "-fvisibility=hidden")
#: Bits without activity after which no more bytes are expected.
_PATIENCE_BITS = 40
_BREAK_BITS = 20
_RESET_CYCLES = 300


class VerilatedBoard:
    """A :class:`hw.driver.uart.SerialLine` to a Verilated design with the ports of a serial board.

    The ports of the top module are ``clk``, ``rst``, ``rx``, ``tx`` and ``led``. Building takes
    from seconds to minutes, once for each Verilog text. To be used in a ``with`` statement or
    closed.

    Parameters
    ----------
    verilog : str
        The design and models of the cells in it, as of :func:`netlist_with_models`.
    top : str
    clock_hz : int
        Frequency of the design's clock; a bit takes ``clock_hz / baud`` cycles.
    optimize : str
        How the model is compiled: ``-O0`` for a large netlist that runs for a short time.
    """

    def __init__(self, verilog: str, top: str, *, clock_hz: int, optimize: str = "-O2"):
        self._clock_hz = clock_hz
        self._library = _load(_build(verilog, top, optimize))
        self._board = self._library.nbqnn_new()
        self._divisor = 0
        self.set_baud(DEFAULT_BAUD)
        self._library.nbqnn_run(self._board, _RESET_CYCLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the model."""
        if self._board is not None:
            self._library.nbqnn_delete(self._board)
            self._board = None

    def write(self, data: bytes) -> None:
        """Sends bytes; time passes in :meth:`read`."""
        self._library.nbqnn_write(self._board, data, len(data))

    def read(self, count: int) -> bytes:
        """Returns up to ``count`` bytes, fewer if nothing more comes."""
        buffer = ctypes.create_string_buffer(count)
        patience = _PATIENCE_BITS * self._divisor
        got = self._library.nbqnn_read(self._board, buffer, count, patience)
        return buffer.raw[:got]

    def set_baud(self, baud: int) -> None:
        """Changes the bits per second in both directions, after the stop bit that is being sent."""
        self._library.nbqnn_run(self._board, 2 * self._divisor)
        self._divisor = max(1, round(self._clock_hz / baud))
        self._library.nbqnn_divisor(self._board, self._divisor)

    def send_break(self) -> None:
        """Holds the line low for a while and discards received bytes."""
        self._library.nbqnn_break(self._board, _BREAK_BITS * self._divisor)

    def press_reset(self) -> None:
        """Presses and releases the reset button."""
        self._library.nbqnn_press(self._board, _RESET_CYCLES)
        self._library.nbqnn_run(self._board, _RESET_CYCLES)

    @property
    def cycles(self) -> int:
        """Clock cycles since the model was made."""
        return self._library.nbqnn_cycles(self._board)

    @property
    def leds(self) -> int:
        return self._library.nbqnn_leds(self._board)


def _build(verilog: str, top: str, optimize: str) -> Path:
    def build(folder: Path) -> None:
        print(f"compiling the simulator of {top} (once)", file=sys.stderr, flush=True)
        verilate(verilog, top, folder, ["--x-assign", "fast", "--x-initial", "fast", "--no-assert"])
        objects = compile_model(
            folder,
            own_sources=[_HARNESS],
            optimize=optimize,
            flags=[*_FLAGS, "-DVM_TRACE=0", "-DVM_TRACE_VCD=0"],
        )
        link(objects, folder / _NAME, ["-shared", "-fvisibility=hidden"])
        keep_only(folder, _NAME, "design.v")

    parts = ("board", tool_versions(), _HARNESS.read_bytes(), *_FLAGS, optimize, top, verilog)
    return cached_folder(f"board-{top}", parts, build) / _NAME


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    board, number = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("new", board, []),
        ("delete", None, [board]),
        ("divisor", None, [board, ctypes.c_uint32]),
        ("press", None, [board, number]),
        ("break", None, [board, number]),
        ("write", None, [board, ctypes.c_char_p, number]),
        ("read", number, [board, ctypes.c_char_p, number, number]),
        ("run", None, [board, number]),
        ("cycles", number, [board]),
        ("leds", ctypes.c_uint, [board]),
    ):
        function = getattr(library, f"nbqnn_{name}")
        function.restype = result
        function.argtypes = arguments
    return library
