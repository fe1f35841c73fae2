"""A plain Verilog test bench with a memory image: one run of a program in any simulator."""

import contextlib
from dataclasses import replace
from pathlib import Path
from string import Template

import numpy as np

from hw.contract.config import AcceleratorConfig
from hw.contract.files import write_texts
from hw.contract.images import by_input, checked_images
from hw.contract.isa import PAGE_BYTES, Region
from hw.contract.program import Port, Program, ProgramError
from hw.contract.registers import IDENTITY, REGISTERS, VERSION
from hw.driver import Buffer, Driver
from hw.driver.memory import ProgramMemory
from hw.rtl.accelerator import TOP, Accelerator, data_ports
from nbqnn_train.graph import NbqnnError, run
from sim.runs import longest_run

__all__ = ["write_testbench"]

#: First address of the memory. It is not 0, so that a wrong base is noticed.
_BASE = PAGE_BYTES
_LINE_BYTES = 16
#: The largest integer of Verilog.
_MOST_CYCLES = (1 << 31) - 1


class _Recorded(Exception):
    """The driver waits: everything before the run has been recorded."""


class _RecordingBus:
    """A :class:`hw.driver.Bus` that records what a driver writes before a run.

    ``writes`` are pairs of a register's offset and a value, in order; ``memory`` is its content.
    """

    def __init__(self, config: AcceleratorConfig):
        self.writes: list[tuple[int, int]] = []
        self.memory = np.zeros(0, np.uint8)
        self._waited = False
        self._answers = {
            REGISTERS.identity.offset: IDENTITY,
            REGISTERS.version.offset: VERSION,
            REGISTERS.digest.offset: config.digest,
        }

    def read(self, offset: int) -> int:
        return self._answers.get(offset, dict(self.writes).get(offset, 0))

    def write(self, offset: int, value: int) -> None:
        # The driver then stops a run that it cannot wait for.
        if not self._waited:
            self.writes.append((offset, value))

    def allocate(self, size: int) -> Buffer:
        self.memory = np.zeros(size, np.uint8)
        return Buffer(self.memory, _BASE)

    def wait(self) -> bool:
        self._waited = True
        raise _Recorded


def write_testbench(
    program: Program, x: np.ndarray, config: AcceleratorConfig, folder: Path
) -> list[Path]:
    """Writes ``testbench.v``, ``memory.hex``, ``expected.hex`` and ``mask.hex`` into a folder.

    The bench runs the program once, on as many of the images as the program's batch, and prints
    ``PASS`` or ``FAIL`` with the reason. Registers are written as the driver writes them, and the
    outputs compared with the interpreter's bit by bit.

    Parameters
    ----------
    program : Program
    x : array, float32, shape (images, C, H, W)
    config : AcceleratorConfig
        Of the accelerator that the bench is for.

    Raises
    ------
    ProgramError
        The program is for another configuration.
    NbqnnError
        The images are too few or of another shape, or a file cannot be written.
    """
    if program.config.digest != config.digest:
        raise ProgramError(
            f"the program must be for configuration {config.digest:#010x} ({config.name}), "
            f"not {program.config.digest:#010x} ({program.config.name})"
        )
    images = checked_images(program.graph, x)[: program.batch]
    if len(images) < program.batch:
        raise NbqnnError(
            f"Images must be {program.batch}, the program's batch, or more, not {len(images)}"
        )
    bus = _RecordingBus(config)
    driver = Driver(bus, program)
    with contextlib.suppress(_Recorded):
        driver.run(images if program.batch > 1 else images[0])
    expected, mask = _outputs(program, images)
    files = {
        "testbench.v": _bench(program, bus),
        "memory.hex": _hex(bus.memory, bus.memory != 0),
        "expected.hex": _hex(expected, mask != 0),
        "mask.hex": _hex(mask, mask != 0),
    }
    return write_texts(folder, files)


