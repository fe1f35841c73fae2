"""Builds the accelerator's Verilog and the harness into a shared library."""

import os
import sys
from pathlib import Path

from hw.tools.cache import cached_folder, keep_only
from nbqnn_train.graph.errors import NbqnnError
from sim.verilator import ToolError, compile_model, has_headers, link, tool_versions, verilate

__all__ = ["TRACES", "build_library", "check_trace"]

#: Files that a model can write of its signals. VCD (large) and FST (small) are waveforms; SAIF says
#: how often each signal changes.
TRACES = ("vcd", "fst", "saif")
#: Headers and libraries of the system that Verilator needs for a format.
_NEEDED = {"fst": (("lz4.h", "zlib.h"), ["-llz4", "-lz"])}

_HARNESS = Path(__file__).with_name("harness.cpp")
_NAME = "accelerator.so"
#: Only the harness's own functions are visible, so that several models in one process stay apart.
_FLAGS = ("-fPIC", "-fvisibility=hidden")


def check_trace(form: str) -> None:
    """Raises :exc:`ToolError` if models with this one of :data:`TRACES` cannot be built here."""
    headers, _ = _NEEDED.get(form, ((), []))
    if not has_headers(headers):
        raise ToolError(
            f"{form.upper()} waveforms need the headers {', '.join(headers)}; remedy: "
            "apt install liblz4-dev zlib1g-dev, or VCD"
        )


def _optimization() -> str:
    """The compiler's level for a model: ``$NBQNN_OPTIMIZE``, or what runs fastest."""
    level = os.environ.get("NBQNN_OPTIMIZE") or "3"
    if level not in ("0", "1", "2", "3"):
        raise NbqnnError(f"NBQNN_OPTIMIZE must be 0, 1, 2 or 3, not {level!r}")
    return f"-O{level}"


def build_library(
    verilog: str,
    top: str,
    data_width: int,
    ports: int = 1,
    *,
    trace: str | None = None,
    coverage: bool = False,
) -> Path:
    """The shared library of a model. It is built unless it was built before.

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
    trace : str, optional
        One of :data:`TRACES` that the model can write. This halves the speed, also when nothing is
        written.
    coverage : bool
        Counts how often each line was reached and each bit changed; several times as slow.

    Raises
    ------
    ToolError
        The format needs headers that are not installed.
    """
    if trace is not None:
        check_trace(trace)
    libraries = _NEEDED[trace][1] if trace in _NEEDED else []
    # A model can have one format only, so the others are off.
    chosen = [f"-DVM_TRACE_{name.upper()}={int(name == trace)}" for name in TRACES]
    # Those with coverage are large, and run for minutes only.
    level = "-O1" if coverage else _optimization()

    def build(folder: Path) -> None:
        print(f"compiling the simulator of {top} (once)", file=sys.stderr, flush=True)
        fast = ["--x-assign", "fast", "--x-initial", "fast", "--no-assert"]
        if trace is not None:
            fast.append(f"--trace-{trace}")
        if coverage:
            fast += ["--coverage-line", "--coverage-toggle"]
        verilate(verilog, top, folder, fast)
        objects = compile_model(
            folder,
            own_sources=[_HARNESS],
            optimize=level,
            flags=[*_FLAGS, *(["-UVM_COVERAGE", "-DVM_COVERAGE=1"] if coverage else [])],
            own_flags=[
                *(f"-DDATA_BYTES={data_width // 8}", f"-DPORTS={ports}"),
                *(f"-DVM_TRACE={int(trace is not None)}", *chosen),
            ],
            runtime=[
                *([f"verilated_{trace}_c.cpp"] if trace else []),
                *(["verilated_cov.cpp"] if coverage else []),
            ],
        )
        link(objects, folder / _NAME, ["-shared", "-fvisibility=hidden", *libraries])
        keep_only(folder, _NAME, "design.v")

    parts = (
        *("library", tool_versions(), _HARNESS.read_bytes(), " ".join(_FLAGS)),
        *(str(data_width), str(ports), str(trace), str(coverage), level, top, verilog),
    )
    return cached_folder(f"model-{top}", parts, build) / _NAME
