"""What a board is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hw.contract.config import AcceleratorConfig
from hw.contract.memory_timing import BoardMemory

__all__ = ["Board", "Shell"]


@dataclass(frozen=True, kw_only=True)
class Shell:
    """What stands around the accelerator on a board without a processor system.

    top : name of the outermost module; its ports are pins.
    build : makes the shell for a configuration. Returns a component of Amaranth, which is loaded
        only then. Raises :exc:`ConfigError` for a configuration that the board cannot have.
    """

    top: str
    build: Callable[[AcceleratorConfig], object]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and the resources of its FPGA.

    part : the device's full ordering name, as the vendor's tools want it.
    family : which cells Yosys maps to: "xcup" (AMD UltraScale+), "xc7" (AMD 7 series) or "ecp5"
        (Lattice).
    lut : look-up tables, with six inputs on AMD devices and four inputs on ECP5.
    bram36 : block memories in units of 36 Kbit; a smaller one counts as its share of 36 Kbit.
    dsp : multiplier blocks.
    constraints : file of pins and options for the vendor's tools.
    vivado_name : name in Vivado's board files; None where it is ``name``.
    memory : the memory behind the AXI ports; None where that is on the chip.
    shell : None where the vendor's tools join the accelerator to a processor system.
    presets : configurations that are known by their names.
    """

    name: str
    part: str
    family: str
    lut: int
    ff: int
    bram36: int
    dsp: int
    constraints: Path
    vivado_name: str | None = None
    memory: BoardMemory | None = None
    shell: Shell | None = None
    presets: tuple[AcceleratorConfig, ...] = ()
