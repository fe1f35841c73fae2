"""Loads a program, runs images, reads results, counters and errors."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from weakref import WeakValueDictionary

import numpy as np

from hw.contract.causes import ErrorCause, Stall
from hw.contract.images import by_input, with_batch_axis
from hw.contract.isa import Region
from hw.contract.program import Port, Program
from hw.contract.registers import IDENTITY, REGISTERS, VERSION
from hw.driver.bus import Bus, BusError
from hw.driver.memory import ProgramMemory
from nbqnn_train.graph import NbqnnError, quantize_input

__all__ = ["AcceleratorError", "Driver", "RunResult", "reset_accelerator"]

_EVENTS = REGISTERS.irq_status.pack(done=1, error=1)
_DONE_EVENT = REGISTERS.irq_status.pack(done=1)
_DONE_STATE = REGISTERS.status.pack(done=1)
_MAJOR_VERSION = REGISTERS.version.unpack(VERSION).major
#: So many interrupts without an event are ignored: they come from an earlier run.
_STALE_INTERRUPTS = 3
#: A reset must be over after so many reads of the status register.
_RESET_LOOKS = 1000
#: Of each bus that has drivers, by its ``id``: held by the one that uses the accelerator. Drivers
#: keep both the bus and its lock.
_LOCKS: WeakValueDictionary[int, threading.RLock] = WeakValueDictionary()
_MAKING_LOCKS = threading.Lock()


class AcceleratorError(NbqnnError):
    """The accelerator is missing, is another one, or ended a run with an error."""


@dataclass(frozen=True)
class RunResult:
    """One run: codes by output name, and the counters' values in cycles.

    ``outputs`` and ``traced`` hold int64 arrays (N, C, H, W) for the N given images.
    ``layer_cycles`` are, for each layer, the cycles from the end of the layer before (for the first
    layer from the start) to its end. ``stalls`` are the cycles without a step of the array, by
    cause: "load", "store", "fetch", "drain" and "other" (:class:`hw.contract.causes.Stall`). All
    stalls and ``array_cycles`` add up to ``cycles``.
    """

    outputs: dict[str, np.ndarray]
    traced: dict[str, np.ndarray]
    cycles: int
    array_cycles: int
    compute_cycles: int
    load_cycles: int
    store_cycles: int
    stalls: dict[str, int]
    layer_cycles: tuple[int, ...]


def reset_accelerator(bus: Bus) -> None:
    """Stops what runs; open AXI transfers are completed first.

    Raises :class:`AcceleratorError` if the accelerator stays busy.
    """
    bus.write(REGISTERS.control.offset, REGISTERS.control.pack(reset=1))
    for _ in range(_RESET_LOOKS):
        if not REGISTERS.status.unpack(bus.read(REGISTERS.status.offset)).busy:
            return
    raise AcceleratorError("the accelerator stays busy after a reset")


class Driver:
    """One accelerator with one program. Close it, or use it in a ``with`` statement.

    The program's memory is one buffer of the bus. The accelerator's address window is set to it, so
    no program makes the accelerator access anything outside.

    An accelerator may have several drivers, each with its program in memory of its own, and they
    may be used in several threads: runs on one bus are one after the other. Each run tells the
    accelerator where its driver's program is, unless it knows.

    Parameters
    ----------
    bus : Bus
    program : Program

    Raises
    ------
    AcceleratorError
        No accelerator of this version answers, the program was compiled for another configuration,
        or the accelerator is busy.
    BusError
        The bus has no memory that fits the program and the accelerator's addresses.
    """

    def __init__(self, bus: Bus, program: Program):
        self._bus = bus
        self._program = program
        with _MAKING_LOCKS:
            self._lock = _LOCKS.setdefault(id(bus), threading.RLock())
        with self._lock:
            self._check_identity()
            self._check_idle()
            self._memory = ProgramMemory(bus, program)
            try:
                self._memory.write(Region.PROGRAM, program.commands)
                self._memory.write(Region.PARAMETERS, program.parameters)
                self._point()
            except BaseException:
                self._memory.free()
                raise
        self._open = True

    def __enter__(self) -> "Driver":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the accelerator and gives its memory back. A second call does nothing.

        Raises :class:`AcceleratorError` if the accelerator cannot be stopped; the memory then stays
        taken.
        """
        with self._lock:
            if not self._open:
                return
            if REGISTERS.status.unpack(self._read("status")).busy:
                self.reset()
            self._open = False
            self._memory.free()

    @property
    def program(self) -> Program:
        """The program that the accelerator runs."""
        return self._program

    def run(self, images: np.ndarray | Mapping[str, np.ndarray]) -> RunResult:
        """Runs images, floats in the units the network was trained on.

        ``images`` are (N, C, H, W), (N, C, L) if the network takes series, or (N, F) if it takes
        vectors; N is from 1 to the program's batch. A single image may leave out the axis N. A
        network with several inputs takes a mapping from their names to images. The accelerator
        always computes a full batch: the last image takes the place of missing ones.

        Raises
        ------
        NbqnnError
            The images do not fit the program.
        AcceleratorError
            The accelerator is busy or another one, or the run ended with an error or not in time.
            The message has the cause. After an error the accelerator is reset and can be used
            again, and so it is after an interrupt from the keyboard.
        """
        images = self._images(images)
        with self._lock:
            if not self._open:
                raise ValueError("The driver must be open, it has been closed")
            self._check_identity()
            self._check_idle()
            self._write_input(images)
            if not self._points_here():
                self._point()
            self._start()
            return self._result(len(next(iter(images.values()))))

    def reset(self) -> None:
        """Stops what runs, as :func:`reset_accelerator` does."""
        reset_accelerator(self._bus)

    def _start(self) -> None:
        """One run, to its end. It is stopped if it cannot be waited for."""
        self._write("irq_status", _EVENTS)
        try:
            self._write("control", REGISTERS.control.pack(start=1))
            self._wait_for_end()
        except AcceleratorError:
            raise
        except BaseException:
            # What has the bus, or the user, end the wait is told, and not what the reset says.
            with suppress(AcceleratorError, BusError):
                self.reset()
            raise

    def _result(self, images: int) -> RunResult:
        """What the last run left in memory and in the counters; codes of the first ``images``."""
        program = self._program
        stamps = [
            self._word(REGISTERS.layer_cycles.offset + 4 * layer)
            for layer in range(len(program.layers))
        ]
        return RunResult(
            outputs=self._unpack(Region.OUTPUT, program.outputs, images),
            traced=self._unpack(Region.SCRATCH, program.traced, images),
            cycles=self._read("cycles"),
            array_cycles=self._read("array_cycles"),
            compute_cycles=self._read("compute_cycles"),
            load_cycles=self._read("load_cycles"),
            store_cycles=self._read("store_cycles"),
            stalls={
                cause.name.lower(): self._read(f"stall_{cause.name.lower()}") for cause in Stall
            },
            layer_cycles=tuple(
                end - begin for begin, end in zip([0, *stamps], stamps, strict=False)
            ),
        )

    def _point(self) -> None:
        """Tells the accelerator where the program is."""
        memory = self._memory
        self._pointed = False
        # First, because it says whose the others are: see _points_here.
        self._write_address("window_first", memory.first)
        self._write_address("window_last", memory.last)
        for region, base in memory.bases.items():
            self._write_address(f"{region.name.lower()}_base", base)
        self._write_address("stripe", memory.stripe)
        self._write("program_length", self._program.command_count)
        self._write("irq_enable", REGISTERS.irq_enable.pack(done=1, error=1))
        self._pointed = True

    def _points_here(self) -> bool:
        """False if another driver has used the accelerator since: no two buffers share a byte, so
        their windows begin at different places. And if it was reset: its program has no length."""
        return (
            self._pointed
            and self._read("window_first_low") == self._memory.first & 0xFFFFFFFF
            and self._read("window_first_high") == self._memory.first >> 32
            and self._read("program_length") == self._program.command_count
        )

    def _images(self, images: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images of each input, with their axis N."""
        arrays = by_input(self._program.graph, images)
        for node in self._program.graph.input_nodes:
            one = with_batch_axis(arrays[node.name], node.shape)
            if one.ndim > len(node.shape) and not 1 <= len(one) <= self._program.batch:
                raise NbqnnError(
                    f"images must be 1...{self._program.batch}, the program's batch, not {len(one)}"
                )
            arrays[node.name] = one
        if len({len(one) for one in arrays.values()}) > 1:
            counts = {name: len(one) for name, one in arrays.items()}
            raise NbqnnError(f"images must be as many for every input, not {counts}")
        return arrays

    def _write_input(self, images: dict[str, np.ndarray]) -> None:
        program = self._program
        for node, port in zip(program.graph.input_nodes, program.inputs, strict=True):
            codes = quantize_input(node, images[node.name])
            if program.blocks is not None:
                codes = np.stack([program.blocks.apply(one) for one in codes])
            codes = codes[np.minimum(np.arange(program.batch), len(codes) - 1)]
            layout = port.layout
            # The images of a batch lie one above the other.
            codes = codes.reshape(program.batch, layout.channels, -1, layout.width).swapaxes(0, 1)
            codes = codes.reshape(layout.channels, layout.height, layout.width)
            self._memory.write(Region.INPUT, layout.pack(program.config, codes), port.offset)

    def _wait_for_end(self) -> None:
        """Returns when the status register says that the run is done.

        An interrupt alone proves nothing: it may come from an earlier run or another device.
        """
        for _ in range(_STALE_INTERRUPTS):
            in_time = self._bus.wait()
            events = self._read("irq_status")
            if events or not in_time:
                break
        status = self._read("status")
        if in_time and events == _DONE_EVENT and status == _DONE_STATE:
            self._write("irq_status", _EVENTS)
            return
        what, remedy = f"error {self._cause()}", ""
        if not in_time:
            what, remedy = "no interrupt in time", "; remedy: a longer time_limit_s of the bus"
            if status == _DONE_STATE:
                remedy += ", or an interrupt that is connected: by now the run is done"
        elif not REGISTERS.irq_status.unpack(events).error:
            what = f"an interrupt, but not done (status {status:#x})"
        where = f"command {self._read('error_index')}"
        if in_time and self._cause() in ("READ", "WRITE", "WINDOW"):
            address = self._read("error_address_low") | self._read("error_address_high") << 32
            where += f", address {address:#x}"
        message = f"the run ended with {what} at {where}"
        self._write("irq_status", _EVENTS)
        try:
            self.reset()
        except (AcceleratorError, BusError) as error:
            raise AcceleratorError(f"{message}; {error}") from None
        raise AcceleratorError(message + remedy)

    def _cause(self) -> str:
        cause = self._read("error_cause")
        names = {known.value: known.name for known in ErrorCause}
        return names.get(cause, str(cause))

    def _check_identity(self) -> None:
        identity = self._read("identity")
        version = REGISTERS.version.unpack(self._read("version")).major
        if identity != IDENTITY:
            raise AcceleratorError(f"register identity must be {IDENTITY:#x}, not {identity:#x}")
        if version != _MAJOR_VERSION:
            raise AcceleratorError(
                f"the accelerator must be of version {_MAJOR_VERSION}, not {version}"
            )
        digest, wanted = self._read("digest"), self._program.config.digest
        if digest != wanted:
            raise AcceleratorError(
                f"the program is for configuration {wanted:#010x} ({self._program.config.name}), "
                f"the accelerator has {digest:#010x}"
            )

    def _check_idle(self) -> None:
        if REGISTERS.status.unpack(self._read("status")).busy:
            raise AcceleratorError(
                "the accelerator must be idle, but is busy with another run; "
                "remedy: hw.driver.reset_accelerator, if that run is nobody's"
            )

    def _unpack(
        self, region: Region, ports: tuple[Port, ...], images: int
    ) -> dict[str, np.ndarray]:
        """Codes (N, C, H, W) of the first images of the batch, by name."""
        config, batch = self._program.config, self._program.batch
        unpacked = {}
        for port in ports:
            layout = port.layout
            content = self._memory.read(region, port.offset, layout.host_bytes(config))
            codes = layout.unpack(config, content)
            codes = codes.reshape(layout.channels, batch, -1, layout.width).swapaxes(0, 1)
            unpacked[port.name] = codes[:images]
        return unpacked

    def _read(self, name: str) -> int:
        return self._word(REGISTERS[name].offset)

    def _word(self, offset: int) -> int:
        # A bus may give what its library gives: a signed number, or one of NumPy, of 32 bits.
        return int(self._bus.read(offset)) & 0xFFFFFFFF

    def _write_address(self, name: str, value: int) -> None:
        bits = self._program.config.axi_address_width
        if value >> bits:
            raise AcceleratorError(f"address {name} must have {bits} bits, not be {value:#x}")
        self._write(f"{name}_low", value & 0xFFFFFFFF)
        self._write(f"{name}_high", value >> 32)

    def _write(self, name: str, value: int) -> None:
        register = REGISTERS[name]
        if value >> register.width:
            raise AcceleratorError(
                f"register {name} must have {register.width} bits, not be {value:#x}"
            )
        self._bus.write(register.offset, value)
