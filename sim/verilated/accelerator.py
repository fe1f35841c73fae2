"""The Verilated accelerator as a Python object: registers, memory, clock."""

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from hw.contract.memory_timing import MemoryTiming
from hw.driver import BusError
from sim.verilated.build import TRACES, build_library

__all__ = ["BURSTS", "SimulationError", "Statistics", "VerilatedAccelerator"]

_RESET_CYCLES = 8
#: Cycles after which a register access without a response counts as failed.
_REGISTER_TIMEOUT = 1000
#: Cycles between two checks of Python's signals. So Ctrl-C works within a fraction of a second.
_CHUNK_CYCLES = 50_000
#: One burst of the first port: cycle of its address, cycle of its last beat or its response (0
#: before that), and whether it writes.
BURSTS = np.dtype(
    [("address", "u8"), ("begin", "u8"), ("end", "u8"), ("beats", "u4"), ("writes", "u4")]
)
_DATA_WIDTHS = (32, 64, 128, 256, 512)
_PORTS = (1, 2, 4)


class SimulationError(RuntimeError):
    """The design broke the AXI protocol or did not answer; the message names the cycle."""


@dataclass(frozen=True)
class Statistics:
    """Bursts and beats on the AXI ports since the model was made."""

    read_bursts: int
    read_beats: int
    write_bursts: int
    write_beats: int


