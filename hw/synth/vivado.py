"""A project folder that Vivado builds in batch mode, here or on another machine.

The full project is a block design of the board's processor system and the accelerator, down to the
bitstream. The quick variant implements the accelerator alone, out of context. Both scripts have
been run against recorded commands, never in Vivado itself.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from hw.boards.board import Board
from hw.boards.registry import BOARDS
from hw.contract.files import write_texts
from hw.contract.origin import check_same_build
from hw.synth.area import Area
from hw.synth.build import ORIGIN, Build, origin_json, read_build, read_origin
from hw.synth.fit import check_fit
from hw.synth.results import SynthResult, synth_result
from hw.synth.saif import rerooted_saif
from hw.synth.vivado_processors import PROCESSORS, Processors
from hw.synth.vivado_report import (
    read_hierarchy,
    read_power,
    read_timing,
    read_utilization,
    tool_version,
)
from hw.synth.vivado_wrapper import WRAPPER, VivadoTop, read_top, wrapper_verilog
from hw.synth.yosys import ARRAY_PREFIX
from hw.tools.process import ToolError, first_error, run_tool
from nbqnn_train.graph.errors import NbqnnError

__all__ = [
    "VIVADO_COMMAND",
    "read_vivado",
    "run_vivado",
    "vivado_folder",
    "write_vivado",
]

#: The command to run in the written folder.
VIVADO_COMMAND = "vivado -mode batch -source build.tcl"

_HERE = Path(__file__).parent
#: Switching activity in the written folder.
_ACTIVITY = "activity.saif"
#: Path of the accelerator in the project. Vivado wraps modules that it takes by reference.
_PATH = ("system_wrapper", "system_i", "accelerator", "inst", "accelerator")
#: Steps of a project that run at once; a fixed number, so that every machine writes the same.
_JOBS = 4
#: Vivado's strategies, tried in this order until the clock is met.
_STRATEGIES = (
    "Performance_ExplorePostRoutePhysOpt",
    "Performance_ExtraTimingOpt",
    "Performance_NetDelay_high",
    "Congestion_SpreadLogic_high",
)
#: Clocks that the sweep asks for, in MHz.
_SWEEP_MHZ = (200, 225, 250, 275, 300, 325, 350)


def vivado_folder(build: Path, board: Board, *, quick: bool = False) -> Path:
    """The folder that :func:`write_vivado` writes the project, or its quick variant, to."""
    return Path(build) / f"vivado-{board.name}{'-quick' if quick else ''}"


def write_vivado(
    build: Path, board: Board, *, quick: bool = False, activity: Path | None = None
) -> list[Path]:
    """Writes :func:`vivado_folder`: RTL, constraints, settings, Tcl, and the build's origin.

    ``activity`` is a SAIF file of a simulation, for the power report. Returns the files,
    ``build.tcl`` last; :data:`VIVADO_COMMAND` in their folder runs it. Reports of another project
    that was there are put aside, as ``reports-before``.

    Raises
    ------
    NbqnnError
        The folder is not a build, Vivado knows no such device, the board has too few ports, or
        ``activity`` is not of the accelerator.
    """
    if board.family not in PROCESSORS:
        able = [name for name, known in BOARDS.items() if known.family in PROCESSORS]
        raise NbqnnError(f"board for Vivado must be one of {', '.join(able)}, not {board.name!r}")
    design = read_build(build)
    design.check_as_generated()
    folder = vivado_folder(design.path, board, quick=quick)
    top = read_top(design.verilog, design.top)
    processors = PROCESSORS[board.family]
    if len(top.masters) > processors.memory_ports:
        raise NbqnnError(
            f"the board {board.name} has {processors.memory_ports} ports to its memory, "
            f"the accelerator wants {len(top.masters)}"
        )
    contents = {}
    if activity is not None:
        place = [design.top] if quick else _PATH
        contents[_ACTIVITY] = rerooted_saif(activity, design.top, place)
    contents |= {
        ORIGIN: origin_json(design),
        "rtl/nbqnn.v": design.verilog_for(board.family),
        "settings.tcl": _settings(design, board, processors, top),
        "summary.tcl": _script("vivado_summary.tcl"),
    }
    if quick:
        for name, mhz in (("quick", design.config.clock_mhz), ("sweep", _SWEEP_MHZ[-1])):
            clock = f"create_clock -name clk -period {1000 / mhz:.3f} [get_ports clk]\n"
            contents[f"{name}.xdc"] = clock
        contents["implement.tcl"] = _script("vivado_implement.tcl")
        contents["sweep.tcl"] = _script("vivado_sweep.tcl")
        contents["build.tcl"] = _script("vivado_quick.tcl")
    else:
        contents["rtl/nbqnn_axi.v"] = wrapper_verilog(top, design.config)
        contents["processors.tcl"] = _script(processors.script)
        contents["board.xdc"] = board.constraints.read_text(encoding="utf-8")
        contents["build.tcl"] = _script("vivado_project.tcl")
    _put_reports_aside(folder, contents)
    if activity is None:
        (folder / _ACTIVITY).unlink(missing_ok=True)
    return write_texts(folder, contents)


def _put_reports_aside(folder: Path, contents: dict[str, str]) -> None:
    """If they are of a project unlike the one that is about to be written. Its origin may be of
    another commit; its power is that of its activity."""
    reports = folder / "reports"
    same = all(
        (folder / name).is_file() and (folder / name).read_bytes() == content.encode()
        for name, content in contents.items()
        if name != ORIGIN
    ) and (folder / _ACTIVITY).is_file() == (_ACTIVITY in contents)
    if reports.is_dir() and not same:
        before = folder / "reports-before"
        shutil.rmtree(before, ignore_errors=True)
        reports.rename(before)


def run_vivado(
    build: Path,
    board: Board,
    *,
    quick: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> SynthResult | None:
    """Runs the written folder and reads the results; None where Vivado is not on the path.

    Raises :exc:`NbqnnError` if Vivado fails; a missed clock is a result (see :func:`read_vivado`).
    """
    if shutil.which("vivado") is None:
        return None
    folder = vivado_folder(build, board, quick=quick)
    # Reports of an earlier run are not results of this one.
    shutil.rmtree(folder / "reports", ignore_errors=True)
    code, lines = run_tool(
        "Vivado",
        VIVADO_COMMAND.split(),
        log=folder / "vivado.out",
        folder=folder,
        progress=progress,
        allowed=(0, 1),
    )
    if code and not (folder / "reports" / "summary.txt").is_file():
        raise ToolError(f"Vivado ended with code {code}: {first_error(lines)}")
    return read_vivado(build, board, quick=quick)


def read_vivado(build: Path, board: Board, *, quick: bool = False) -> SynthResult:
    """What Vivado found, from its reports. ``fmax_mhz`` is worked out from the slack.

    Raises
    ------
    NbqnnError
        A report is missing, cut off or another tool's, or the folder is of another build.
    """
    design = read_build(build)
    folder = vivado_folder(design.path, board, quick=quick)
    if (folder / ORIGIN).is_file():
        check_same_build(
            f"folder {str(folder)!r}",
            read_origin(folder / ORIGIN),
            f"build {str(design.path)!r}",
            design.made_from,
            "write it and run Vivado again",
        )
    reports = folder / "reports"
    if not reports.is_dir():
        raise NbqnnError(
            f"Reports of Vivado must be in {str(reports)!r}: run it on what is in "
            f"{str(folder)!r}, or copy the folder 'reports' back from where it ran"
        )
    total = read_utilization(reports / "route_utilization.rpt")
    timing = read_timing(reports / "route_timing.rpt")
    power = read_power(reports / "route_power.rpt")
    rows = read_hierarchy(reports / "route_hierarchy.rpt")
    check_fit(total, board)
    array, inside = Area(), None
    for row in rows:
        # Vivado may put the design's name before a module's. Parts of the array have names that
        # begin like the array's; the array's area includes them.
        if ARRAY_PREFIX in row.module and not (inside and row.path.startswith(inside)):
            array, inside = array + row.area, f"{row.path}/"
    core = next((row.path for row in rows if "nbqnn_core" in row.module), None)
    return synth_result(
        "vivado",
        tool_version(reports / "route_utilization.rpt"),
        board,
        total,
        array,
        design.config.multiplies_per_cycle,
        clock_mhz=design.config.clock_mhz,
        fmax_mhz=round(1000 / (timing.period_ns - timing.setup_slack_ns), 2),
        setup_slack_ns=timing.setup_slack_ns,
        hold_slack_ns=timing.hold_slack_ns,
        met=timing.met,
        components={
            row.path.removeprefix(f"{core}/"): row.area
            for row in rows
            if core is not None
            and row.path.startswith(f"{core}/")
            and row.path.count("/") <= core.count("/") + 2
        },
        power=asdict(power),
        build=design.made_from.to_dict(),
    )


def _settings(design: Build, board: Board, processors: Processors, top: VivadoTop) -> str:
    config = design.config
    values = {
        "part": board.part,
        "board": board.vivado_name or board.name,
        "top": WRAPPER,
        "accelerator_top": design.top,
        "masters": "{" + " ".join(top.masters) + "}",
        "data_width": min(config.axi_data_width, processors.port_bits),
        "address_width": config.axi_address_width,
        "control_address": f"{processors.control_address:#010x}",
        "clock_mhz": config.clock_mhz,
        "jobs": _JOBS,
        "strategies": "{" + " ".join(_STRATEGIES) + "}",
        "sweep_mhz": "{" + " ".join(map(str, _SWEEP_MHZ)) + "}",
    }
    return "".join(f"set {name} {value}\n" for name, value in values.items())


def _script(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
