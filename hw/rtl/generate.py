"""Writes a build folder: Verilog, configuration and register map of one accelerator."""

from pathlib import Path

from hw.contract.config import AcceleratorConfig
from hw.contract.files import write_text
from hw.contract.register_docs import to_c_header, to_markdown
from hw.contract.registers import REGISTERS
from hw.rtl.accelerator import TOP, Accelerator
from hw.rtl.verilog import emit

__all__ = ["accelerator_verilog", "generate"]


def accelerator_verilog(config: AcceleratorConfig) -> str:
    """The accelerator's Verilog; its top module is :data:`hw.rtl.accelerator.TOP`."""
    return emit(Accelerator(config))


def generate(config: AcceleratorConfig, out: Path) -> list[Path]:
    """Writes ``rtl/nbqnn.v``, ``hw.json``, ``registers.md`` and ``nbqnn_registers.h``.

    Equal configurations give equal files. Returns their paths.
    """
    out = Path(out)
    files = {
        out / "rtl" / f"{TOP}.v": accelerator_verilog(config),
        out / "hw.json": config.to_json(),
        out / "registers.md": to_markdown(REGISTERS),
        out / f"{TOP}_registers.h": to_c_header(REGISTERS, TOP.upper()),
    }
    for path, text in files.items():
        write_text(path, text)
    return list(files)