class _Timing(ctypes.Structure):
    _fields_ = (
        ("read_latency", ctypes.c_uint32),
        ("write_latency", ctypes.c_uint32),
        ("outstanding", ctypes.c_uint32),
        ("stall", ctypes.c_uint32),
        ("refresh_every", ctypes.c_uint32),
        ("refresh_cycles", ctypes.c_uint32),
        ("bytes_per_1024", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
    )


class _Statistics(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("read_bursts", "read_beats", "write_bursts", "write_beats")
    )


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    simulator, number = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("new", simulator, []),
        ("delete", None, [simulator]),
        ("memory", None, [simulator, ctypes.c_void_p, number, number]),
        ("timing", None, [simulator, ctypes.POINTER(_Timing)]),
        ("fault", None, [simulator, number, number, ctypes.c_uint8]),
        ("clear_faults", None, [simulator]),
        ("start_trace", ctypes.c_bool, [simulator, ctypes.c_char_p, number]),
        ("stop_trace", None, [simulator]),
        ("coverage", ctypes.c_bool, [simulator, ctypes.c_char_p]),
        ("reset", None, [simulator, number]),
        ("write", ctypes.c_int, [simulator, number, ctypes.c_uint32, number]),
        ("read", ctypes.c_int, [simulator, number, ctypes.POINTER(ctypes.c_uint32), number]),
        ("run", number, [simulator, number, ctypes.c_bool]),
        ("keep_bursts", None, [simulator]),
        ("bursts", ctypes.c_void_p, [simulator, ctypes.POINTER(number)]),
        ("irq", ctypes.c_bool, [simulator]),
        ("cycles", number, [simulator]),
        ("error", ctypes.c_char_p, [simulator]),
        ("statistics", None, [simulator, ctypes.POINTER(_Statistics)]),
    ):
        function = getattr(library, f"nbqnn_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


class VerilatedAccelerator:
    """A design with an AXI4-Lite control port, AXI4 data ports and an interrupt.

    The ports of the top module are ``clk``, ``rst``, ``irq``, ``s_axi_*`` (32-bit data) and
    ``m_axi_*``, the members of :mod:`hw.rtl.axi.bus`'s signatures; several data ports, which share
    the memory, are ``m_axi0_*``, ``m_axi1_*`` and so on. Addresses outside the memory are
    answered with DECERR. Written data is in the memory from the response on, not before. With
    stalls, the seed also chooses whether data is taken before its address, and whether an address
    is taken before its data is offered. Building takes from seconds to minutes, once for each
    Verilog text. Use it in a ``with`` statement, or close it. Several models can run at the same
    time, each in a thread of its own: Python's global lock is free while time passes.

    Parameters
    ----------
    verilog : str
        The design.
    top : str
        Its top module.
    data_width : int
        Bits of an AXI4 data port: 32, 64, 128, 256 or 512.
    ports : int
        AXI4 data ports: 1, 2 or 4.
    memory_bytes : int
        Size of the memory.
    memory_base : int
        Its first address.
    timing : MemoryTiming
        How the memory behaves.
    trace : str, optional
        Build the model so that :meth:`start_trace` can write files of this format: "vcd", "fst" or
        "saif".
    coverage : bool
        Count reached lines and changed bits, for :meth:`write_coverage`. (Slow.)

    Attributes
    ----------
    memory : numpy.ndarray of uint8, shape (memory_bytes,)
        The memory itself: the design reads what is written here.
    memory_base : int
    """

    def __init__(
        self,
        verilog: str,
        top: str,
        *,
        data_width: int,
        ports: int = 1,
        memory_bytes: int,
        memory_base: int = 0,
        timing: MemoryTiming | None = None,
        trace: str | None = None,
        coverage: bool = False,
    ):
        if trace is not None and trace not in TRACES:
            raise ValueError(f"Trace must be one of {TRACES}, not {trace!r}")
        if data_width not in _DATA_WIDTHS:
            raise ValueError(f"Data width must be one of {_DATA_WIDTHS}, not {data_width!r}")
        if ports not in _PORTS:
            raise ValueError(f"Ports must be one of {_PORTS}, not {ports!r}")
        if memory_bytes <= 0 or memory_bytes % (data_width // 8):
            raise ValueError(
                f"Memory must be a multiple of {data_width // 8} bytes, not {memory_bytes!r}"
            )
        library = build_library(verilog, top, data_width, ports, trace=trace, coverage=coverage)
        self._library = _load(library)
        self._simulator = self._library.nbqnn_new()
        self.memory = np.zeros(memory_bytes, np.uint8)
        self.memory_base = memory_base
        self._library.nbqnn_memory(
            self._simulator, self.memory.ctypes.data, memory_base, memory_bytes
        )
        self.set_timing(timing or MemoryTiming())
        self.reset()

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
        """Frees the model; also completes the trace."""
        if self._simulator is not None:
            self._library.nbqnn_delete(self._simulator)
            self._simulator = None

    def move_memory(self, base: int) -> None:
        """Sets the memory's first address. No run may be under way."""
        self._library.nbqnn_memory(self._handle, self.memory.ctypes.data, base, len(self.memory))
        self.memory_base = base

    def set_timing(self, timing: MemoryTiming) -> None:
        """Changes how the memory behaves, from now on."""
        self._library.nbqnn_timing(
            self._handle,
            _Timing(
                read_latency=timing.read_latency,
                write_latency=timing.write_latency,
                outstanding=timing.outstanding,
                stall=round(timing.stall_rate * 65536),
                refresh_every=timing.refresh_every,
                refresh_cycles=timing.refresh_cycles,
                bytes_per_1024=math.ceil(timing.bytes_per_cycle * 1024),
                seed=timing.seed % 2**63,
            ),
        )

    def start_trace(self, path: Path, *, half_period_ps: int = 2000) -> None:
        """Writes all signals of the following cycles to a file, until :meth:`stop_trace`.

        Time begins at 0 there. Raises :exc:`OSError` if the file cannot be written.
        """
        # The library does not say what is wrong; this does.
        with path.open("wb"):
            pass
        if not self._library.nbqnn_start_trace(self._handle, bytes(path), half_period_ps):
            raise ValueError(f"The model must be built for traces to write {str(path)!r}")

    def stop_trace(self) -> None:
        """Completes the file."""
        self._library.nbqnn_stop_trace(self._handle)

    def inject_fault(self, begin: int, end: int, *, response: int = 2) -> None:
        """Answers accesses to the addresses ``begin`` to ``end - 1`` with an error.

        ``response`` is 2 (SLVERR) or 3 (DECERR).
        """
        if response not in (2, 3):
            raise ValueError(f"Response must be 2 (SLVERR) or 3 (DECERR), not {response!r}")
        self._library.nbqnn_fault(self._handle, begin, end, response)

    def clear_faults(self) -> None:
        """Ends what :meth:`inject_fault` began."""
        self._library.nbqnn_clear_faults(self._handle)

    def reset(self) -> None:
        """Resets the design and the bus, not the memory's content; clears an error."""
        self._library.nbqnn_reset(self._handle, _RESET_CYCLES)

    def read(self, offset: int) -> int:
        """Reads a register at a byte offset.

        Raises
        ------
        BusError
            The design answered with an error.
        SimulationError
            It did not answer, or broke the protocol.
        """
        value = ctypes.c_uint32()
        response = self._library.nbqnn_read(
            self._handle, offset, ctypes.byref(value), _REGISTER_TIMEOUT
        )
        self._check(response, f"read of register {offset:#x}")
        return value.value

    def write(self, offset: int, value: int) -> None:
        """Writes a register at a byte offset; raises like :meth:`read`."""
        response = self._library.nbqnn_write(self._handle, offset, value, _REGISTER_TIMEOUT)
        self._check(response, f"write of register {offset:#x}")

    def run(self, max_cycles: int, *, until_interrupt: bool = True) -> int:
        """Lets time pass: up to ``max_cycles`` cycles, or until ``irq`` is high.

        Returns
        -------
        int
            The cycles that passed; 0 if ``irq`` is high already.

        Raises
        ------
        SimulationError
            The design broke the protocol.
        """
        done = 0
        while done < max_cycles:
            asked = min(_CHUNK_CYCLES, max_cycles - done)
            ran = self._library.nbqnn_run(self._handle, asked, until_interrupt)
            done += ran
            self._check(0, "run")
            if ran < asked:
                break
        return done

    def keep_bursts(self) -> None:
        """Keeps the first port's bursts from now on, until a reset."""
        self._library.nbqnn_keep_bursts(self._handle)

    @property
    def bursts(self) -> np.ndarray:
        """The bursts that were kept, of type :data:`BURSTS`, in the order of their addresses."""
        count = ctypes.c_uint64()
        first = self._library.nbqnn_bursts(self._handle, ctypes.byref(count))
        if not count.value:
            return np.zeros(0, BURSTS)
        return np.frombuffer(ctypes.string_at(first, count.value * BURSTS.itemsize), BURSTS)

    def write_coverage(self, path: Path) -> None:
        """Writes the coverage so far, in Verilator's format; see :mod:`sim.coverage`."""
        if not self._library.nbqnn_coverage(self._handle, bytes(path)):
            raise AssertionError("the model was built without coverage")

    @property
    def irq(self) -> bool:
        """Whether the interrupt was high in the last cycle."""
        return self._library.nbqnn_irq(self._handle)

    @property
    def cycles(self) -> int:
        """Cycles since the model was made, resets included."""
        return self._library.nbqnn_cycles(self._handle)

    @property
    def statistics(self) -> Statistics:
        """Bursts and beats since the model was made."""
        counts = _Statistics()
        self._library.nbqnn_statistics(self._handle, ctypes.byref(counts))
        return Statistics(*(getattr(counts, name) for name, _ in _Statistics._fields_))

    @property
    def _handle(self) -> int:
        if self._simulator is None:
            raise ValueError("The model must be open, it has been closed")
        return self._simulator

    def _check(self, response: int, action: str) -> None:
        if error := self._library.nbqnn_error(self._handle).decode():
            raise SimulationError(f"cycle {self.cycles}: {error}")
        if response:
            name = {2: "SLVERR", 3: "DECERR"}.get(response, str(response))
            raise BusError(f"cycle {self.cycles}: {action} was answered with {name}")
