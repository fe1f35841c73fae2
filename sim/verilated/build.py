"""Builds the accelerator's Verilog and the harness into a shared library."""

import sys
from pathlib import Path

from sim.cache import cached_folder, keep_only
from sim.verilator import compile_model, link, tool_versions, verilate

__all__ = ["build_library"]

_HARNESS = Path(__file__).with_name("harness.cpp")
_NAME = "accelerator.so"
#: Only the harness's own functions are visible, so that several models in one process stay apart.
_FLAGS = ("-fPIC", "-fvisibility=hidden")


def build_library(
    verilog: str, top: str, data_width: int, ports: int = 1, *, trace: bool = False
) -> Path:
    """The shared library of a model, built now unless it was built before.

    Parameters
    ----------
    verilog : str
        The design.
    top : str
        Its top module, with the ports of :class:`sim.verilated.VerilatedAccelerator`.
    data_width : int
        Bits of ``m_axi_rdata``.
    ports : int
        AXI4 ports, 1, 2 or 4; with more than one they are ``m_axi0_*``, ``m_axi1_*`` and so on.
    trace : bool
        Able to write a VCD file; half as fast even when it does not.
    """

    def build(folder: Path) -> None:
        print(f"compiling the simulator of {top} (once)", file=sys.stderr, flush=True)
        fast = ["--x-assign", "fast", "--x-initial", "fast", "--no-assert"]
        verilate(verilog, top, folder, [*fast, *(["--trace-vcd"] if trace else [])])
        objects = compile_model(
            folder,
            own_sources=[_HARNESS],
            optimize="-O3",
            flags=[*_FLAGS, f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_VCD={int(trace)}"],
            own_flags=[f"-DDATA_BYTES={data_width // 8}", f"-DPORTS={ports}"],
            runtime=["verilated_vcd_c.cpp"] if trace else [],
        )
        link(objects, folder / _NAME, ["-shared", "-fvisibility=hidden"])
        keep_only(folder, _NAME, "design.v")

    parts = (
        *("library", tool_versions(), _HARNESS.read_bytes(), " ".join(_FLAGS)),
        *(str(data_width), str(ports), str(trace), top, verilog),
    )
    return cached_folder(f"model-{top}", parts, build) / _NAME
