"""Loads a program, runs images, reads results, counters and errors."""

from dataclasses import dataclass

import numpy as np

from hw.contract.causes import ErrorCause, Stall
from hw.contract.isa import Region
from hw.contract.program import Port, Program
from hw.contract.registers import IDENTITY, REGISTERS, VERSION
from hw.driver.bus import Bus
from hw.driver.memory import ProgramMemory
from nbqnn_train.graph import NbqnnError, quantize_input

__all__ = ["AcceleratorError", "Driver", "RunResult"]

_EVENTS = REGISTERS.irq_status.pack(done=1, error=1)
_MAJOR_VERSION = REGISTERS.version.unpack(VERSION).major


class AcceleratorError(NbqnnError):
    """An accelerator that is not there, is another one, or ended a run with an error."""


@dataclass(frozen=True)
class RunResult:
    """One run: codes by output name, and the counters' values in cycles.

    ``outputs`` and ``traced`` hold int64 arrays of the shape (C, H, W), or (N, C, H, W) of a
    program for batches of N images. ``layer_cycles`` are the
    cycles from the end of the layer before (the first: from the start) to the end of each layer.
    ``stalls`` are the cycles without a step of the array by cause, "load", "store", "fetch",
    "drain" and "other" (:class:`hw.contract.causes.Stall`); they and ``array_cycles`` make up
    ``cycles``.
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


class Driver:
    """One accelerator with one program.

    Raises :class:`AcceleratorError` when nothing answers as nbqnn of this version, or the
    program was compiled for another configuration.
    """

    def __init__(self, bus: Bus, program: Program):
        self._bus = bus
        self._program = program
        self._check_identity()
        self._memory = ProgramMemory(bus, program)
        self._memory.write(Region.PROGRAM, program.commands)
        self._memory.write(Region.PARAMETERS, program.parameters)
        for region, base in self._memory.bases.items():
            self._write_address(f"{region.name.lower()}_base", base)
        self._write_address("stripe", self._memory.stripe)
        self._write_address("window_first", self._memory.first)
        self._write_address("window_last", self._memory.last)
        self._write("program_length", program.command_count)
        self._write("irq_enable", REGISTERS.irq_enable.pack(done=1, error=1))

    @property
    def program(self) -> Program:
        """The program that runs."""
        return self._program

    def run(self, image: np.ndarray) -> RunResult:
        """Runs one image (C, H, W) or (F,), float32 in the units the network was trained on.

        A program for batches of N takes (N, C, H, W) or (N, F), another number of images is refused
        by :exc:`NbqnnError`. Raises :class:`AcceleratorError` with the cause when the run ends with
        an error or not in time; the accelerator is reset and can be used again.
        """
        program = self._program
        node = program.graph.input_nodes[0]
        images = np.asarray(image, np.float32)
        if program.batch == 1:
            images = images[None]
        elif images.ndim != 1 + len(node.shape) or len(images) != program.batch:
            raise NbqnnError(
                f"Images must be {program.batch} together, the program's batch, "
                f"not of shape {images.shape}"
            )
        codes = quantize_input(node, images)
        if program.fold is not None:
            codes = np.stack([program.fold.apply(one) for one in codes])
        layout = program.input.layout
        # One above the other.
        codes = codes.reshape(program.batch, layout.channels, -1, layout.width).swapaxes(0, 1)
        codes = codes.reshape(layout.channels, layout.height, layout.width)
        self._memory.write(Region.INPUT, layout.pack(program.config, codes))

        self._write("irq_status", _EVENTS)
        self._write("control", REGISTERS.control.pack(start=1))
        in_time = self._bus.wait()
        event = REGISTERS.irq_status.unpack(self._read("irq_status"))
        self._write("irq_status", _EVENTS)
        if not in_time or event.error:
            cause = ErrorCause(self._read("error_cause"))
            index = self._read("error_index")
            address = self._read("error_address_low") | self._read("error_address_high") << 32
            self.reset()
            what = f"error {cause.name}" if in_time else "no interrupt in time"
            where = f"command {index}"
            if in_time and cause in (ErrorCause.READ, ErrorCause.WRITE, ErrorCause.WINDOW):
                where += f", address {address:#x}"
            raise AcceleratorError(f"the run ended with {what} at {where}")

        stamps = [
            self._bus.read(REGISTERS.layer_cycles.offset + 4 * layer)
            for layer in range(len(program.layers))
        ]
        return RunResult(
            outputs=self._unpack(Region.OUTPUT, program.outputs),
            traced=self._unpack(Region.SCRATCH, program.traced),
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

    def reset(self) -> None:
        """Stops what runs; open AXI transfers are completed first."""
        self._write("control", REGISTERS.control.pack(reset=1))
        for _ in range(1000):
            if not REGISTERS.status.unpack(self._read("status")).busy:
                return
        raise AcceleratorError("the accelerator stays busy after a reset")

    def _check_identity(self):
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

    def _unpack(self, region: Region, ports: tuple[Port, ...]) -> dict[str, np.ndarray]:
        config, batch = self._program.config, self._program.batch
        unpacked = {}
        for port in ports:
            layout = port.layout
            content = self._memory.read(region, port.offset, layout.host_bytes(config))
            codes = layout.unpack(config, content)
            if batch > 1:
                codes = codes.reshape(layout.channels, batch, -1, layout.width).swapaxes(0, 1)
            unpacked[port.name] = codes
        return unpacked

    def _read(self, name: str) -> int:
        return self._bus.read(REGISTERS[name].offset)

    def _write_address(self, name: str, value: int):
        self._write(f"{name}_low", value & 0xFFFFFFFF)
        self._write(f"{name}_high", value >> 32)

    def _write(self, name: str, value: int):
        self._bus.write(REGISTERS[name].offset, value)