def _outputs(program: Program, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The memory with the interpreter's outputs, and a mask with ones in their bits."""
    codes = run(program.graph, by_input(program.graph, images), trace=True)
    whole = {}
    for what in ("expected", "mask"):
        bus = _RecordingBus(program.config)
        memory = ProgramMemory(bus, program)
        content = bytearray()
        for port in program.outputs:
            packed = _packed(program, port, codes[port.name], of_ones=what == "mask")
            content.extend(bytes(max(0, port.offset + len(packed) - len(content))))
            content[port.offset : port.offset + len(packed)] = packed
        memory.write(Region.OUTPUT, bytes(content))
        whole[what] = bus.memory
    return whole["expected"], whole["mask"]


def _packed(program: Program, port: Port, codes: np.ndarray, *, of_ones: bool) -> bytes:
    """A tensor of all images as bytes; or, in place of its codes, ones."""
    layout = port.layout
    stacked = codes.reshape(program.batch, layout.channels, -1, layout.width).swapaxes(0, 1)
    stacked = stacked.reshape(layout.channels, layout.height, layout.width)
    if of_ones:
        layout, stacked = replace(layout, offset=0), np.full_like(stacked, -1)
    return layout.pack(program.config, stacked).tobytes()


def _hex(content: np.ndarray, wanted: np.ndarray) -> str:
    """Lines for ``$readmemh`` with all wanted bytes, and some of their neighbours."""
    lines = []
    rows = np.zeros((-(-len(content) // _LINE_BYTES), _LINE_BYTES), np.uint8)
    rows.reshape(-1)[: len(content)] = content
    used = np.add.reduceat(wanted, np.arange(0, len(wanted), _LINE_BYTES)) > 0
    for row in np.flatnonzero(used):
        lines.append(f"@{row * _LINE_BYTES:x} {rows[row].tobytes().hex(' ')}\n")
    return "".join(lines)


def _bench(program: Program, bus: _RecordingBus) -> str:
    config = program.config
    accelerator = Accelerator(config)
    accelerator._MustUse__silence = True
    wires, connections = [], ["    .irq(irq)"]
    for name in accelerator.signature.members:
        if name != "irq":
            wires.append(f"  wire [{len(getattr(accelerator, name)) - 1}:0] {name};")
            connections.append(f"    .{name}({name})")
    ports = []
    for prefix in data_ports(config):
        signals = [name for name in accelerator.signature.members if name.startswith(f"{prefix}_")]
        inside = ",\n".join(f"    .{name.removeprefix(f'{prefix}_')}({name})" for name in signals)
        ports.append(
            f"\n  memory_port #(\n    .ADDRESS_WIDTH({config.axi_address_width}),\n"
            f"    .DATA_WIDTH({config.axi_data_width}),\n    .BASE(BASE),\n    .BYTES(BYTES)\n"
            f"  ) {prefix}_memory(\n    .clk(clk),\n    .rst(rst),\n{inside}\n  );"
        )
    names = {register.offset: register.name for register in REGISTERS.registers}
    writes = [
        f"    write(12'h{offset:03x}, 32'h{value:08x});  // {names[offset]}"
        for offset, value in bus.writes
    ]
    offsets = {
        f"{name}_offset": f"12'h{register.offset:03x}"
        for name, register in (
            ("identity", REGISTERS.identity),
            ("digest", REGISTERS.digest),
            ("status", REGISTERS.status),
            ("cause", REGISTERS.error_cause),
            ("cycles", REGISTERS.cycles),
        )
    }
    return Template(Path(__file__).with_suffix(".v").read_text()).substitute(
        base=f"64'h{_BASE:x}",
        bytes=len(bus.memory),
        longest=min(longest_run(program), _MOST_CYCLES),
        top=TOP,
        wires="\n".join(wires),
        connections=",\n".join(connections),
        memory_ports="\n".join(ports),
        writes="\n".join(writes),
        identity=f"32'h{IDENTITY:08x}",
        digest=f"32'h{config.digest:08x}",
        done=f"32'h{REGISTERS.status.pack(done=1):x}",
        **offsets,
    )
