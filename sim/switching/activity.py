"""Runs a netlist under Verilator and counts how often each of its nets changes."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.tools.cache import cached_folder, keep_only
from hw.tools.process import run_tool
from sim.switching.netlist import SwitchedNetlist
from sim.verilator import compile_model, link, tool_versions, verilate

__all__ = ["Activity", "count_toggles"]

_HARNESS = Path(__file__).with_name("harness.cpp")
_NAME = "switched"
_COUNT = re.compile(r"\((n\d+) .*?\(TC (\d+)\)")
_TIMEOUT_S = 1800
#: As for models of the accelerator, which so share the compiled library.
_FLAGS = ("-fPIC", "-fvisibility=hidden")
#: The library is compiled without any, and can do all.
_TRACES = ("-UVM_TRACE_SAIF", "-DVM_TRACE=1", "-DVM_TRACE_SAIF=1")


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What happened in a run.

    toggles : net -> how often its settled value changed from one cycle to the next; all
        are 0 before the first.
    outputs : (cycles,) uint64, the output in each cycle.
    """

    toggles: dict[str, int]
    outputs: np.ndarray


def count_toggles(netlist: SwitchedNetlist, inputs: dict[str, np.ndarray]) -> Activity:
    """Runs a netlist.

    Parameters
    ----------
    inputs : port -> (cycles, width) bits, lowest first; ports that are missing are 0.

    Raises
    ------
    ToolError
        There is no C++ compiler or no Verilator.
    """
    cycles = len(next(iter(inputs.values())))
    columns = [
        inputs.get(port, np.zeros((cycles, width), np.uint8)) for port, width in netlist.inputs
    ]
    used = np.concatenate(columns, axis=1).astype(np.uint8)
    bits = np.zeros((cycles, 32 * netlist.words), np.uint8)
    bits[:, : used.shape[1]] = used
    program = _program(netlist)
    with tempfile.TemporaryDirectory(prefix="nbqnn-switching-") as name:
        folder = Path(name)
        given, outputs, saif = folder / "input", folder / "output", folder / "activity.saif"
        given.write_bytes(np.packbits(bits, axis=1, bitorder="little").tobytes())
        command = [str(program), str(given), str(outputs), str(saif)]
        run_tool("the netlist", command, folder=folder, time_limit_s=_TIMEOUT_S)
        text = saif.read_text(encoding="utf-8")
        # A net that has one value from beginning to end is said to have no changes.
        toggles = {net: int(count) for net, count in _COUNT.findall(text)}
        return Activity(
            toggles={net: toggles[net] for net in netlist.pins},
            outputs=np.frombuffer(outputs.read_bytes(), np.uint64),
        )


def _program(netlist: SwitchedNetlist) -> Path:
    """The netlist as a program, built unless it was built before."""

    def build(folder: Path) -> None:
        verilate(netlist.verilog, "switched", folder, ["--trace-saif"])
        objects = compile_model(
            folder,
            own_sources=[_HARNESS],
            optimize="-O1",
            flags=_FLAGS,
            own_flags=[f"-DWORDS={netlist.words}", *_TRACES],
            runtime=["verilated_saif_c.cpp"],
        )
        link(objects, folder / _NAME)
        keep_only(folder, _NAME)

    parts = ("switching", tool_versions(), _HARNESS.read_bytes(), netlist.verilog)
    return cached_folder("switching", parts, build) / _NAME
