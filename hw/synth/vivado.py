"""A folder that Vivado builds in batch mode, on a machine that has it.

The script implements the accelerator on its own, out of context: area, timing and power without a
board around it. It has been run against recorded commands, never in Vivado itself.
"""

from pathlib import Path

from hw.boards import BOARDS, Board
from hw.files import write_text
from hw.synth.build import read_build
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["VIVADO_COMMAND", "write_vivado"]

#: What to run in the written folder.
VIVADO_COMMAND = "vivado -mode batch -source build.tcl"

_SCRIPT = Path(__file__).with_name("vivado.tcl")


def write_vivado(build: Path, board: Board) -> list[Path]:
    """Writes ``vivado-<board>`` into the build: RTL, clock constraint, settings, Tcl.

    Returns the files, ``build.tcl`` last; ``VIVADO_COMMAND`` in their folder runs it.

    Raises
    ------
    NbqnnError
        The folder is not a build, or Vivado knows no such device.
    """
    if board.family != "xcup":
        able = [name for name, known in BOARDS.items() if known.family == "xcup"]
        raise NbqnnError(f"board for Vivado must be one of {', '.join(able)}, not {board.name!r}")
    design = read_build(build)
    folder = design.path / f"vivado-{board.name}"
    period = 1000 / design.config.clock_mhz
    contents = {
        "rtl/nbqnn.v": design.verilog,
        "constraints.xdc": f"create_clock -name clk -period {period:.3f} [get_ports clk]\n",
        "settings.tcl": f"set part {board.part}\nset top {design.top}\n"
        f"set clock_mhz {design.config.clock_mhz}\n",
        "build.tcl": _SCRIPT.read_text(encoding="utf-8"),
    }
    for name, text in contents.items():
        write_text(folder / name, text)
    return [folder / name for name in contents]
